"""The paper's augmentation: a random piece of the image, half of the time mirrored.

Section 4.1's training details: random resized crop and flip.  torchvision has both, but draws from torch's global
random state; here every number comes from a generator that is given, so the seed alone determines the crops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torchvision.transforms.functional as pixels
from PIL import Image


@dataclass(frozen=True)
class TrainTransform:
    """The paper's augmentation: a random crop of 8 to 100 % of the area, bicubic, flipped half of the time.

    Draws the same numbers in the same order as torchvision's RandomResizedCrop and RandomHorizontalFlip, but from the
    generator that it is given and never from the global one.  (image, generator) -> (3, H, W), normalised.
    """

    size: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image, generator: torch.Generator) -> torch.Tensor:
        size = [self.size, self.size] if isinstance(self.size, int) else list(self.size)
        crop = self._crop(*image.size, generator)
        image = pixels.resized_crop(image.convert("RGB"), *crop, size, pixels.InterpolationMode.BICUBIC)
        if torch.rand(1, generator=generator) < 0.5:
            image = pixels.hflip(image)
        return pixels.normalize(pixels.to_tensor(image), self.mean, self.std)

    @staticmethod
    def _crop(width: int, height: int, generator: torch.Generator) -> tuple[int, int, int, int]:
        """Top, left, height, width of a crop: area 0.08 to 1 of the image, aspect ratio 3/4 to 4/3."""
        for _ in range(10):
            area = width * height * torch.empty(1).uniform_(0.08, 1.0, generator=generator).item()
            log_ratio = torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator)
            ratio = torch.exp(log_ratio).item()
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = int(torch.randint(0, height - h + 1, (1,), generator=generator))
                left = int(torch.randint(0, width - w + 1, (1,), generator=generator))
                return top, left, h, w
        # the largest crop in the middle
        w, h = (min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3)))
        return (height - h) // 2, (width - w) // 2, h, w
