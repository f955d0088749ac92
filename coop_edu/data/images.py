"""One image from a path, the bytes of a file, an array or PIL, as an upright RGB image."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ImageLike = str | Path | bytes | memoryview | Image.Image | np.ndarray
MAX_ASPECT = 100  # long side over short side
MAX_PIXELS = 50_000_000  # a PNG of 20 KB can unpack to gigabytes
# Those of IMAGE_SUFFIXES.  Pillow would start another program for an EPS file, whatever the file is called.
FORMATS = ("PNG", "JPEG", "JPEG2000", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "DIB", "PPM", "TGA", "QOI")


def load_image(image: ImageLike) -> Image.Image:
    """An image as RGB, from a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4).

    Arrays hold 0..255 (uint8), 0..65535 (uint16) or 0..1 (floats).  The image is turned upright, as its EXIF
    orientation says, and transparent parts become white.  The authors' reader does neither, so the features of the few
    such images in the paper's datasets differ from theirs.  16-bit greys are scaled to 8 bits.

    Raises FileNotFoundError for a missing file; ValueError, which names the file, for a damaged image, for pixel values
    of unknown range, for an image of more than 50 million pixels, and for one more than 100 times as long as wide.

    >>> load_image(np.zeros((2, 3), dtype=np.uint8)).size
    (3, 2)
    """
    name = str(image) if isinstance(image, str | Path) else f"<{type(image).__name__}>"
    try:
        if isinstance(image, np.ndarray):
            image = _from_array(image)
        if isinstance(image, Image.Image):
            return _to_rgb(image)
        file = Path(image).expanduser() if isinstance(image, str | Path) else io.BytesIO(image)
        with Image.open(file, formats=[form for form in FORMATS if form in _readable()]) as opened:
            return _to_rgb(opened)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's readers fail in many ways
        several = "; for several images take predict_table" if isinstance(image, list | tuple) else ""
        raise ValueError(f"cannot read the image {name}: {error}{several}") from error


def image_key(image: ImageLike) -> str:
    """Tells images apart: the absolute path of a file, or a checksum of the pixels of an image in memory."""
    if isinstance(image, str | Path):
        return os.path.abspath(os.path.expanduser(image))
    image = load_image(image)
    return f"{image.size} {hashlib.sha256(image.tobytes()).hexdigest()}"


@cache
def _readable() -> set[str]:
    """Pillow's formats; an older Pillow does not have all of FORMATS, and refuses a list with others."""
    Image.init()
    return set(Image.ID)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"it has {image.width:,} x {image.height:,} pixels, expected at most {MAX_PIXELS:,}: make it smaller"
        )
    if max(image.size) > MAX_ASPECT * min(image.size):  # the transform would enlarge it until the short side fits
        raise ValueError(
            f"it is {image.width} x {image.height}, one side more than {MAX_ASPECT} times the other: crop it"
        )
    file_format = image.format
    with suppress(Exception):  # a damaged EXIF block can raise anything; the pixels may be whole
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # convert("RGB") would cut these off at 255
        values = np.array(image)
        if image.mode.startswith("I;16") or file_format in ("PNG", "PPM"):  # Pillow may read their 16 bits as 32
            values = values.astype(np.uint16)
        image = _from_array(values)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"expected an array (height, width) or (height, width, 3 or 4), got shape {array.shape}")
    low, high = array.min(), array.max()
    if np.issubdtype(array.dtype, np.floating) and low >= 0 and high <= 1:
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype == np.uint16 and not 0 < high < 4096:  # else probably 12 bits, which would look black
        array = (array / 257).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"it has values from {low} to {high} in {array.dtype}, so white is unknown: save it as 8 bits")
    return Image.fromarray(array)
