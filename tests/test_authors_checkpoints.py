"""Prompts of the authors' code are read without being run, and written so that their code reads them."""

import io
import os
import pickle
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from coop_edu import CoCoOp, PromptLearner
from coop_edu.clip import tensor_file
from coop_edu.clip.text_encoding import text_tower
from coop_edu.coop.authors_files import export_authors, import_authors, read_authors_file

from tiny_clip import tiny_clip

NAMES = ["cat", "hot_air_balloon", "kite (bird of prey)"]


class ConstantWarmup(LRScheduler):
    """As in the authors' code: holds another scheduler, which its state_dict takes along as an object."""

    def __init__(self, optimizer, successor):
        self.successor = successor
        super().__init__(optimizer)

    def get_lr(self):
        return [1e-5 for _ in self.base_lrs] if self.last_epoch < 1 else self.successor.get_last_lr()


class TheirLearner(torch.nn.Module):
    """What the authors' code saves, in half precision: a parameter ctx, and the fixed words around it as buffers."""

    def __init__(self, clip, ctx, names=NAMES):
        super().__init__()
        n_ctx = ctx.shape[-2]
        tokens = clip.tokenize([" ".join(["X"] * n_ctx) + f" {name.replace('_', ' ')}." for name in names])
        words = text_tower(clip.model).token_embedding.weight.detach()[tokens]
        self.ctx = torch.nn.Parameter(ctx.half())
        self.register_buffer("token_prefix", words[:, :1].half())
        self.register_buffer("token_suffix", words[:, 1 + n_ctx :].half())


def authors_file(clip, folder, ctx, names=NAMES):
    """A file as their trainer writes it, with momentum and a pickled scheduler."""
    learner = TheirLearner(clip, ctx, names)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.002, momentum=0.9, weight_decay=5e-4)
    scheduler = ConstantWarmup(optimizer, CosineAnnealingLR(optimizer, 50.0))
    learner.ctx.grad = torch.ones_like(learner.ctx)
    optimizer.step()
    scheduler.step()
    path = folder / "prompt_learner" / "model.pth.tar-50"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "state_dict": OrderedDict(learner.state_dict()),
        "epoch": 50,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "val_result": None,
    }
    torch.save(content, path)
    return path, learner.ctx.detach().float()


def context(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) / 10


# ------------------------------------------------------------------------------------------------------------ reading
def test_an_authors_file_is_read_without_running_it(clip, tmp_path):
    path, ctx = authors_file(clip, tmp_path / "rn50" / "nctx4_cscFalse_ctpmiddle" / "seed1", context(4, 32))
    with pytest.raises(pickle.UnpicklingError):  # that is why there is a reader of our own
        torch.load(path, weights_only=True)
    content = read_authors_file(path)
    assert set(content) == {"state_dict", "epoch", "val_result"} and content["epoch"] == 50
    theirs = torch.load(path, weights_only=False)["state_dict"]
    assert list(content["state_dict"]) == list(theirs) == ["ctx", "token_prefix", "token_suffix"]
    assert all(torch.equal(content["state_dict"][key], theirs[key]) for key in theirs)

    learner = import_authors(path, clip, NAMES)
    assert torch.equal(learner.ctx, ctx) and learner.ctx.dtype == torch.float32
    assert learner.position == "middle" and learner.n_ctx == 4 and not learner.class_specific
    made = PromptLearner(clip, NAMES, n_ctx=4, position="middle")
    made.ctx.data.copy_(ctx)
    assert torch.equal(made.text_features(), learner.text_features())
    assert import_authors(path, clip, ["eel", "fox"]).classnames == ("eel", "fox")  # unified: any names


def test_a_class_specific_file_and_other_classes(clip, tmp_path):
    path, ctx = authors_file(clip, tmp_path, context(3, 4, 32))
    assert torch.equal(import_authors(path, clip, NAMES).ctx, ctx)
    with pytest.raises(ValueError, match=r"contexts for 3 classes, and 2 class names"):
        import_authors(path, clip, NAMES[:2])
    with pytest.raises(ValueError, match=r"in the place of 'kite \(bird of prey\)' are others"):
        import_authors(path, clip, NAMES[::-1])


def test_another_clip_or_another_position(clip, tmp_path):
    path, _ = authors_file(clip, tmp_path / "nctx4_cscFalse_ctpend" / "seed1", context(4, 32))
    with pytest.raises(ValueError, match=r"does not fit 'tiny'(.|\n)*another one"):
        import_authors(path, tiny_clip(seed=1), NAMES)  # the same width: only the start token tells
    with pytest.raises(ValueError, match="context width 32, here 64"):
        import_authors(path, tiny_clip(width=64), NAMES)
    with pytest.raises(ValueError, match=r"position='end', not 'front'"):
        import_authors(path, clip, NAMES, position="front")


# ------------------------------------------------------------------------------------------------------------ writing
@pytest.mark.parametrize("class_specific", [False, True])
def test_export_is_read_by_the_authors_loader_and_comes_back(clip, tmp_path, class_specific):
    made = PromptLearner(clip, NAMES, n_ctx=5, class_specific=class_specific, position="front", seed=3)
    path = export_authors(made, tmp_path, epoch=200)
    assert path == tmp_path / "prompt_learner" / "model.pth.tar-200"

    content = torch.load(path, weights_only=True)  # tensors and plain containers only
    state, epoch = content["state_dict"], content["epoch"]
    for fixed in ("token_prefix", "token_suffix"):  # what CoOp.load_model does
        if fixed in state:
            del state[fixed]
    theirs = TheirLearner(clip, torch.zeros_like(made.ctx.detach()))
    missing = theirs.load_state_dict(state, strict=False)
    assert epoch == 200 and missing.unexpected_keys == [] and torch.equal(theirs.ctx, made.ctx.half())

    back = import_authors(path, clip, NAMES)
    assert torch.equal(back.ctx, made.ctx) and back.prompts() == made.prompts()
    with pytest.raises(ValueError, match="learned on 'tiny'"):
        import_authors(path, tiny_clip(seed=1), NAMES)
    if class_specific:
        with pytest.raises(ValueError, match="class 'cat' where 'kite"):
            import_authors(path, clip, NAMES[::-1])


# ------------------------------------------------------------------------------------------------------------ hostile
def archive(path, data, compression=zipfile.ZIP_STORED):
    """A file laid out as torch.save does, around any pickle."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", data)
    return path


class Calls:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


HOSTILE = {
    "os.system": lambda flag: Calls(os.system, f"touch {flag}"),
    "eval": lambda flag: Calls(eval, f"open({str(flag)!r}, 'w')"),
    "getattr": lambda flag: Calls(getattr, flag, "touch"),
    "torch.load": lambda flag: Calls(torch.load, str(flag)),
    "hub": lambda flag: Calls(torch.hub.load_state_dict_from_url, "https://example.org/x.pt"),
    "open": lambda flag: Calls(io.open, str(flag), "w"),
    "bytes": lambda flag: Calls(torch.storage._load_from_bytes, b"x"),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle_is_refused(clip, tmp_path, kind, protocol):
    flag = tmp_path / "flag"
    for content in (
        HOSTILE[kind](flag),
        {"state_dict": OrderedDict(ctx=HOSTILE[kind](flag)), "epoch": 50},
        {"state_dict": {}, "scheduler": {"successor": [HOSTILE[kind](flag)]}},
    ):
        path = archive(tmp_path / "model.pth.tar-50", pickle.dumps(content, protocol))
        with pytest.raises(ValueError, match=r"was refused, and nothing in it was run \(UnpicklingError: it asks for"):
            import_authors(path, clip, NAMES)
    assert not flag.exists()


NAMES_ALLOWED = [
    *(("collections", name) for name in ("OrderedDict", "Counter", "defaultdict")),
    *(("torch._utils", name) for name in ("_rebuild_tensor_v2", "_rebuild_parameter")),
    *(("builtins", name) for name in ("dict", "set")),
    *(("torch", name) for name in ("Size", "HalfStorage")),
    ("torch.optim.sgd", "SGD"),
    ("__torch__", "Module"),
]


@pytest.mark.parametrize("module, name", NAMES_ALLOWED)
def test_a_pickle_cannot_change_the_reader(tmp_path, module, name):
    """Neither a name that it may use nor what that makes: BUILD sets attributes, also of classes and functions."""
    target = f"c{module}\n{name}\n".encode()
    things = [dict, list, tuple, Counter, OrderedDict, torch.Size, torch.optim.SGD, torch._utils._rebuild_tensor_v2]
    things += [tensor_file.Unpickler, tensor_file.LeftOut, tensor_file.Saved]
    before = [dict(vars(thing)) for thing in things]
    attributes = b"(Vupdate\nNV__defaults__\nNd"  # {"update": None, "__defaults__": None}
    for state in (attributes, b"N" + attributes + b"\x86"):  # __dict__.update, and setattr
        for made in (b"", b")R", b")\x81"):  # itself, what it returns, a new one of it
            data = b"\x80\x04" + target + made + state + b"b."
            with pytest.raises(ValueError, match="was refused"):
                read_authors_file(archive(tmp_path / "m", data))
    assert [dict(vars(thing)) for thing in things] == before


def test_unwanted_objects_and_functions_of_the_files_choice_leave_nothing(clip, tmp_path):
    path, _ = authors_file(clip, tmp_path, context(4, 32))
    content = torch.load(path, weights_only=False)
    content["optimizer"]["state"] = defaultdict(dict, {0: "x"})
    content["more"] = [content["scheduler"]["successor"], {1, 2}, torch.Size([3]), Counter("ab")]
    torch.save(content, path)
    assert set(read_authors_file(path)) == {"state_dict", "epoch", "val_result"}


class Claim:
    """Pickles as a tensor of eight numbers, with any claim about its shape."""

    def __init__(self, size, stride, offset=0):
        self.arguments = (offset, size, stride, False, OrderedDict())

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (torch.arange(8.0)._typed_storage(), *self.arguments)


@pytest.mark.parametrize(
    "claim",
    [
        Claim((2, 400), (400, 1)),
        Claim((10**9, 10**9), (0, 0)),
        Claim((2, 4), (4, 1), offset=1000),
        Claim((2, 4), (-4, 1)),
        Claim((-2, -4), (4, 1)),
    ],
)
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(tmp_path, claim):
    torch.save({"state_dict": {"ctx": Claim((2, 4), (4, 1))}, "epoch": 1}, tmp_path / "good")
    assert torch.equal(read_authors_file(tmp_path / "good")["state_dict"]["ctx"], torch.arange(8.0).reshape(2, 4))
    torch.save({"state_dict": {"ctx": claim}, "epoch": 1}, tmp_path / "bad")
    with pytest.raises(ValueError, match="bad was refused"):
        read_authors_file(tmp_path / "bad")


# ------------------------------------------------------------------------------------------------------------ damaged
def test_damaged_and_foreign_files(clip, tmp_path):
    path, _ = authors_file(clip, tmp_path, context(4, 32))
    whole = path.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"model\.pth\.tar-50'\]"):
        read_authors_file(tmp_path)
    with pytest.raises(FileNotFoundError, match="no prompt file"):
        read_authors_file(tmp_path / "nothing")
    for content in (whole[:-100], whole[:500], b"", pickle.dumps({"state_dict": 1})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="was refused"):
            read_authors_file(path)
    torch.save({"state_dict": {}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"1\.6 or newer"):
        read_authors_file(path)
    data = pickle.dumps({"state_dict": {}})
    with pytest.raises(ValueError, match="compressed"):
        read_authors_file(archive(path, data + bytes(10_000), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="truncated"):
        read_authors_file(archive(path, data[:-8]))
    with pytest.raises(ValueError, match=r"expected one data\.pkl in it, found 0"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/other", b"")
        read_authors_file(path)


@pytest.mark.parametrize(
    "content, why",
    [
        ([1, 2], "no state_dict"),
        ({"model": {}}, "no state_dict"),
        ({"state_dict": {"meta_net.linear1.weight": torch.zeros(3, 3)}}, "holds no prompt of CoOp"),
        ({"state_dict": {"ctx": torch.zeros(3)}}, r"\(3,\)"),
        ({"state_dict": {"ctx": torch.zeros(3, 4, dtype=torch.int64)}}, "holds no prompt"),
        ({"state_dict": {"ctx": torch.full((3, 32), torch.nan)}}, "diverged"),
        ({"state_dict": {"ctx": torch.full((3, 32), 1e300, dtype=torch.float64)}}, r"too large for torch\.float32"),
        ({"state_dict": {"ctx": torch.ones(3, 32)}, "coop_edu": {"format": "of the future"}}, "its header"),
    ],
)
def test_a_file_that_is_no_prompt(clip, tmp_path, content, why):
    torch.save(content, tmp_path / "model.pth.tar-1")
    with pytest.raises(ValueError, match=why):
        import_authors(tmp_path / "model.pth.tar-1", clip, NAMES)


# -------------------------------------------------------------------------------------------------- relatives of CoOp
def start_of(clip):
    """The start token's embedding, for three classes."""
    return text_tower(clip.model).token_embedding.weight[clip.tokenizer.sot_token_id].detach().expand(3, 1, 32).clone()


def relatives(clip):
    """What other methods' code saves under the name of prompt_learner, or of the whole model."""
    coop = {"ctx": context(4, 32), "token_prefix": start_of(clip), "token_suffix": torch.zeros(3, 72, 32)}
    linear = {"meta_net.linear1.weight": torch.ones(32, 16), "meta_net.linear1.bias": torch.zeros(32)}
    deep = {f"compound_prompts_text.{i}": context(2, 32) for i in range(3)}
    return {
        "CoCoOp": {**coop, **linear},
        "MaPLe": {**coop, **deep, "proj.weight": torch.ones(8, 32), "proj.bias": torch.zeros(8)},
        "visual prompts beside ctx": {**coop, "VPT": torch.ones(4, 8)},
        "two contexts": {**coop, "ctx_negative": context(4, 32)},
    }


@pytest.mark.parametrize("name", ["CoCoOp", "MaPLe", "visual prompts beside ctx", "two contexts"])
def test_a_relatives_file_is_not_taken_for_coops(clip, tmp_path, name):
    state = relatives(clip)[name]
    torch.save({"state_dict": state, "epoch": 5}, tmp_path / "model.pth.tar-5")
    surplus = sorted(set(state) - {"ctx", "token_prefix", "token_suffix"})[-1]
    with pytest.raises(ValueError, match="holds more than PromptLearner has learned") as caught:
        import_authors(tmp_path / "model.pth.tar-5", clip, NAMES, position="end")
    assert surplus.split(".")[0] in str(caught.value)
    assert ("method=CoCoOp" in str(caught.value)) == (name == "CoCoOp")


def test_cocoops_file_goes_to_cocoop(clip, tmp_path):
    made = CoCoOp(clip, NAMES, n_ctx=4, seed=5)
    theirs = {"meta_net.0": "meta_net.linear1", "meta_net.2": "meta_net.linear2"}
    state = {}
    for name, value in made.named_parameters():
        module, _, kind = name.rpartition(".")
        state[f"{theirs[module]}.{kind}" if module else name] = value.detach()
    state["token_prefix"] = start_of(clip)
    torch.save({"state_dict": state, "epoch": 10}, tmp_path / "model.pth.tar-10")
    back = import_authors(tmp_path / "model.pth.tar-10", clip, NAMES, position="end", method=CoCoOp)
    images = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(back.logits(images), made.logits(images))
    del state["meta_net.linear2.bias"]
    torch.save({"state_dict": state}, tmp_path / "model.pth.tar-10")
    with pytest.raises(ValueError, match=r"expected meta_net\.2\.bias"):
        import_authors(tmp_path / "model.pth.tar-10", clip, NAMES, position="end", method=CoCoOp)


def test_what_is_no_tensor_and_words_of_another_number_of_classes(clip, tmp_path):
    path, _ = authors_file(clip, tmp_path / "ctpend" / "seed1", context(3, 4, 32))
    content = torch.load(path, weights_only=False)
    content["state_dict"]["scale"] = 2.0  # dropped without a word, once
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"\['scale'\] are not tensors"):
        import_authors(path, clip, NAMES)
    del content["state_dict"]["scale"]
    content["state_dict"]["token_suffix"] = content["state_dict"]["token_suffix"][:2]
    torch.save(content, path)
    with pytest.raises(ValueError, match="contexts for 3 classes, and words for another number"):
        import_authors(path, clip, NAMES)


def test_a_file_out_of_its_folder_says_that_the_position_is_a_guess(clip, tmp_path):
    path, _ = authors_file(clip, tmp_path / "nctx4_cscFalse_ctpmiddle" / "seed1", context(4, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert import_authors(path, clip, NAMES).position == "middle"
        exported = export_authors(import_authors(path, clip, NAMES), tmp_path / "out", 50)
        assert import_authors(exported, clip, NAMES).position == "middle"  # our own header knows it
    moved = path.rename(tmp_path / "model.pth.tar-50")
    with pytest.warns(UserWarning, match="'end' is assumed"):
        assert import_authors(moved, clip, NAMES).position == "end"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert import_authors(moved, clip, NAMES, position="middle").position == "middle"
