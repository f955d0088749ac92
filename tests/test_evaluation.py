"""Accuracy is counted right, on the right classes."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.metrics import f1_score, top_k_accuracy_score

from coop_edu import (
    Dataset,
    Features,
    PromptLearner,
    ZeroShot,
    both_errors,
    domain_generalisation,
    extract_features,
    mean_and_interval,
)
from coop_edu.evaluate.accuracy import accuracy, macro_f1, per_class_accuracy, predict

from tiny_images import draw, make_examples


@dataclass
class Fixed:
    """A classifier whose logits are the features themselves."""

    clip: object
    classnames: tuple = ("cat", "dog", "eel")

    def logits(self, image_features):
        return image_features

    def with_classnames(self, names):
        raise ValueError("fixed")


def scores(predicted, labels, names=("cat", "dog", "eel")):
    return Features(torch.eye(3)[predicted], torch.tensor(labels), names)


def test_accuracy_and_per_class_in_percent(clip):
    data = scores([0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 1, 1], ("cat", "dog"))
    assert accuracy(Fixed(clip), data) == pytest.approx(50)
    assert per_class_accuracy(Fixed(clip), data) == {"cat": 50.0, "dog": 50.0}  # "eel" has no image
    assert per_class_accuracy(Fixed(clip), scores([2, 0], [2, 2], ("", "", "eel"))) == {"eel": 50.0}


def test_two_classes_of_one_name_keep_their_own_figures(clip):
    twins = Fixed(clip, ("crane", "dog", "crane"))  # a bird and a machine; ImageNet has two such pairs
    data = scores([0, 0, 1, 2, 2, 2], [0, 0, 0, 1, 2, 2], twins.classnames)
    found = per_class_accuracy(twins, data)
    assert found == pytest.approx({"crane (class 0)": 200 / 3, "dog": 0.0, "crane (class 2)": 100.0})


def test_probabilities_add_up_where_a_name_stands_twice(clip, tmp_path):
    # let through in a list of this length
    names = ("missile", *(f"thing {n}" for n in range(198)), "missile")
    found = predict(ZeroShot(clip, names, "a {}."), draw(tmp_path / "a.png", 3))
    assert len(found) == 200 and sum(found.values()) == pytest.approx(1)
    assert found["missile (class 0)"] == pytest.approx(found["missile (class 199)"]) and "missile" not in found


def test_examples_and_features_agree_and_the_cache_is_passed_on(clip, tmp_path):
    examples = make_examples(tmp_path / "images", each=6)
    classifier = ZeroShot(clip, ("cat", "dog"), "a photo of a {}.")
    from_features = accuracy(classifier, extract_features(clip, examples, progress=False))
    assert accuracy(classifier, examples, cache=tmp_path / "cache", progress=False) == from_features
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_text_features_are_computed_once(clip, monkeypatch):
    learner = PromptLearner(clip, ["cat", "dog"], n_ctx=2)
    calls, original = [], learner.forward
    monkeypatch.setattr(learner, "forward", lambda ctx: calls.append(1) or original(ctx))
    data = Features(torch.randn(500, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(500).long(), ("cat",))
    accuracy(learner, data)
    assert len(calls) == 1 and learner.ctx.grad is None


def test_data_and_classifier_that_disagree(clip):
    with pytest.raises(ValueError, match="label 1 is 'fox' in the data and 'dog'"):
        accuracy(Fixed(clip), scores([0], [0], ("cat", "fox", "eel")))
    with pytest.raises(ValueError, match="4 classes and the classifier 3"):
        accuracy(Fixed(clip), scores([0], [0], ("cat", "dog", "eel", "fox")))
    with pytest.raises(ValueError, match="views=None"):
        accuracy(Fixed(clip), replace(scores([0], [0]), image_features=torch.zeros(2, 1, 3)))
    assert accuracy(Fixed(clip, ("hot air balloon",)), scores([0], [0], ("hot_air_balloon",))) == 100


def test_predict_in_every_form(clip, tmp_path):
    path = draw(tmp_path / "a.png", 3)
    for classifier in (ZeroShot(clip, ("cat", "dog", "eel"), "a {}."), PromptLearner(clip, ["cat", "dog", "eel"])):
        image = clip.preprocess(Image.open(path).convert("RGB"))[None]
        with torch.no_grad():
            expected = classifier.logits(clip.encode_image(image)).softmax(dim=1)[0].tolist()
        for form in (path, str(path), path.read_bytes(), Image.open(path), np.asarray(Image.open(path))):
            found = predict(classifier, form)
            assert found == pytest.approx(dict(zip(("cat", "dog", "eel"), expected, strict=True)))
            assert list(found.values()) == sorted(expected, reverse=True) and sum(found.values()) == pytest.approx(1)


# -------------------------------------------------------------------------------------- domain generalisation
@pytest.fixture
def domains(tmp_path):
    def test_only(name, classnames):
        return Dataset(name, classnames, (), (), tuple(make_examples(tmp_path / name, classnames, each=4)))

    return [test_only("Source", ("cat", "dog", "eel")), test_only("A", ("eel", "cat")), test_only("R", ("dog",))]


def test_each_variant_is_scored_over_its_own_classes(clip, domains):
    learner = PromptLearner(clip, ("cat", "dog", "eel"), n_ctx=2, class_specific=True)
    found = domain_generalisation(learner, domains[0], domains[1:], progress=False)
    features = extract_features(clip, domains[1].test, progress=False)
    with torch.no_grad():
        columns = learner.logits(features.image_features)[:, [2, 0]]  # eel, cat
    assert list(found) == ["Source", "A", "R"]
    assert found["A"] == pytest.approx(100 * (columns.argmax(dim=1) == features.labels).float().mean().item())
    assert found["R"] == 100.0  # one class: over its own classes, it cannot miss
    assert found["Source"] == accuracy(learner, domains[0].test, progress=False)


def test_two_data_sets_of_one_name_are_not_one_column(clip, domains):
    mine = replace(domains[1], name="photos"), replace(domains[2], name="photos")
    with pytest.raises(ValueError, match="two datasets have the name 'photos'"):
        domain_generalisation(PromptLearner(clip, ("cat", "dog", "eel")), domains[0], mine, progress=False)


def test_zero_shot_and_unified_read_new_names_and_class_specific_cannot(clip, domains, tmp_path):
    new = Dataset("New", ("fox",), (), (), tuple(make_examples(tmp_path / "New", ("fox",))))
    for classifier in (ZeroShot(clip, domains[0].classnames, "a {}."), PromptLearner(clip, domains[0].classnames)):
        assert domain_generalisation(classifier, domains[0], [new], progress=False)["New"] == 100.0
    specific = PromptLearner(clip, domains[0].classnames, class_specific=True)
    with pytest.raises(ValueError, match="fox"):
        domain_generalisation(specific, domains[0], [new], progress=False)


@pytest.mark.parametrize("n", [2, 3, 5, 300])
def test_the_interval_is_that_of_students_t(n):
    values = torch.randn(n, generator=torch.Generator().manual_seed(n)).double()
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=values.std() / n**0.5)
    assert mean_and_interval(values) == pytest.approx(((low + high) / 2, (high - low) / 2))
    assert math.isnan(mean_and_interval(5.0)[1])


def test_an_interval_over_seeds_and_test_images_has_both():
    """Of two independent errors, simulated many times, it covers the truth about as often as it says."""
    generator, covered = torch.Generator().manual_seed(0), 0
    for _ in range(400):
        right = torch.rand(200, generator=generator) < 0.3  # of each image: is one classifier better on it?
        seeds = 100 * right.double().mean() + 2 * torch.randn(5, generator=generator).double()
        mean, half = both_errors(seeds, 100 * right.double())
        assert mean == pytest.approx(seeds.mean().item())
        covered += abs(mean - 30) < half
    assert 0.93 < covered / 400 <= 1
    assert both_errors([1, 2, 3], [5, 5])[1] == pytest.approx(mean_and_interval([1, 2, 3])[1])
    assert both_errors([2, 2, 2], [0, 100])[1] == pytest.approx(mean_and_interval([0, 100])[1])


def test_an_interval_needs_a_value():
    with pytest.raises(ValueError, match="did every seed fail"):
        mean_and_interval([])


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_the_authors_tools(clip, seed):
    """Over the classes that stand in the labels: `f1_score(..., average="macro", labels=np.unique(y_true))`."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(30, 5, generator=generator)
    labels = torch.randint(0, 2 + seed % 4, (30,), generator=generator)
    names, y = ("ant", "bee", "cat", "dog", "eel"), labels.numpy()
    for answers in (images, torch.eye(5)[labels], torch.eye(5)[(labels + 1) % 5]):  # of any worth, right, wrong
        found = macro_f1(Fixed(clip, names), Features(answers, labels, names))
        theirs = f1_score(y, answers.argmax(dim=1), average="macro", labels=np.unique(y))
        assert found == pytest.approx(100 * theirs)


def test_top_k_accuracy_counts_the_k_most_probable_classes(clip):
    """Against scikit-learn's, and rising with k to 100."""
    names = ["cat", "dog", "eel", "fox", "gnu"]
    data = Features(torch.randn(60, 16), torch.arange(60) % 5, tuple(names))
    written = ZeroShot(clip, names, "a photo of a {}.")
    scores = written.logits(data.image_features).numpy()
    for k in (1, 2, 3):
        theirs = 100 * top_k_accuracy_score(data.labels.numpy(), scores, k=k)
        assert accuracy(written, data, top=k) == pytest.approx(theirs)
    assert accuracy(written, data, top=5) == 100 > accuracy(written, data, top=2) > accuracy(written, data)
