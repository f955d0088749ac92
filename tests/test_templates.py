"""Hand-written prompts: filling, ensembling, names that cannot stand."""

import gzip
import json
import time
from pathlib import Path

import open_clip
import pytest
import torch

from coop_edu import Example, PromptLearner, ZeroShot, normalize
from coop_edu.clip import templates
from coop_edu.clip.templates import class_rows, clean_classnames, fill
from coop_edu.data.labels import check_same_classes, label_names

from tiny_clip import tiny_clip

SPLITS = Path(__file__).parent / "data" / "splits"
NAMES = ["cat", "hot_air_balloon", "Ram C/V"]


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(dtype=torch.float64)


def test_every_template_has_one_place_for_the_name():
    for template in [*templates.IMAGENET_TEMPLATES_7, *templates.OPENAI_TEMPLATES_80]:
        assert fill(template, ["hot_air_balloon"]) == [template.format("hot air balloon")]
    assert (len(templates.IMAGENET_TEMPLATES_7), len(templates.OPENAI_TEMPLATES_80)) == (7, 80)
    assert templates.IMAGENET_TEMPLATES_7[0] == "itap of a {}."


@pytest.mark.parametrize("template", ["a photo", "a {} and a {}", "a photo of a {0}."])
def test_a_template_without_one_place_is_refused(template):
    with pytest.raises(ValueError, match="exactly one"):
        fill(template, NAMES)


def test_braces_in_names_are_text():
    assert fill("a {}.", ["{x}", "{}"]) == ["a {x}.", "a {}."]


@pytest.mark.parametrize(
    "names, message",
    [
        ([], "at least one class name"),
        ("cat", "list of at least one class name"),
        (["cat", 3], "class names as text, got 3 .int.: labels are not names"),
        (["cat", ""], "class 1 of 2 has an empty name"),
        (["dog", "cat", "Dog"], r"more than once for CLIP: \['dog', 'Dog'\]"),
        (["missile"] * 2 + [f"class {i}" for i in range(10)], "more than once"),
        (["missile"] * 3 + [f"class {i}" for i in range(300)], "more than once"),
    ],
)
def test_names_that_cannot_stand(names, message):
    with pytest.raises(ValueError, match=message):
        clean_classnames(names)


ALIKE = [  # pairs of spellings of which CLIP's tokenizer makes the same tokens
    ("caf\u00e9", "cafe\u0301"),  # one letter with an accent, or a letter and an accent
    ("\u201cpop\u201d art", '"pop" art'),
    ("salt &amp; pepper", "salt & pepper"),
    ("\ufb01sh", "fish"),
    ("\uff23\uff21\uff34", "cat"),  # letters as wide as Chinese characters
    ("route 66", "route66"),
    ("T-shirt", "t - shirt"),
]


@pytest.mark.parametrize("one, other", ALIKE)
def test_names_that_clip_reads_alike(clip, one, other):
    assert torch.equal(clip.tokenize([f"a {one}."]), clip.tokenize([f"a {other}."]))
    with pytest.raises(ValueError, match="appear more than once"):
        clean_classnames(["dog", one, other])
    assert class_rows(["dog", one], [other, "dog"]) == [1, 0]
    check_same_classes((one, "dog"), (other, "dog"))
    pair = [Example(Path("1.png"), 0, one), Example(Path("2.png"), 0, other)]
    assert label_names(pair) == (one,)
    specific = PromptLearner(clip, ["dog", one], n_ctx=2, class_specific=True)
    assert torch.equal(specific.with_classnames([other]).ctx, specific.ctx[1:])


def test_names_that_look_alike_and_are_not():
    assert clean_classnames(["cat", "c\u0430t"])  # a Cyrillic letter
    assert clean_classnames(["707-320", "737-200", "A300B4", "C-130", "C-47"])
    with pytest.raises(ValueError, match="disagree"):
        check_same_classes(("cat",), ("c\u0430t",))


@pytest.mark.parametrize("packed", sorted(SPLITS.glob("*.gz")), ids=lambda path: path.name)
def test_the_names_of_the_paper_are_told_apart(packed):
    rows = json.loads(gzip.decompress(packed.read_bytes()))
    names = [name for _, name in sorted({(label, name) for _, label, name in rows["test"]})]
    assert len(clean_classnames(names)) == len(names)


@pytest.mark.parametrize("mark", ["<start_of_text>", "<END_OF_TEXT>", "&lt;end_of_text&gt;", "\uff1cend_of_text\uff1e"])
def test_clips_own_marks_are_refused_everywhere(clip, mark):
    hidden = mark.replace("_", "&#95;")  # in a name, underscores become spaces
    for make in (
        lambda: ZeroShot(clip, ["dog", "cat"], f"a {{}} {mark} photo."),
        lambda: ZeroShot(clip, ["dog", f"cat {hidden} fox"], "a {}."),
        lambda: PromptLearner(clip, ["dog", f"{hidden} cat"]),
        lambda: PromptLearner(clip, ["dog", "cat"], init=f"a photo {hidden}"),
    ):
        with pytest.raises(ValueError, match="contains CLIP's"):
            make()
    assert clean_classnames([mark])  # with spaces, it is no mark


def test_a_name_too_long_to_be_read_is_refused_at_once(clip):
    long = "x" * 200_000
    started = time.process_time()
    for make in (
        lambda: clean_classnames(["cat", long]),
        lambda: fill(f"a {{}} {long}.", ["cat"]),
        lambda: clip.tokenize([long]),
        lambda: PromptLearner(clip, ["cat"], init=long),
        lambda: check_same_classes((long,), ("cat",)),
    ):
        with pytest.raises(ValueError, match=r"too long for CLIP"):
            make()
    assert time.process_time() - started < 10  # a tokenizer's work grows with the square: 40 s for 20,000 letters


def test_imagenets_two_twins_are_let_through():
    assert len(clean_classnames(open_clip.IMAGENET_CLASSNAMES)) == 1000


def test_one_template(clip):
    classifier = ZeroShot(clip, NAMES, "a photo of a {}.")
    expected = normalize(clip.encode_text([f"a photo of a {name.replace('_', ' ')}." for name in NAMES]))
    torch.testing.assert_close(classifier.text_features, expected, rtol=1e-12, atol=1e-12)
    assert classifier.classnames == tuple(NAMES)


def test_ensemble_is_the_normalised_mean_of_normalised_features(clip):
    classifier = ZeroShot(clip, NAMES, templates.IMAGENET_TEMPLATES_7)
    rows = []
    for name in ["cat", "hot air balloon", "Ram C/V"]:
        each = clip.encode_text([template.format(name) for template in templates.IMAGENET_TEMPLATES_7])
        mean = sum(row / row.norm() for row in each) / 7
        rows.append(mean / mean.norm())
    torch.testing.assert_close(classifier.text_features, torch.stack(rows), rtol=1e-12, atol=1e-12)


def test_probabilities_equal_open_clips_own_zero_shot_classifier(clip):
    names, seven = ["cat", "hot air balloon", "Ram C/V"], open_clip.SIMPLE_IMAGENET_TEMPLATES
    options = {"num_classes_per_batch": None, "device": "cpu"}
    weights = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, names, seven, **options)
    images = clip.encode_image(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double())
    expected = (clip.logit_scale * normalize(images) @ weights).softmax(dim=1)
    got = ZeroShot(clip, NAMES, templates.IMAGENET_TEMPLATES_7).logits(images).softmax(dim=1)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


def test_with_classnames(clip):
    classifier = ZeroShot(clip, NAMES, ["a {}.", "the {}."]).with_classnames(["cat", "owl"])
    assert classifier.classnames == ("cat", "owl")
    made = ZeroShot(clip, ["cat", "owl"], ["a {}.", "the {}."])
    torch.testing.assert_close(classifier.text_features, made.text_features)


def test_no_template_and_a_prompt_that_is_too_long(clip):
    with pytest.raises(ValueError, match="at least one template"):
        ZeroShot(clip, NAMES, [])
    with pytest.raises(ValueError, match="a text needs 81 positions and 'tiny' has 77"):
        ZeroShot(clip, NAMES, "very " * 76 + "old {}.")
