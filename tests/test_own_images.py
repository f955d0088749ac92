"""Images as people have them: copies, codes for names, empty classes, other tables, and files that attack."""

import io
import json
import pickle
import subprocess
import time
import unicodedata
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.datasets import FakeData

from coop_edu import CoCoOp, Dataset, Features, KgCoOp, PromptConfig, Recipe, Trainer, accuracy, load_clip, load_image
from coop_edu.clip.fingerprint import clip_fingerprint
from coop_edu.coop.authors_files import export_authors, import_authors
from coop_edu.coop.checkpoints import load_prompt, save_prompt
from coop_edu.coop.prompt_file import read_prompt
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.data.few_shot import sample_few_shot, sample_train_val
from coop_edu.data.own import from_folder, from_pairs, from_split_file, suggest_names
from coop_edu.files import asset
from coop_edu.grid.frame import read_results
from coop_edu.grid.methods import LEARNED, find_method
from coop_edu.scales import SCALES

from tiny_images import draw, make_examples

NAMES = ["cat", "dog", "eel"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "cache"))


# ------------------------------------------------------------------------------------------------------- folders
def test_train_and_val_alone_are_read_as_imagenet_has_them(tmp_path):
    for split, start in (("Train", 0), ("VAL", 20)):
        make_examples(tmp_path / "mine" / split, NAMES, each=5, start=start)
    found = from_folder(tmp_path / "mine")
    assert {e.image.parts[-3] for e in found.test} == {"VAL"} and len(found.test) == 15
    assert len(found.val) == 3 and len(found.train) == 12


@pytest.mark.parametrize("where", ["another class", "another split"])
def test_copies_in_two_classes_or_splits_are_named(tmp_path, where):
    make_examples(tmp_path / "mine", NAMES, each=10)
    data = from_folder(tmp_path / "mine")
    original = data.train[0].image
    target = data.test[-1].image if where == "another class" else data.test[0].image
    assert (original.parent == target.parent) == (where == "another split")
    target.write_bytes(original.read_bytes())
    with pytest.warns(UserWarning, match="1 images of mine are copies") as caught:
        from_folder(tmp_path / "mine")
    assert {original.name, target.name} <= set(str(caught[0].message).replace("/", " ").split())


def test_copies_within_one_class_and_split_are_left_alone(tmp_path, recwarn):
    make_examples(tmp_path / "mine", NAMES, each=10)
    data = from_folder(tmp_path / "mine")
    cats = [example.image for example in data.train if example.classname == "cat"]
    cats[1].write_bytes(cats[0].read_bytes())
    from_folder(tmp_path / "mine")
    assert not recwarn.list


def table(folder, rows, name="mine.csv", comma=","):
    lines = [("image", "class", "split"), *rows]
    (folder / name).write_text("\n".join(comma.join(line) for line in lines), encoding="utf-8")
    return folder / name


def rows_of(folder):
    examples = make_examples(folder, NAMES, each=4)
    places = ("train", "train", "val", "test")
    return [(str(e.image.relative_to(folder)), e.classname, places[int(e.image.stem)]) for e in examples]


def test_a_file_that_is_listed_twice_is_named(tmp_path):
    rows = rows_of(tmp_path)
    with pytest.warns(UserWarning, match="listed twice"):
        from_split_file(table(tmp_path, [*rows, rows[0]]))


@pytest.mark.parametrize("name, comma", [("mine.CSV", ","), ("mine.tsv", "\t")])
def test_tables_of_other_suffixes(tmp_path, name, comma):
    assert len(from_split_file(table(tmp_path, rows_of(tmp_path), name, comma)).train) == 6


def test_an_unclosed_quote_names_the_file(tmp_path):
    rows = rows_of(tmp_path)
    with pytest.raises(ValueError, match=r"mine\.csv(.|\n)*quote"):
        from_split_file(table(tmp_path, [*rows, ('"' + rows[0][0], "cat", "train")]))


def test_a_pickle_of_few_shot_samples_is_not_called_damaged_only(tmp_path):
    (tmp_path / "shot_1-seed_1.pkl").write_bytes(pickle.dumps({"train": []}))
    with pytest.raises(ValueError, match=r"Expected the authors' \.json, or a table"):
        from_split_file(tmp_path / "shot_1-seed_1.pkl")


def test_accents_of_two_characters_are_found(tmp_path):
    rows = rows_of(tmp_path)
    composed = unicodedata.normalize("NFC", "caf\u00e9.png")
    (tmp_path / rows[0][0]).rename(tmp_path / unicodedata.normalize("NFD", composed))
    data = from_split_file(table(tmp_path, [(composed, *rows[0][1:]), *rows[1:]]))
    assert load_image(data.train[0].image).size == (64, 64)


CODES = {
    "001.Alarm_Clock": "Alarm_Clock", "n02085621-red fox": "red fox", "AppleTree": "Apple Tree",
    "12 cup": "cup", "7": "7",
}  # fmt: skip


def test_codes_for_names_are_warned_of_and_mended(tmp_path):
    make_examples(tmp_path / "mine", list(CODES), each=5)
    with pytest.warns(UserWarning, match="5 class names of mine look like codes: CLIP would read"):
        data = from_folder(tmp_path / "mine")
    assert suggest_names(data) == CODES
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mended = from_folder(tmp_path / "mine", names={**suggest_names(data), "7": "seven"})
    assert set(mended.classnames) == {*CODES.values(), "seven"} - {"7"}


@pytest.mark.parametrize(
    "names", [["737-200", "A380", "Boeing 717"], ["iPhone", "pear", "cup"], ["cat", "hot_dog", "x"]]
)
def test_names_with_numbers_are_names(tmp_path, names, recwarn):
    make_examples(tmp_path / "mine", names, each=5)
    from_folder(tmp_path / "mine")
    assert not recwarn.list


# ------------------------------------------------------------------------------------------------- pairs in memory
def test_sequences_of_pairs_are_a_dataset(clip):
    """torchvision's, whose rows are tuples, and dictionaries as Hugging Face has them."""
    rows = FakeData(size=60, image_size=(3, 32, 32), num_classes=3)
    dictionaries = [{"image": image, "label": torch.tensor(label)} for image, label in rows]
    data, same = (from_pairs("Fake", NAMES, some, test=list(rows)[:9]) for some in (rows, dictionaries))
    assert [e.label for e in data.train] == [e.label for e in same.train] and len(data.test) == 9
    counts = Counter(e.label for e in (*data.train, *data.val))
    assert counts == Counter(label for _, label in rows)
    assert Counter(e.label for e in data.val) == {label: max(1, round(0.2 * n)) for label, n in counts.items()}
    learner = PromptLearner(clip, data.classnames, n_ctx=2)
    Trainer(learner, Recipe(epochs=1, views=None), progress=False).fit(sample_few_shot(data.train, 2, 1))
    assert 0 <= accuracy(learner, data.test, progress=False) <= 100
    with pytest.raises(IndexError):
        from_pairs("Fake", NAMES[:2], rows, test=rows)
    with pytest.raises(ValueError, match="one image each of eel: too few"):
        from_pairs("Fake", ("cat", "eel"), [(rows[0][0], label) for label in (0, 0, 1)], test=rows)
    with pytest.raises(IndexError, match="hidden labels"):
        from_pairs("Fake", NAMES, rows, test=[(rows[0][0], -1)])


# ------------------------------------------------------------------------------------------ classes without an image
def test_a_class_without_a_training_image_is_named(clip, tmp_path):
    examples = tuple(make_examples(tmp_path, ["cat", "dog"], each=4))
    data = Dataset("mine", ("cat", "dog", "eel"), examples, examples[:4], examples[4:])
    with pytest.warns(UserWarning, match=r"eel \(0\)"):
        sample_train_val(data, 2, 1)
    learner = PromptLearner(clip, data.classnames, n_ctx=2, class_specific=True)
    shots = Features(torch.randn(4, 16), torch.tensor([0, 0, 1, 1]), ("cat", "dog"))
    with pytest.warns(UserWarning, match=r"1 of 3 classes have no training image \(eel\)"):
        Trainer(learner, Recipe(epochs=1, views=None), progress=False).fit(shots)


def test_a_generator_of_examples_is_a_list_of_them(tmp_path):
    examples = make_examples(tmp_path, NAMES, each=4)
    assert sample_few_shot((e for e in examples), 2, 1) == sample_few_shot(examples, 2, 1)


# ------------------------------------------------------------------------------------------------- silent until now
def test_settings_that_mean_something_else_are_refused(clip, tmp_path):
    with pytest.raises(ValueError, match="True or False"):
        PromptConfig(class_specific="no")
    with pytest.raises(FileNotFoundError, match="no results file"):
        read_results(tmp_path / "none.jsonl")
    learner = PromptLearner(clip, NAMES, n_ctx=2)
    with pytest.raises(ValueError, match="no images"):
        accuracy(learner, Features(torch.zeros(0, 16), torch.zeros(0, dtype=torch.long), ("cat",)))
    learner.ctx.data[:] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        accuracy(learner, Features(torch.randn(4, 16), torch.arange(4) % 3, tuple(NAMES)))


# ------------------------------------------------------------------------------------------------ files that attack
def test_an_eps_file_starts_no_program(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail(f"started {a}"))
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: pytest.fail(f"started {a}"))
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(text)
    with pytest.raises(ValueError, match=r"cannot read the image .*x\.png"):
        load_image(tmp_path / "x.png")


def test_several_images_at_once_are_pointed_to_predict_table():
    image = Image.new("RGB", (8, 8))
    with pytest.raises(ValueError, match="for several images take predict_table"):
        load_image([image, image])


@pytest.mark.parametrize("kind", ["BLP", "IM", "PCX", "SGI", "ICNS"])
def test_formats_that_are_not_ours_are_not_opened(tmp_path, kind):
    file = io.BytesIO()
    image = Image.new("P" if kind == "BLP" else "RGB", (64, 64))
    image.save(file, kind)
    with pytest.raises(ValueError, match="cannot read the image"):
        load_image(file.getvalue())


def png(width, height):
    """A black one-bit PNG of any size in a few kilobytes, made without its pixels in memory."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(1 + -(-width // 8))) for _ in range(height)) + packed.flush()
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_small_file_of_many_pixels_is_refused_before_it_is_unpacked():
    bomb = png(10_000, 5_001)
    assert len(bomb) < 20_000
    start = time.process_time()
    with pytest.raises(ValueError, match="10,000 x 5,001 pixels, expected at most"):
        load_image(bomb)
    assert time.process_time() - start < 0.5
    assert load_image(png(500, 400)).size == (500, 400)


def test_a_label_with_many_names_is_found_in_linear_time(tmp_path):
    draw(tmp_path / "1.png", 1)
    rows = [["1.png", 0, f"name {n}"] for n in range(20_000)]
    (tmp_path / "split.json").write_text(json.dumps({"train": rows, "val": [], "test": []}))
    start = time.process_time()
    with pytest.raises(ValueError, match="several class names") as caught:
        from_split_file(tmp_path / "split.json")
    assert time.process_time() - start < 2 and len(str(caught.value)) < 2000


# ------------------------------------------------------------------------------------------ the authors' other files
def their_file(folder, state, **beside):
    (folder / "prompt_learner").mkdir(exist_ok=True)
    path = folder / "prompt_learner" / "model.pth.tar-50"
    torch.save({"state_dict": state, "epoch": 50, **beside}, path)
    return path


def test_kgcoops_file_brings_its_context_only(clip, tmp_path):
    ctx = torch.randn(4, 32)
    untrained = {"bias_vectors": torch.zeros(1, 32), "meta_net.linear1.weight": torch.zeros(2, 16)}
    path = their_file(tmp_path, {"ctx": ctx, **untrained})
    learner = import_authors(path, clip, NAMES, position="end", method=KgCoOp, template="a photo of a {}.")
    assert type(learner) is KgCoOp and torch.equal(learner.ctx.detach(), ctx)
    with pytest.raises(ValueError, match="method=KgCoOp"):
        import_authors(path, clip, NAMES, position="end")
    with pytest.raises(ValueError, match=r"does not make a KgCoOp(.|\n)*template"):
        import_authors(path, clip, NAMES, position="end", method=KgCoOp)


def test_cocoops_export_has_the_names_of_the_authors(clip, tmp_path):
    made = CoCoOp(clip, NAMES, n_ctx=2, seed=3)
    path = export_authors(made, tmp_path, 10)
    state = torch.load(path, weights_only=True)["state_dict"]
    kinds = [f"meta_net.linear{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")]
    assert set(state) == {"ctx", *kinds}
    back = import_authors(path, clip, NAMES, method=CoCoOp)
    for name, parameter in made.named_parameters():
        assert torch.equal(dict(back.named_parameters())[name], parameter)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrapped_key_is_unwrapped(clip, tmp_path, prefix):
    path = their_file(tmp_path, {f"{prefix}ctx": torch.ones(4, 32)})
    assert import_authors(path, clip, NAMES, position="end").ctx.sum() == 4 * 32


def test_a_number_of_numpy_beside_the_tensors_is_data(clip, tmp_path):
    path = their_file(tmp_path, {"ctx": torch.ones(4, 32)}, val_result=np.float64(81.5), best=np.int64(3))
    assert import_authors(path, clip, NAMES, position="end").ctx.sum() == 4 * 32


def test_kgcoops_recipe_and_template_are_its_authors():
    method = find_method("KgCoOp_init_end")
    paper, mini = (method.recipe(SCALES[scale].recipe(16, "Food101")) for scale in ("paper", "mini"))
    assert (paper.epochs, paper.batch_size) == (100, 128) and mini == SCALES["mini"].recipe(16)
    template = LEARNED[1].options["template"]
    empty = {"classnames": ("a",), "train": (), "val": (), "test": ()}
    textures = Dataset("DescribableTextures", template="{} texture.", **empty)
    assert template(textures) == "a photo of a {}, a type of texture."
    assert template(Dataset("Food101", template="{}, food.", **empty)) == "{}, food."


def test_transformers_layout_is_named_in_one_line(tmp_path):
    save_file({f"text_model.layer.{n}.weight": torch.zeros(1) for n in range(500)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="Transformers' CLIPModel") as caught:
        load_clip("mini", pretrained=tmp_path / "model.safetensors")
    assert len(str(caught.value)) < 400 + len(str(Path(tmp_path)))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_clip_of_wrapped_keys_is_unwrapped(tmp_path, prefix):
    weights = load_file(asset("miniclip.safetensors"))
    save_file({prefix + name: tensor for name, tensor in weights.items()}, tmp_path / "wrapped.safetensors")
    mini = load_clip("mini", pretrained=tmp_path / "wrapped.safetensors", device="cpu")
    assert clip_fingerprint(mini) == clip_fingerprint(load_clip("mini", device="cpu"))


def test_a_context_of_eight_bits_and_facts_without_end_are_read(clip, tmp_path):
    path, facts = tmp_path / "p.safetensors", {"huge": int("9" * 400)}
    save_prompt(PromptLearner(clip, NAMES, n_ctx=2), path)
    header, tensors = read_prompt(path)
    eight = tensors["ctx"].to(torch.float8_e4m3fn)
    save_file({"ctx": eight}, path, {"coop_edu": json.dumps({**header, "facts": facts})})
    assert torch.equal(load_prompt(path, clip).ctx.detach(), eight.float())
