"""The paper's search, on unnormalised features."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from coop_edu import FeatureBank, Features, load_clip, load_dataset, sample_train_val
from coop_edu.evaluate.linear_probe import LinearProbe, search_C

NAMES = ("cat", "dog", "eel")


def blobs(seed, n=8, K=3, spread=2.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(K, 16)) * 2
    labels = np.repeat(np.arange(K), n)
    images = centres[labels] + spread * rng.normal(size=(K * n, 16)) + 5  # far from the origin: norms matter
    return Features(torch.tensor(images, dtype=torch.float32), torch.tensor(labels), NAMES[:K])


def search_of_the_authors_script(train, val):
    """log10 C and validation accuracy of the same search written the long way: in double, every end fitted anew."""
    x, y = train.image_features.numpy().astype(np.float64), train.labels.numpy()
    val_x, val_y = val.image_features.numpy().astype(np.float64), val.labels.numpy()

    def score(log10_C):
        model = LogisticRegression(C=10.0**log10_C, max_iter=1000).fit(x, y)
        return (model.predict(val_x) == val_y).mean()

    with threadpool_limits(1, "blas"):  # lbfgs amplifies the last bit, in which products of several threads may differ
        grid = [6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0]
        peak = grid[int(np.argmax([score(log10_C) for log10_C in grid]))]
        left, right = peak - 1, peak + 1
        for _ in range(8):
            middle = (left + right) / 2
            if score(left) < score(right):
                final, left = right, middle
            else:
                final, right = left, middle
        return final, score(final)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("seed", [1, 2])
def test_finds_the_same_C_as_the_authors_search(seed, K):
    assert_same_search(blobs(seed, K=K), blobs(seed + 100, n=20, K=K, spread=3.0))


def assert_same_search(train, val):
    log10_C, model = search_C(train, val)
    assert model.coef_.dtype == np.float64
    found = (log10_C, model.score(val.image_features.double().numpy(), val.labels.numpy()))
    assert found == search_of_the_authors_script(train, val)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:The number of unique")
def test_finds_the_same_C_on_the_shipped_drawings():
    clip, dataset = load_clip("mini"), load_dataset("IconArrows")
    bank = FeatureBank(clip, [*dataset.train, *dataset.val], progress=False)
    for shots, seed in ((1, 1), (1, 2), (4, 1)):
        train, val = (bank(part) for part in sample_train_val(dataset, shots, seed))
        assert_same_search(train, val)


@pytest.mark.parametrize("K", [2, 3])
def test_logits_are_those_of_the_chosen_model(clip, K):
    train, val = blobs(1, K=K), blobs(2, K=K)
    probe = LinearProbe(clip, NAMES[:K], train, val)
    x, val_x = (some.image_features.double().numpy() for some in (train, val))
    model = LogisticRegression(C=10**probe.log10_C, max_iter=1000).fit(x, train.labels.numpy())
    assert probe.weight.shape == (K, 16) and probe.weight.dtype == probe.bias.dtype == torch.float32
    p = probe.logits(val.image_features).softmax(dim=1)
    np.testing.assert_allclose(p.numpy(), model.predict_proba(val_x), atol=2e-5)


def test_features_are_not_normalised(clip):
    train, val = blobs(1), blobs(2)
    probe = LinearProbe(clip, NAMES, train, val)
    scaled = [Features(f.image_features * 0.01, f.labels, f.classnames) for f in (train, val)]
    assert LinearProbe(clip, NAMES, *scaled).log10_C != probe.log10_C
    once, twice = (probe.logits(n * val.image_features).softmax(dim=1) for n in (1, 2))
    assert not torch.allclose(once, twice, atol=1e-3)


def test_deterministic_and_its_columns(clip):
    one, two = (LinearProbe(clip, NAMES, blobs(1), blobs(2)) for _ in range(2))
    assert torch.equal(one.weight, two.weight)
    part = one.with_classnames(["eel", "cat"])
    x = blobs(3).image_features
    assert torch.allclose(part.logits(x), one.logits(x)[:, [2, 0]]) and part.classnames == ("eel", "cat")
    with pytest.raises(ValueError, match=r"'fox'(.|\n)*does not read class names"):
        one.with_classnames(["fox"])
    with pytest.raises(ValueError, match="got 'cat'"):
        one.with_classnames("cat")


def test_columns_of_two_classes_of_one_name(clip):
    names = ("crane", "dog", "crane")
    train, val = (Features(some.image_features, some.labels, names) for some in (blobs(1), blobs(2)))
    probe, x = LinearProbe(clip, names, train, val), blobs(3).image_features
    part = probe.with_classnames(["crane", "crane", "dog"])
    assert torch.allclose(part.logits(x), probe.logits(x)[:, [0, 2, 1]])
    with pytest.raises(ValueError, match="not trained on 'crane'"):
        probe.with_classnames(["crane", "crane", "crane"])


def test_what_cannot_be_learned_from(clip):
    good = blobs(1)
    views = Features(torch.zeros(2, 3, 16), torch.tensor([0, 1, 2]), NAMES)
    none = Features(torch.zeros(0, 16), torch.tensor([], dtype=torch.long), NAMES)
    one = Features(good.image_features[:8], good.labels[:8], NAMES[:1])
    two = Features(good.image_features[:16], good.labels[:16], NAMES[:2])
    for names, train, val, message in (
        ("cat", good, good, "got 'cat'"),
        (NAMES[:1], good, good, "3 classes and the classifier 1"),
        (NAMES[:1], one, one, "2 classes"),
        (NAMES, views, good, "dim 3"),
        (NAMES, good, none, "one validation image"),
        (NAMES, two, good, "no training image of 'eel'"),
        (("cat", "dog", "fox"), good, good, "'eel' in the data and 'fox'"),
    ):
        with pytest.raises(ValueError, match=message):
            LinearProbe(clip, names, train, val)


def test_one_shot_without_a_word_from_scikit_learn(clip):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LinearProbe(clip, NAMES, blobs(1, n=1), blobs(2, n=1))
