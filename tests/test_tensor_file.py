"""Files of torch are read without being run; compiled models give their tensors; a CLIP of a folder or the hub."""

import json
import runpy
import sys
import zipfile
from contextlib import suppress
from types import SimpleNamespace

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from coop_edu.clip.models import load_clip
from coop_edu.clip.tensor_file import read_tensor_file
from coop_edu.clip.weights import model_from_open_clip

from tiny_clip import tiny_clip, tiny_config


def rewrite(path, **entries):
    """The same archive with other contents of these entries ("byteorder", "data/0")."""
    with zipfile.ZipFile(path) as file:
        old = {info.filename: file.read(info) for info in file.infolist()}
    folder = next(iter(old)).split("/")[0]
    with zipfile.ZipFile(path, "w") as file:
        for name, data in (old | {f"{folder}/{name}": data for name, data in entries.items()}).items():
            file.writestr(name, data)


def test_tensors_that_share_numbers_scalars_and_empty_ones(tmp_path):
    numbers = torch.arange(6.0)
    saved = {"a": numbers.view(2, 3), "b": numbers[2:4], "scale": torch.tensor(4.5), "none": torch.zeros(0, 3)}
    torch.save(saved, tmp_path / "x")
    read, _ = read_tensor_file(tmp_path / "x")
    assert all(torch.equal(read[name], saved[name]) for name in saved) and list(read) == list(saved)


def test_numbers_in_another_order_of_bytes_or_cut_are_refused(tmp_path):
    for entries, why in (({"byteorder": b"big"}, "big-endian"), ({"data/0": b"1234"}, "made of 1 numbers")):
        torch.save({"ctx": torch.ones(4)}, tmp_path / "x")
        rewrite(tmp_path / "x", **entries)
        with pytest.raises(ValueError, match=why):
            read_tensor_file(tmp_path / "x")


def test_any_damage_is_a_clear_error(tmp_path):
    """Whatever a flipped bit or a cut makes of the pickle, nothing but a ValueError comes."""
    path = tmp_path / "x"
    torch.save({"state_dict": {"ctx": torch.ones(2, 2)}, "epoch": 1}, path)
    with zipfile.ZipFile(path) as file:
        whole = file.read("x/data.pkl")
    changed = [whole[:end] for end in range(0, len(whole) - 1, 3)]
    changed += [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(2, len(whole), 2)]
    for data in changed:
        rewrite(path, **{"data.pkl": data})
        with suppress(ValueError):
            read_tensor_file(path)
        if len(data) < len(whole):
            with pytest.raises(ValueError, match="was refused"):
                read_tensor_file(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_torch_writes(tmp_path, protocol):
    saved = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, dtype=torch.int64)}
    torch.save({"state_dict": saved, "epoch": 3}, tmp_path / "x", pickle_protocol=protocol)
    read, beside = read_tensor_file(tmp_path / "x")
    assert list(read) == list(saved) and all(torch.equal(read[name], saved[name]) for name in read)
    assert beside["epoch"] == 3


# ------------------------------------------------------------------------------------------------- compiled models
class OpenAIs(torch.nn.Module):
    """A model as in OpenAI's own files: CLIP's tensors, and three numbers that are no weights."""

    def __init__(self, model):
        super().__init__()
        for name, child in model.named_children():
            setattr(self, name, child)
        for name, parameter in model.named_parameters(recurse=False):
            setattr(self, name, parameter)
        for name, value in (("input_resolution", 64), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, image):
        return self.visual(image) * self.logit_scale


@pytest.fixture
def openais(tmp_path, monkeypatch):
    configs = {name: tiny_config(quick_gelu=name.endswith("quickgelu")) for name in ("RN50", "RN50-quickgelu")}
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", configs)
    model = tiny_clip(seed=4, quick_gelu=True).model
    torch.jit.trace(OpenAIs(model), torch.zeros(1, 3, 64, 64)).save(tmp_path / "RN50.pt")
    return tmp_path / "RN50.pt", model


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openais_own_file_is_read_without_its_program(openais):
    path, model = openais
    clip = load_clip("RN50", pretrained=path, device="cpu")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clip.encode_image(images), model.encode_image(images))
    assert torch.equal(clip.encode_text(["a cat"]), model.encode_text(clip.tokenize(["a cat"])))
    assert type(clip.model.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    with pytest.raises(ValueError, match=r"other activation function. Use load_clip\('RN50-quickgelu'"):
        model_from_open_clip("RN50", "RN50", path)  # the plain one, of another activation


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_state_dict_saved_by_oneself_loads_too(openais, tmp_path):
    path, model = openais
    torch.save(torch.jit.load(path).state_dict(), tmp_path / "state.pt")
    clip = load_clip("RN50", pretrained=tmp_path / "state.pt", device="cpu")
    assert torch.equal(clip.model.text_projection, model.text_projection)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "other.pt", "w") as new:
        for entry in old.infolist():  # a program in it is not looked at, whatever it says
            data = old.read(entry)
            new.writestr(entry.filename, b"import os" if "/code/" in entry.filename else data)
    clip = load_clip("RN50", pretrained=tmp_path / "other.pt", device="cpu")
    assert torch.equal(clip.model.text_projection, model.text_projection)


def test_other_contents_than_a_state_dict(tmp_path):
    for content in ([1, 2], "text", {"state_dict": [1]}, {"model": {}}, {1: torch.ones(1)}, torch.ones(3)):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(ValueError, match="no state_dict of tensors"):
            load_clip("mini", pretrained=tmp_path / "x.pt")


# ------------------------------------------------------------------------------------------------ names of the hub
class Touches:
    """A pickle that makes a file when it is loaded without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def folder(tmp_path):
    config = {"model_cfg": tiny_config(quick_gelu=True), "preprocess_cfg": {"mean": [0.1] * 3, "std": [0.5] * 3}}
    weights, made = tiny_clip(seed=9, quick_gelu=True).model.state_dict(), tmp_path / "my model"
    made.mkdir()
    (made / "open_clip_config.json").write_text(json.dumps(config))
    save_file(dict(weights), made / "open_clip_model.safetensors")
    return made


def test_a_folder_in_the_hubs_layout(folder, monkeypatch):
    clip = load_clip(f"local-dir:{folder}", device="cpu")
    assert torch.equal(clip.model.text_projection, tiny_clip(seed=9).model.text_projection)
    assert tuple(clip.train_transform.mean) == (0.1,) * 3 and clip.tokenize(["a cat"]).shape == (1, 77)
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load_clip("local-dir:~/my model", device="cpu").name == f"local-dir:{folder}"
    with pytest.raises(ValueError, match="brings its own weights"):
        load_clip(f"local-dir:{folder}", pretrained="openai")
    (folder / "open_clip_model.safetensors").rename(folder / "x.safetensors.old")
    with pytest.raises(ValueError, match=r"weights(.|\n)*could not be loaded"):  # and not a CLIP of random numbers
        load_clip(f"local-dir:{folder}")
    torch.save({"state_dict": Touches(folder / "it-ran")}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ValueError, match="Weights only load failed"):
        load_clip(f"local-dir:{folder}")
    assert not (folder / "it-ran").exists()
    with pytest.raises(ValueError, match=r"open_clip_config\.json"):
        load_clip(f"local-dir:{folder.parent}")


@pytest.mark.parametrize(
    "text_cfg",
    [
        {"hf_tokenizer_name": "{folder}", "tokenizer_kwargs": {"trust_remote_code": True}},
        {"tokenizer_kwargs": {"trust_remote_code": True}},
        {"hf_model_name": "{folder}"},
    ],
)
@pytest.mark.parametrize("of_hub", [False, True])
def test_code_in_a_folder_or_on_the_hub_is_never_run(folder, monkeypatch, text_cfg, of_hub):
    """Instead of Transformers, a stand-in that runs the folder's module whenever it is asked for anything."""
    flag, code = folder.parent / "it-ran", folder / "tokenizer.py"
    code.write_text(f"from pathlib import Path\nPath({str(flag)!r}).touch()\n")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= json.loads(json.dumps(text_cfg).replace("{folder}", str(folder)))
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    auto = SimpleNamespace(from_pretrained=lambda *args, **options: runpy.run_path(str(code)))
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoTokenizer=auto))
    for name in ("transformers", "AutoConfig", "AutoModel"):
        monkeypatch.setattr(open_clip.hf_model, name, auto, raising=False)

    def download(owner_and_name, filename="open_clip_model.safetensors", **options):
        return str(folder / filename)

    monkeypatch.setattr(open_clip.factory, "download_pretrained_from_hf", download)
    with pytest.raises(ValueError, match="can run code"):
        load_clip("hf-hub:owner/name" if of_hub else f"local-dir:{folder}", device="cpu")
    assert not flag.exists()


def test_a_name_of_the_hub_keeps_its_slash(monkeypatch):
    asked = []
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: {})
    monkeypatch.setattr(open_clip, "create_model", lambda name, **options: asked.append(name) or 1 / 0)
    with pytest.raises(ValueError, match=r"'hf-hub:owner/name' cannot be loaded"):
        load_clip("hf-hub:owner/name")
    assert asked == ["hf-hub:owner/name"]


def test_the_hint_of_quick_gelu_is_for_names_that_mean_it():
    with pytest.raises(ValueError) as caught:
        load_clip("ViT-L/14")
    assert "QuickGELU" not in str(caught.value)
    with pytest.raises(ValueError, match=r"'ViT-B/16' is the QuickGELU model"):
        load_clip("ViT-B/16", pretrained="laion9b")
