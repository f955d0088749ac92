"""Small files that ask for much work or memory are refused at once; compiled models give their tensors."""

import json
import pickletools
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from coop_edu.clip.models import load_clip
from coop_edu.clip.safe_pickle import Refused, read_pickle
from coop_edu.clip.tensor_file import read_tensor_file
from coop_edu.clip.weights import model_from_open_clip

from tiny_clip import tiny_clip, tiny_config

OPCODE = {code.name: code.code.encode("latin-1") for code in pickletools.opcodes}


def op(*names):
    return b"".join(OPCODE[name] for name in names)


def text(value):
    data = value.encode()
    return OPCODE["BINUNICODE"] + len(data).to_bytes(4, "little") + data


def number(value):
    if value < 2**31:
        return OPCODE["BININT"] + value.to_bytes(4, "little")
    return OPCODE["LONG1"] + b"\x10" + value.to_bytes(16, "little")


def put(place):
    return OPCODE["LONG_BINPUT"] + place.to_bytes(4, "little")


def get(place):
    return OPCODE["LONG_BINGET"] + place.to_bytes(4, "little")


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def called(module, name, arguments):
    return named(module, name) + arguments + op("REDUCE")


def tensor(shape, stride, count=4, key="0", offset=0):
    """shape, stride: pickled, or whole numbers."""
    shape, stride = (
        part if isinstance(part, bytes) else op("MARK") + b"".join(map(number, part)) + op("TUPLE")
        for part in (shape, stride)
    )
    storage = op("MARK") + text("storage") + named("torch", "FloatStorage") + text(key) + text("cpu")
    storage += (count if isinstance(count, bytes) else number(count)) + op("TUPLE", "BINPERSID")
    arguments = op("MARK") + storage + number(offset) + shape + stride + op("NEWFALSE")
    arguments += called("collections", "OrderedDict", op("EMPTY_TUPLE")) + op("TUPLE")
    return called("torch._utils", "_rebuild_tensor_v2", arguments)


def state(*pairs, extra=b""):
    """The pickle of {"state_dict": {key: value, ...}, ...extra}."""
    inner = op("EMPTY_DICT", "MARK") + b"".join(key + value for key, value in pairs) + op("SETITEMS")
    return op("EMPTY_DICT", "MARK") + text("state_dict") + inner + extra + op("SETITEMS", "STOP")


def write(path, data, numbers=16):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + data)
        file.writestr("archive/data/0", bytes(numbers))
    return path


def doubled(depth, first):
    """t1 = (t0, t0), t2 = (t1, t1), ...: small, but 2^depth parts for whoever goes through all of them."""
    return first + b"".join(put(place) + get(place) + op("TUPLE2") for place in range(depth))


def modules(depth):
    """Compiled modules, each with the one before it as two of its attributes."""
    new = named("__torch__", "M") + op("EMPTY_TUPLE", "NEWOBJ", "EMPTY_DICT", "MARK")
    found = new + text("t") + tensor((2, 2), (2, 1)) + op("SETITEMS", "BUILD") + put(0)
    for place in range(depth):
        found += new + text("a") + get(place) + text("b") + get(place) + op("SETITEMS", "BUILD") + put(place + 1)
    return found + op("STOP")


def beside(*parts):
    """A good state_dict, and facts beside it."""
    return state(GOOD, extra=text("x") + b"".join(parts))


def copies(module, name):
    calls = (text(f"c{i}") + called(module, name, get(7) + op("TUPLE1")) for i in range(2000))
    return beside(LIST, *calls)


GOOD = (text("ctx"), tensor((2, 2), (2, 1)))
LIST = op("EMPTY_LIST") + put(7) + op("MARK") + op("NONE") * 30_000 + op("APPENDS")
LETTERS = text("a" * 2000)
DEEP = op("EMPTY_TUPLE") + op("TUPLE1") * 300_000
BOMBS = {
    "a place in the memo": beside(op("NONE"), put(2**31)),
    "a product over a text": state((text("ctx"), tensor(op("MARK") + LETTERS + number(10**6) + op("TUPLE"), (1, 1)))),
    "a count that is a text": state((text("ctx"), tensor((2, 2), (2, 1), count=LETTERS))),
    "copies by OrderedDict": copies("collections", "OrderedDict"),
    "copies by set": copies("builtins", "set"),
    "copies by Size": copies("torch", "Size"),
    "one storage for many tensors": state(*((text(f"t{i}"), tensor((4000,), (1,), count=4000)) for i in range(2000))),
    "an expanded tensor": state((text("ctx"), tensor((20_000, 20_000), (0, 0)))),
    "an expanded tensor of many numbers": state((text("ctx"), tensor((20_000, 20_000), (0, 0), count=4 * 10**8))),
    "nested tuples as a key": state(GOOD, (doubled(60, text("a")), op("NONE"))),
    "nested tuples as a device": state(
        (text("ctx"), tensor((2, 2), (2, 1)).replace(text("cpu"), doubled(60, text("a"))))
    ),
    "a deep key": state(GOOD, (DEEP, op("NONE"))),
    "a deep value": beside(op("EMPTY_LIST"), DEEP, op("APPEND")),
    "a list of one list": beside(LIST, text("y"), op("EMPTY_LIST", "MARK"), get(7) * 30_000, op("APPENDS")),
    "a dictionary of one list": beside(
        LIST, text("y"), op("EMPTY_DICT", "MARK"), *(text(str(i)) + get(7) for i in range(10_000)), op("SETITEMS")
    ),
    "a list within itself": beside(op("EMPTY_LIST"), put(9), get(9), op("APPEND")),
    "many dimensions": state((text("ctx"), tensor((1,) * 100_000, (1,) * 100_000))),
    "many large numbers": state((text("ctx"), tensor(op("MARK") + number(2**120) * 50_000 + op("TUPLE"), (1,)))),
    "many instructions": beside(op("EMPTY_LIST", "MARK"), op("EMPTY_DICT") * 3_000_000, op("APPENDS")),
    "one module in many places": modules(60),
    "a module within itself": (
        named("__torch__", "M") + op("EMPTY_TUPLE", "NEWOBJ") + put(3) + op("EMPTY_DICT") + text("a") + get(3)
        + op("SETITEM", "BUILD", "STOP")
    ),
}  # fmt: skip
HARMLESS = {  # what is wrong with them is not carried out, and the tensors are read
    "a place in the memo", "copies by set", "copies by Size", "a deep value", "a list of one list",
    "a dictionary of one list", "a list within itself", "nested tuples as a device",
}  # fmt: skip

READER = """
import json, resource, sys, time
from pathlib import Path
from types import SimpleNamespace
from coop_edu.clip.tensor_file import read_tensor_file
from coop_edu.clip.weights import model_from_open_clip
from coop_edu.clip.weights import model_from_open_clip
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + 700 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for path in sorted(Path(sys.argv[1]).iterdir()):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    print(json.dumps([path.name, "started"]), flush=True)
    try:
        state, facts = read_tensor_file(path)
        said = f"read: {sorted(state)}"
    except ValueError as error:
        said = str(error)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(json.dumps([path.name, said[:300], len(said), grown, time.process_time() - start]), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="limits are set as on Linux")
def test_small_files_cost_little_work_and_little_memory(tmp_path):
    """All in one process with little memory and time, so that nothing can harm the machine that tests."""
    for name, data in BOMBS.items():
        write(tmp_path / name, data, numbers=16_000 if name == "one storage for many tensors" else 16)
    done = subprocess.run(
        [sys.executable, "-c", READER, tmp_path], capture_output=True, text=True, timeout=600, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.returncode, done.stderr[-500:])
    for name, said, length, grown, seconds in (line for line in lines if len(line) == 5):
        assert said.startswith("read: ['ctx']") or "refused" in said or "damaged" in said, (name, said)
        assert ("refused" in said or "damaged" in said) != (name in HARMLESS), (name, said)
        assert length < 1000 and grown < 400 and seconds < 20, (name, length, grown, seconds)
    assert len(lines) == 2 * len(BOMBS)


def test_a_damaged_pickle_is_a_clear_error(tmp_path):
    whole = b"\x80\x02" + state(GOOD)
    for end in range(2, len(whole) - 1, 3):
        with pytest.raises(ValueError, match=r"refused|damaged"):
            read_tensor_file(write(tmp_path / "cut", whole[2:end]))
    for place in range(2, len(whole), 2):  # whatever a flipped bit makes of it, nothing else than these comes
        changed = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
        try:
            read_tensor_file(write(tmp_path / "changed", changed[2:]))
        except ValueError as error:
            assert "refused" in str(error) or "damaged" in str(error)


def test_the_sum_of_all_tensors_and_each_of_them(tmp_path):
    shared = state((text("a"), tensor((2, 2), (2, 1))), (text("b"), tensor((4,), (1,))))
    read, facts = read_tensor_file(write(tmp_path / "two", shared))
    assert read["a"].shape == (2, 2) and read["b"].shape == (4,) and facts == {}
    scalar = state((text("logit_scale"), tensor((), ())), (text("none"), tensor((0, 3), (3, 1))))
    read, _ = read_tensor_file(write(tmp_path / "scalar", scalar))
    assert read["logit_scale"].shape == () and read["none"].shape == (0, 3)


def test_numbers_in_another_order_of_bytes_are_refused(tmp_path):
    path = write(tmp_path / "big", state(GOOD))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("archive/byteorder", b"big")
    with pytest.raises(ValueError, match="order of bytes"):
        read_tensor_file(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_torch_writes(tmp_path, protocol):
    saved = {
        "state_dict": {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, dtype=torch.int64)},
        "epoch": 3,
    }
    torch.save(saved, tmp_path / "x", pickle_protocol=protocol)
    read, facts = read_tensor_file(tmp_path / "x")
    assert all(torch.equal(read[name], saved["state_dict"][name]) for name in read) and facts == {"epoch": 3}


def test_what_the_machine_does_not_have():
    for data in (b"cos\nsystem\n.", b"I5\n.", b"\x80\x02}]K\x01s.", b"\x80\x02]K\x01u.", b"\x80\x02)K\x01R."):
        with pytest.raises((Refused, ValueError, IndexError)):
            read_pickle(data)


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
@pytest.fixture
def folder(tmp_path):
    config = {
        "model_cfg": tiny_config(quick_gelu=True),
        "preprocess_cfg": {"mean": [0.1] * 3, "std": [0.5] * 3},
    }
    (tmp_path / "my model").mkdir()
    (tmp_path / "my model" / "open_clip_config.json").write_text(json.dumps(config))
    save_file(
        dict(tiny_clip(seed=9, quick_gelu=True).model.state_dict()),
        tmp_path / "my model" / "open_clip_model.safetensors",
    )
    return tmp_path / "my model"


def test_a_folder_in_the_hubs_layout(folder, monkeypatch):
    clip = load_clip(f"local-dir:{folder}", device="cpu")
    assert torch.equal(clip.model.text_projection, tiny_clip(seed=9).model.text_projection)
    assert tuple(clip.train_transform.mean) == (0.1,) * 3 and clip.tokenize(["a cat"]).shape == (1, 77)
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load_clip("local-dir:~/my model", device="cpu").name == f"local-dir:{folder}"
    with pytest.raises(ValueError, match="brings its own weights"):
        load_clip(f"local-dir:{folder}", pretrained="openai")
    (folder / "open_clip_model.safetensors").rename(folder / "x.safetensors.old")
    with pytest.raises(FileNotFoundError, match="no weights in"):
        load_clip(f"local-dir:{folder}")
    write(folder / "open_clip_pytorch_model.bin", BOMBS["a deep key"])
    with pytest.raises(ValueError, match="was refused"):
        load_clip(f"local-dir:{folder}")
    with pytest.raises(FileNotFoundError, match=r"no open_clip_config\.json"):
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
    with pytest.raises(ValueError, match=r"'ViT-B/16' means QuickGELU"):
        load_clip("ViT-B/16", pretrained="laion9b")
