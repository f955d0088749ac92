"""One image, from wherever it is, as an RGB image.

Leaves out: many images as tensors (batches.py).
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from coop_edu.files import user_path

ImageLike = str | Path | bytes | memoryview | Image.Image | np.ndarray
LONGEST = 100  # times the short side: the transform enlarges an image until that fits, and the long one with it


def load_image(image: ImageLike) -> Image.Image:
    """An image as RGB, from a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4).

    Arrays hold 0..255 (uint8) or 0..1 (floats).  The image stands upright, as its EXIF orientation says, and
    transparent parts become white, as paper would be; the authors' reader does neither, so features of the few such
    images in the paper's data differ from theirs.  16-bit greys are scaled to 8 bits. Raises FileNotFoundError for a
    missing file, ValueError naming the file for one that is no whole image, whose values have no known range, or that
    is more than 100 times as long as wide.

    >>> load_image(np.zeros((2, 3), dtype=np.uint8)).size
    (3, 2)
    """
    if isinstance(image, str | Path):
        image = user_path(image)
    name = str(image) if isinstance(image, Path) else f"<{type(image).__name__}>"
    if isinstance(image, Path) and not image.is_file():
        raise FileNotFoundError(f"no image at {name}")
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    try:
        if isinstance(image, Image.Image):
            return _to_rgb(image)
        file = io.BytesIO(image) if isinstance(image, bytes | bytearray | memoryview) else image
        with Image.open(file) as opened:
            return _to_rgb(opened)
    except _Unsuitable as error:
        raise ValueError(f"cannot take the image {name}: {error}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises
        raise ValueError(f"cannot read the image {name}: {error}. Is it cut short, or not an image?") from error


class _Unsuitable(Exception):
    """A whole image that would become a wrong one."""


def _to_rgb(image: Image.Image) -> Image.Image:
    if max(image.size) > LONGEST * min(image.size):
        raise _Unsuitable(
            f"it is {image.width} x {image.height}, and would be enlarged until the short side fits: crop it"
        )
    format, image = image.format, _upright(image)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image, format)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def image_key(image: ImageLike) -> str:
    """What tells images apart: a file's whole path, or a checksum of the pixels of one in memory."""
    if isinstance(image, str | Path):
        return os.path.abspath(image)
    image = load_image(image)
    return f"{image.size} {hashlib.sha256(image.tobytes()).hexdigest()}"


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block fails in any way, and the image may be whole
        return image


def _eight_bits(image: Image.Image, format: str | None) -> Image.Image:
    """Greys of more than 8 bits, for which Pillow would take 255 as white: 16 bits are scaled, floats are 0 to 1."""
    values = np.array(image)
    if image.mode == "F":
        if not (values.size and values.min() >= 0 and values.max() <= 1):
            raise _Unsuitable(f"{_span(values)} in floating point, where 0 to 1 is expected: scale them")
        return Image.fromarray((values * 255).round().astype(np.uint8))
    if not image.mode.startswith("I;16") and format not in ("PNG", "PPM"):  # they have 16 bits at most
        raise _Unsuitable(f"{_span(values)} in 32 bits, where white is not known: save it with 8 bits")
    transparent = values == image.info.get("transparency")
    if 0 < values.max() < 4096:
        raise _Unsuitable(
            f"{_span(values)} in 16 bits: 12 bits or fewer, with another white than 65,535? Save it with 8 bits"
        )
    return Image.fromarray(np.where(transparent, 255, np.round(values / 257)).astype(np.uint8))


def _span(values: np.ndarray) -> str:
    return f"it has values from {values.min():g} to {values.max():g}"


def _from_array(array: np.ndarray) -> Image.Image:
    is_float = np.issubdtype(array.dtype, np.floating)
    if is_float and array.size and array.min() >= 0 and array.max() <= 1:
        array = (array * 255).round().astype(np.uint8)
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_image or not array.size:
        numbers = array.size and array.dtype.kind in "fiub"
        values = f", values {array.min():g} to {array.max():g}" if numbers else ""
        raise ValueError(
            "expected a path, bytes, a PIL image, or an array (height, width[, 3 or 4]) of uint8 or of "
            f"floats in 0..1; got an array of shape {array.shape} and type {array.dtype}{values}"
        )
    return Image.fromarray(array)
