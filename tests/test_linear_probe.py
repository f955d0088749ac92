"""The paper's search, on unnormalised features."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from coop_edu.data.features import Features
from coop_edu.evaluate.linear_probe import LinearProbe, expected_warnings_ignored, search_C

from tiny_clip import tiny_clip

NAMES = ("cat", "dog", "eel")


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def blobs(seed, n=8, K=3, spread=2.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(K, 16)) * 2
    labels = np.repeat(np.arange(K), n)
    images = centres[labels] + spread * rng.normal(size=(K * n, 16)) + 5  # far from the origin: norms matter
    return Features(torch.tensor(images, dtype=torch.float32), torch.tensor(labels), NAMES[:K])


def search_of_the_authors_script(train, val):
    """The same search written the long way: every end fitted anew, C instead of log10 C."""
    x, y = train.images.numpy(), train.labels.numpy()

    def score(C):
        model = LogisticRegression(C=C, max_iter=1000).fit(x, y)
        return (model.predict(val.images.numpy()) == val.labels.numpy()).mean()

    grid = [1e6, 1e4, 1e2, 1, 1e-2, 1e-4, 1e-6]
    peak = grid[int(np.argmax([score(C) for C in grid]))]
    left, right = 0.1 * peak, 10 * peak
    for _ in range(8):
        middle = 10 ** ((np.log10(left) + np.log10(right)) / 2)
        if score(left) < score(right):
            final, left = right, middle
        else:
            final, right = left, middle
    return np.log10(final)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_finds_the_same_C_as_the_authors_search(seed):
    train, val = blobs(seed), blobs(seed + 100, n=20, spread=3.0)
    assert search_C(train, val)[0] == pytest.approx(search_of_the_authors_script(train, val), abs=1e-9)


@pytest.mark.parametrize("K", [2, 3])
def test_logits_are_those_of_the_chosen_model(clip, K):
    train, val = blobs(1, K=K), blobs(2, K=K)
    probe = LinearProbe(clip, NAMES[:K], train, val)
    model = LogisticRegression(C=10**probe.log10_C, max_iter=1000).fit(
        train.images.numpy(), train.labels.numpy()
    )
    p = probe.logits(val.images).softmax(dim=1)
    assert p.shape == (K * 8, K)
    np.testing.assert_allclose(p.numpy(), model.predict_proba(val.images.numpy()), atol=2e-4)


def test_learns(clip):
    probe = LinearProbe(clip, NAMES, blobs(1), blobs(2))
    test = blobs(3, n=50)
    assert (probe.logits(test.images).argmax(dim=1) == test.labels).float().mean() > 0.9


def test_features_are_not_normalised(clip):
    train, val = blobs(1), blobs(2)
    probe = LinearProbe(clip, NAMES, train, val)
    scaled = [Features(f.images * 0.01, f.labels, f.classnames) for f in (train, val)]
    assert LinearProbe(clip, NAMES, *scaled).log10_C != probe.log10_C
    assert not torch.allclose(
        probe.logits(2 * val.images).softmax(1), probe.logits(val.images).softmax(1), atol=1e-3
    )


def test_deterministic_and_its_columns(clip):
    one, two = (LinearProbe(clip, NAMES, blobs(1), blobs(2)) for _ in range(2))
    assert torch.equal(one.weight, two.weight)
    part = one.with_classnames(["eel", "cat"])
    x = blobs(3).images
    assert torch.allclose(part.logits(x), one.logits(x)[:, [2, 0]]) and part.classnames == ("eel", "cat")
    with pytest.raises(ValueError, match=r"'fox'(.|\n)*does not read class names"):
        one.with_classnames(["fox"])


def test_what_cannot_be_learned_from(clip):
    good = blobs(1)
    views = Features(torch.zeros(2, 3, 16), torch.tensor([0, 1, 2]), NAMES)
    none = Features(torch.zeros(0, 16), torch.tensor([], dtype=torch.long), NAMES)
    two = Features(good.images[:16], good.labels[:16], NAMES[:2])
    for names, train, val, message in (
        (NAMES[:1], good, good, "at least two"),
        (NAMES, views, good, "training features"),
        (NAMES, good, none, "validation features"),
        (NAMES, two, good, "no training picture of 'eel'"),
        (("cat", "dog", "fox"), good, good, "'eel' in the data and 'fox'"),
    ):
        with pytest.raises(ValueError, match=message):
            LinearProbe(clip, names, train, val)


def test_one_shot_without_a_word_from_scikit_learn(clip):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LinearProbe(clip, NAMES, blobs(1, n=1), blobs(2, n=1))


def test_a_search_that_ends_does_not_bring_back_the_warnings_of_one_that_goes_on():
    """Filters belong to the process, and searches run in threads: here the order that went wrong, one step at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        one, other = expected_warnings_ignored(), expected_warnings_ignored()
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        warnings.warn("large C", ConvergenceWarning, stacklevel=2)
        other.__exit__(None, None, None)
        assert warnings.filters == before
        with pytest.raises(ConvergenceWarning):
            warnings.warn("large C", ConvergenceWarning, stacklevel=2)
