"""One image, from any file: upright and with the right greys."""

import io

import numpy as np
import pytest
from PIL import Image

from coop_edu import Example, load_image
from coop_edu.data.batches import read_batches

from tiny_images import draw

RAMP = (np.linspace(0, 65535, 64 * 32).reshape(32, 64)).astype(np.uint16)


def values(image):
    return np.array(load_image(image))[..., 0].astype(int)


# ------------------------------------------------------------------------------------------------------- any source
def test_the_same_image_in_every_form(tmp_path):
    path = draw(tmp_path / "a.png", 3)
    expected, content = np.asarray(Image.open(path).convert("RGB")), path.read_bytes()
    for form in (path, str(path), content, bytearray(content), memoryview(content), Image.open(path), expected,
                 expected / 255):  # fmt: skip
        image = load_image(form)
        assert image.mode == "RGB" and np.array_equal(np.asarray(image), expected)


def test_what_is_no_image(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(draw(tmp_path / "a.png", 3).read_bytes()[:150])
    with pytest.raises(ValueError, match=r"broken\.png"):
        load_image(broken)
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        load_image(tmp_path / "missing.png")
    for nonsense, name in ((b"nonsense", "<bytes>"), (memoryview(b"no image"), "<memoryview>")):
        with pytest.raises(ValueError, match=name):
            load_image(nonsense)
    for array in (np.zeros((3, 64, 64), np.uint8), np.full((4, 4), 2.0), np.full((4, 4), -1)):
        with pytest.raises(ValueError, match=r"<ndarray>: (expected an array|it has values)"):
            load_image(array)


# ------------------------------------------------------------------------------------------ more than 8 bits a grey
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_greys_are_scaled(tmp_path, suffix):
    path = tmp_path / f"ramp.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 64 32 65535\n" + RAMP.astype(">u2").tobytes())
    else:
        Image.fromarray(RAMP).save(path)
    assert abs(values(path) - RAMP / 257).max() <= 1
    assert values(path)[0, 0] == 0 and values(path)[-1, -1] == 255
    assert (values(path.read_bytes()) == values(path)).all()
    assert (values(Image.open(path)) == values(path)).all()


def test_16_bit_big_endian_and_an_array(tmp_path):
    big = tmp_path / "big.tif"
    Image.frombytes("I;16B", (64, 32), RAMP.astype(">u2").tobytes()).save(big)
    assert abs(values(big) - RAMP / 257).max() <= 1
    assert abs(values(RAMP) - RAMP / 257).max() <= 1


def test_floats_are_zero_to_one_and_black_stays_black(tmp_path):
    Image.fromarray((RAMP / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    assert abs(values(tmp_path / "float.tif") - RAMP / 257).max() <= 1
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "black.png")
    assert values(tmp_path / "black.png").max() == 0


@pytest.mark.parametrize(
    "pixels, why",
    [
        (RAMP // 16, "from 0 to 4095 in uint16"),  # 12 bits in 16
        ((RAMP // 257), "from 0 to 255 in uint16"),
        (RAMP.astype(np.int32) * 1000, "in int32"),
        (RAMP.astype(np.float32), "in float32"),
        ((RAMP / 65535 - 0.5).astype(np.float32), "in float32"),
    ],
)
def test_greys_of_no_known_range_are_refused_by_name(tmp_path, pixels, why):
    path = tmp_path / "strange.tif"
    Image.fromarray(pixels).save(path)
    with pytest.raises(ValueError, match=rf"strange\.tif: it has values(.|\n)*{why}"):
        load_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LA", "RGBA", "PA"])
def test_every_other_mode_still_reads(mode):
    grey = Image.fromarray((RAMP // 257).astype(np.uint8))
    rgb = grey.convert("RGB")
    between = {"PA": grey.convert("P"), **dict.fromkeys(("CMYK", "YCbCr", "HSV"), rgb)}
    made = between.get(mode, grey).convert(mode)
    expected = values(grey) if mode != "1" else values(made.convert("L"))
    assert abs(values(made) - expected).max() <= 3


def test_a_mode_that_pillow_cannot_turn_into_rgb_is_named():
    with pytest.raises(ValueError, match="<Image>"):
        load_image(Image.new("LA", (4, 4)).convert("La"))


# --------------------------------------------------------------------------------------------------------- upright
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_an_image_stands_upright(kind, orientation):
    """Turned as a camera stores it, for each of the eight orientations of EXIF."""
    right = Image.fromarray(np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8)))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that leads back to what was stored
    stored = right if orientation == 1 else right.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.convert("RGB").save(file, kind, exif=exif, quality=95)
    assert abs(values(file.getvalue()) - np.array(right).astype(int)).mean() < 3
    assert abs(values(Image.open(file)) - np.array(right).astype(int)).mean() < 3


@pytest.mark.parametrize("exif", [b"Exif\0\0" + b"\xff" * 40, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\1" * 30, b"x"])
def test_a_damaged_orientation_loses_no_image(exif):
    file = io.BytesIO()
    Image.fromarray((RAMP // 257).astype(np.uint8)).save(file, "jpeg", exif=exif)
    assert values(file.getvalue()).shape == (32, 64)


def test_transparent_parts_are_white_and_the_given_image_is_left_alone():
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    image.getexif()[0x0112] = 6
    assert values(image).min() == 255
    assert image.mode == "RGBA" and image.getexif()[0x0112] == 6


# ----------------------------------------------------------------------------------------------------------- shapes
@pytest.mark.parametrize("size", [(40_000, 1), (1, 40_000), (1_000_000, 2)])
def test_a_strip_is_refused_before_it_is_enlarged(clip, tmp_path, size):
    Image.new("1", size).save(tmp_path / "strip.png")
    with pytest.raises(ValueError, match=r"strip\.png(.|\n)*crop it"):
        load_image(tmp_path / "strip.png")
    with pytest.raises(ValueError, match="crop it"):
        load_image(np.zeros(size[::-1], np.uint8))
    examples = [Example(tmp_path / "strip.png", 0, "strip")]
    with pytest.raises(ValueError, match=r"1 image\(s\) cannot be read(.|\n)*crop it"):
        list(read_batches(clip, examples, [[(0, None)]], seed=0))
