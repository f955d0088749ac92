"""Loading CLIP: frozen, exact, and with errors that say what to do."""

import hashlib
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import open_clip
import pytest
import torch
import torchvision.transforms as T
from PIL import Image
from safetensors.torch import save_file

from coop_edu import ZeroShot, accuracy, extract_features, load_clip, load_dataset
from coop_edu.clip import models as clip_models

from tiny_clip import tiny_clip, tiny_config

NORMALIZE = T.Normalize(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def some_image(width=90, height=70):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def assets(tmp_path, monkeypatch):
    """A folder like coop_edu/assets with a tiny "mini" in it, half precision on disk."""
    config = tiny_config(context_length=48)
    clip = tiny_clip(seed=5, context_length=48)
    half = {k: v.half() if v.is_floating_point() else v for k, v in clip.model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in half.items()}, tmp_path / "miniclip.safetensors")
    (tmp_path / "miniclip.json").write_text(json.dumps(config))
    digest = hashlib.sha256((tmp_path / "miniclip.safetensors").read_bytes()).hexdigest()
    (tmp_path / "checksums.json").write_text(json.dumps({"miniclip.safetensors": digest}))
    monkeypatch.setattr("coop_edu.files.ASSETS", tmp_path)
    return tmp_path


def test_mini(assets):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    clip = load_clip("mini", device="cpu")
    assert torch.equal(state, torch.get_rng_state()), "the global generator was used"
    assert clip.name == "mini" and clip.device.type == "cpu" and clip.tokenizer.context_length == 48
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in clip.model.parameters())
    assert not any(module.training for module in clip.model.modules())
    assert not any(b.is_meta for b in clip.model.buffers())
    by_open_clip = open_clip.CLIP(**json.loads((assets / "miniclip.json").read_text())).eval()
    open_clip.load_checkpoint(by_open_clip, str(assets / "miniclip.safetensors"))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    texts = clip.tokenize(["a cat", "two dogs."])
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_image(images), by_open_clip.encode_image(images))
        torch.testing.assert_close(clip.encode_text(["a cat", "two dogs."]), by_open_clip.encode_text(texts))
        assert clip.logit_scale == by_open_clip.logit_scale.exp()


def test_mini_with_weights_of_ones_own(assets, tmp_path):
    other = tiny_clip(seed=6, context_length=48).model
    torch.save({"state_dict": other.state_dict()}, tmp_path / "mine.pt")
    assert torch.equal(load_clip("mini", pretrained=tmp_path / "mine.pt").model.text_projection, other.text_projection)
    torch.save(other.state_dict(), tmp_path / "plain.pt")
    assert torch.equal(load_clip(pretrained=str(tmp_path / "plain.pt")).model.text_projection, other.text_projection)


@pytest.mark.parametrize("gone", ["miniclip.safetensors", "miniclip.json", "checksums.json"])
def test_missing_asset(assets, gone):
    (assets / gone).unlink()
    with pytest.raises(FileNotFoundError, match=f"{gone} is missing .* Reinstall coop_edu"):
        load_clip("mini")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_tampered_weights(assets, damage):
    path = assets / "miniclip.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data[:-100] if damage == "cut" else data)
    with pytest.raises(ValueError, match=r"damaged or was changed: expected SHA-256 .* Reinstall"):
        load_clip("mini")


class Hostile:
    """A pickle that would run a command when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_file_is_never_run(assets, tmp_path):
    marker = tmp_path / "it-ran"
    torch.save({"state_dict": Hostile(marker)}, tmp_path / "hostile.pt")
    for name in ("mini", "RN50"):
        with pytest.raises(ValueError, match=r"was refused, and nothing in it was run \(UnpicklingError: it asks for"):
            load_clip(name, pretrained=tmp_path / "hostile.pt")
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_and_missing_local_files(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_clip("RN50", pretrained=path)
    path.write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match=r"damaged|was refused"):
        load_clip("RN50", pretrained=path)


@pytest.fixture
def small_open_clip(monkeypatch):
    """open_clip, with its large models replaced by tiny ones of the same names."""
    names = ["RN50", "ViT-B-32", *(f"{name}-quickgelu" for name in ("RN50", "RN101", "ViT-B-32", "ViT-B-16"))]
    configs = {name: tiny_config(quick_gelu=name.endswith("quickgelu")) for name in names}
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", configs)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "open_clip_model.safetensors"
    save_file(dict(tiny_clip(seed=9, quick_gelu=True).model.state_dict()), path)
    return path


@pytest.mark.parametrize("name", clip_models.PAPER_MODELS)
@pytest.mark.parametrize("local", [True, False])
def test_the_papers_models_have_quick_gelu_and_are_frozen(small_open_clip, weights, monkeypatch, name, local):
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *args, **options: str(weights))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    clip = load_clip(name, pretrained=weights if local else None, device="cpu")
    assert torch.equal(state, torch.get_rng_state()), "the global generator was used"
    assert clip.name == name and type(clip.model.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert not any(p.requires_grad for p in clip.model.parameters())
    assert not any(module.training for module in clip.model.modules())
    assert torch.equal(clip.model.text_projection, tiny_clip(seed=9).model.text_projection)
    assert clip.train_transform.mean == open_clip.OPENAI_DATASET_MEAN


def test_quick_gelu_mismatch_is_an_error(small_open_clip, weights, monkeypatch):
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *args, **options: str(weights))
    with pytest.raises(ValueError, match=r"wrong features with.*load_clip\('ViT-B-32-quickgelu', pretrained='openai'"):
        load_clip("ViT-B-32", pretrained="openai")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_clip("ViT-B-32", pretrained="laion2b_s34b_b79k")


@pytest.mark.parametrize("name", clip_models.PAPER_MODELS)
def test_no_network_says_what_to_download_and_where(small_open_clip, monkeypatch, name):
    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.factory.download_pretrained", offline)
    with pytest.raises(FileNotFoundError) as error:
        load_clip(name)
    parts = "huggingface.co/timm/", "open_clip_model.safetensors", f"load_clip({name!r}, pretrained=", "no route"
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize(
    "name, pretrained, message",
    [
        ("minni", None, "unknown CLIP 'minni': choose \"mini\", .* did you mean 'mini'"),
        ("ViT-B/33", None, "did you mean 'ViT-B/32'"),
        ("", None, "unknown CLIP ''"),
        ("ViT-B-32", None, r"needs pretrained=: .* one of the tags \['openai', .*got None"),
        ("RN50", "laion9b", r"one of the tags \['openai', 'yfcc15m', 'cc12m'\]; got 'laion9b'"),
        ("ViT-B/32", "laion2b_s34b_b79k", 'is the QuickGELU model; the one without is "ViT-B-32"'),
    ],
)
def test_unknown_names_and_tags(name, pretrained, message):
    with pytest.raises(ValueError, match=message):
        load_clip(name, pretrained=pretrained)


def test_weights_that_do_not_fit(small_open_clip, tmp_path):
    save_file(dict(tiny_clip(width=64).model.state_dict()), tmp_path / "other.safetensors")
    for name, said in (("RN50", "'RN50'"), ("mini", "this CLIP")):
        with pytest.raises(ValueError, match=f"do not fit {said}"):
            load_clip(name, pretrained=tmp_path / "other.safetensors")


@pytest.mark.parametrize("size", [(90, 70), (64, 64), (40, 300), (300, 20), (2, 900)])
def test_train_transform_is_torchvisions_with_a_generator_of_its_own(clip, size):
    transform, image = clip.train_transform, some_image(*size)
    crop = T.RandomResizedCrop(64, interpolation=T.InterpolationMode.BICUBIC)
    reference = T.Compose([crop, T.RandomHorizontalFlip(), T.ToTensor(), NORMALIZE])
    generator = torch.Generator().manual_seed(11)
    state = torch.get_rng_state()
    ours = [transform(image, generator) for _ in range(20)]
    assert torch.equal(state, torch.get_rng_state()), "the global generator was used"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        theirs = [reference(image) for _ in range(20)]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


def test_preprocess_is_the_papers_test_transform(clip):
    reference = T.Compose([T.Resize(64, T.InterpolationMode.BICUBIC), T.CenterCrop(64), T.ToTensor(), NORMALIZE])
    image = some_image()
    assert torch.equal(clip.preprocess(image), reference(image))
    views = clip.preprocess(image.convert("L")), clip.train_transform(image.convert("RGBA"), torch.Generator())
    assert [view.shape for view in views] == [(3, 64, 64)] * 2


def test_texts_that_do_not_fit_are_refused_not_cut():
    clip = tiny_clip(context_length=12)
    assert clip.tokenize(["a " * 10])[0, -1] == 49407
    with pytest.raises(ValueError, match="a text needs 13 positions and 'tiny' has 12: shorten 'a a"):
        clip.encode_text(["a " * 11])
    for nothing in ([], "a cat"):
        with pytest.raises(ValueError, match="list of at least one text"):
            clip.encode_text(nothing)


def test_encoding_in_groups(clip):
    texts = [f"number {i}" for i in range(300)]
    whole = clip.encode_text(texts)
    assert whole.shape == (300, 16) and not whole.requires_grad
    torch.testing.assert_close(whole[260:], clip.encode_text(texts[260:]), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_what_needs_no_open_clip_does_not_import_it():
    modules = "coop_edu, coop_edu.clip.probability, coop_edu.clip.prompt_encoder"
    code = f"import sys, {modules}; sys.exit('open_clip' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_second_image_encoder_stands_beside_the_same_text_encoder():
    mini, vit = (load_clip(name, device="cpu") for name in ("mini", "mini-vit"))
    texts = ["a cat", "an icon of an alarm clock."]
    assert torch.equal(mini.encode_text(texts), vit.encode_text(texts))
    assert type(vit.model.visual).__name__ == "VisionTransformer" and vit.name == "mini-vit"
    assert not any(parameter.requires_grad for parameter in vit.model.parameters())
    food = load_dataset("IconFood")
    images = extract_features(vit, food.val, progress=False)
    right = accuracy(ZeroShot(vit, food.classnames, food.template), images)
    assert right > 3 * 100 / len(food.classnames)  # it has learned to see: chance is a third of that
