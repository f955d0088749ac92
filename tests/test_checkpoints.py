"""A learned prompt comes back as it was, or an error says why not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from coop_edu.coop import checkpoints, prompt_file
from coop_edu.coop.checkpoints import copy_parameters, load_prompt, save_prompt
from coop_edu.coop.prompt_file import read_prompt
from coop_edu.coop.prompt_learner import PromptLearner

from tiny_clip import tiny_clip

NAMES = ["cat", "hot_air_balloon", "kite (bird of prey)"]


def learner(clip, **options):
    made = PromptLearner(clip, NAMES, **{"n_ctx": 4, "seed": 3, **options})
    with torch.no_grad():
        made.ctx.mul_(10)
    return made


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("class_specific", [False, True])
def test_comes_back_exactly(clip, tmp_path, position, class_specific):
    made = learner(clip, position=position, class_specific=class_specific)
    save_prompt(made, tmp_path / "p.safetensors", accuracy=81.5, recipe={"epochs": 50})
    back = load_prompt(tmp_path / "p.safetensors", clip)
    assert torch.equal(back.ctx, made.ctx) and back.classnames == made.classnames and back.prompts() == made.prompts()
    assert torch.equal(back.text_features(), made.text_features())
    assert read_prompt(tmp_path / "p.safetensors")[0]["facts"] == {"accuracy": 81.5, "recipe": {"epochs": 50}}


def test_a_unified_prompt_goes_with_other_names(clip, tmp_path):
    made = learner(clip)
    save_prompt(made, tmp_path / "p.safetensors")
    other = load_prompt(tmp_path / "p.safetensors", clip, ["eel", "fox"])
    assert other.classnames == ("eel", "fox") and torch.equal(other.ctx, made.ctx)
    with pytest.raises(ValueError, match="got 'eel'"):
        load_prompt(tmp_path / "p.safetensors", clip, "eel")


def test_a_class_specific_prompt_serves_its_own_classes_only(clip, tmp_path):
    made = learner(clip, class_specific=True)
    save_prompt(made, tmp_path / "p.safetensors")
    part = load_prompt(tmp_path / "p.safetensors", clip, [NAMES[2], NAMES[0]])
    assert torch.equal(part.ctx, made.ctx[[2, 0]])
    with pytest.raises(ValueError, match=r"'eel'(.|\n)*class_specific=False"):
        load_prompt(tmp_path / "p.safetensors", clip, ["cat", "eel"])


def test_another_model_or_other_weights(clip, tmp_path):
    save_prompt(learner(clip), tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match=r"learned on 'tiny'.*this CLIP is 'RN50'"):
        load_prompt(tmp_path / "p.safetensors", replace(clip, name="RN50"))
    with pytest.raises(ValueError, match="other weights"):
        load_prompt(tmp_path / "p.safetensors", tiny_clip(seed=1))
    with pytest.raises(ValueError, match=r"context width 32\), and this CLIP has other weights \(width 64"):
        load_prompt(tmp_path / "p.safetensors", tiny_clip(width=64))


def change(path, header=None, tensors=None):
    """Other contents in a prompt file, as from before there was a checksum."""
    old_header, old = read_prompt(path)
    old_header.pop("checksum", None)
    save_file({**old, **(tensors or {})}, path, {"coop_edu": json.dumps({**old_header, **(header or {})})})


@pytest.mark.parametrize(
    "class_specific, header, shape",
    [
        (False, {"n_ctx": 5}, None),
        (False, {"class_specific": True}, None),
        (True, {"classnames": NAMES[:2]}, None),
        (False, {}, (4, 31)),
        (True, {}, (2, 4, 32)),
    ],
)
def test_shape_or_class_count_that_contradicts_the_header(clip, tmp_path, class_specific, header, shape):
    save_prompt(learner(clip, class_specific=class_specific), tmp_path / "p.safetensors")
    change(tmp_path / "p.safetensors", header, {"ctx": torch.zeros(shape)} if shape else None)
    with pytest.raises(ValueError, match="expected ctx of shape"):
        load_prompt(tmp_path / "p.safetensors", clip)


def test_damaged_and_foreign_files(clip, tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(FileNotFoundError, match=r"p\.safetensors"):
        load_prompt(path, clip)
    save_prompt(learner(clip), path)
    whole = path.read_bytes()
    torch.save({"state_dict": {"ctx": torch.zeros(4, 32)}}, tmp_path / "pickle")
    save_file({"ctx": torch.zeros(4, 32)}, tmp_path / "foreign")
    others = [(tmp_path / name).read_bytes() for name in ("pickle", "foreign")]
    for content in (whole[:-5], whole[:20], b"", *others):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"p\.safetensors is not a whole prompt file"):
            load_prompt(path, clip)
    path.write_bytes(whole)
    change(path, {"format": "of the future"})
    with pytest.raises(ValueError, match="of the future"):
        load_prompt(path, clip)


def test_no_flipped_bit_is_loaded(clip, tmp_path):
    """64 bits of ctx, spread over it, and every eleventh of the whole file."""
    path = tmp_path / "p.safetensors"
    save_prompt(learner(clip), path, accuracy=81.5)
    whole = path.read_bytes()
    ctx = 8 * (len(whole) - 4 * 32 * 4)
    for bit in [*range(ctx, 8 * len(whole), 63), *range(0, 8 * len(whole), 11)]:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="not a whole prompt file"):
            read_prompt(path)
    path.write_bytes(whole)
    assert torch.equal(load_prompt(path, clip).ctx, learner(clip).ctx)


def test_a_file_from_before_the_checksum_loads(clip, tmp_path):
    made, path = learner(clip), tmp_path / "p.safetensors"
    header = {"format": prompt_file.FORMAT, **checkpoints.header_of(made), "facts": {"accuracy": 81.5}}
    save_file({"ctx": made.ctx.detach()}, path, {"coop_edu": json.dumps(header)})
    assert torch.equal(load_prompt(path, clip).ctx, made.ctx)
    save_file({"ctx": made.ctx.detach()}, path, {"coop_edu": json.dumps({**header, "chdcksum": "0"})})
    with pytest.raises(ValueError, match="chdcksum"):
        load_prompt(path, clip)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_neither_saved_nor_loaded(clip, tmp_path, value):
    path, bad = tmp_path / "p.safetensors", learner(clip)
    save_prompt(learner(clip), path)
    whole = path.read_bytes()
    bad.ctx.data[1, 2] = value
    with pytest.raises(ValueError, match="diverged"):
        save_prompt(bad, path)
    with pytest.raises(ValueError, match="momentum"):
        save_prompt(learner(clip), path, tensors={"momentum": bad.ctx})
    assert path.read_bytes() == whole
    header = {"format": prompt_file.FORMAT, **checkpoints.header_of(bad), "facts": {}}
    save_file({"ctx": bad.ctx.detach()}, path, {"coop_edu": json.dumps(header)})  # an older file
    with pytest.raises(ValueError, match="expected finite values in ctx"):
        load_prompt(path, clip)


def test_values_that_only_a_wider_type_can_hold_are_refused(clip, tmp_path):
    made = learner(clip)
    before = made.ctx.detach().clone()
    with pytest.raises(ValueError, match=r"too large for torch\.float32"):
        copy_parameters(made, {"ctx": torch.full((4, 32), 1e300, dtype=torch.float64)})
    with pytest.raises(ValueError, match=r"too large for torch\.float16"):
        half = PromptLearner(tiny_clip(dtype=torch.float16), NAMES, n_ctx=4)
        copy_parameters(half, {"ctx": torch.full((4, 32), 1e5)})
    assert torch.equal(made.ctx, before)


def test_a_failed_save_keeps_the_old_file(clip, tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    save_prompt(learner(clip), path)
    whole = path.read_bytes()

    def full(path, data):
        with open(path, "wb") as file:
            file.write(data[:99])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError):
        save_prompt(learner(clip, seed=4), path)
    monkeypatch.undo()
    with pytest.raises(TypeError):
        save_prompt(learner(clip), path, accuracy=torch.tensor(1.0))
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]
