"""One picture, from wherever it is, as an RGB image.

Leaves out: many pictures as tensors (batches.py).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

Picture = str | Path | bytes | Image.Image | np.ndarray


def load_image(picture: Picture) -> Image.Image:
    """A picture as RGB, from a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4).

    Arrays hold 0..255 (uint8) or 0..1 (floats).  Transparent parts become white, as paper would be.
    Raises FileNotFoundError for a missing file, ValueError naming the file for one that is no whole picture.

    >>> load_image(np.zeros((2, 3), dtype=np.uint8)).size
    (3, 2)
    """
    name = str(picture) if isinstance(picture, str | Path) else f"<{type(picture).__name__}>"
    if isinstance(picture, str | Path) and not Path(picture).is_file():
        raise FileNotFoundError(f"no picture at {name}")
    if isinstance(picture, np.ndarray):
        picture = _from_array(picture)
    try:
        if isinstance(picture, Image.Image):
            return _to_rgb(picture)
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
            return _to_rgb(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
        raise ValueError(
            f"cannot read the picture {name}: {error}. Is it cut short, or not a picture?"
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    is_float = np.issubdtype(array.dtype, np.floating)
    if is_float and array.size and array.min() >= 0 and array.max() <= 1:
        array = (array * 255).round().astype(np.uint8)
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or not array.size:
        numbers = array.size and array.dtype.kind in "fiub"
        values = f", values {array.min():g} to {array.max():g}" if numbers else ""
        raise ValueError(
            "expected a path, bytes, a PIL image, or an array (height, width[, 3 or 4]) of uint8 or of "
            f"floats in 0..1; got an array of shape {array.shape} and type {array.dtype}{values}"
        )
    return Image.fromarray(array)
