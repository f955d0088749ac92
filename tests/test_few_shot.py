"""The sampler draws what the authors' code draws."""

import gzip
import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.few_shot import sample_few_shot, sample_train_val, too_few

DATA = Path(__file__).parent / "data"
REFERENCE = json.loads((DATA / "few_shot_reference.json").read_text())
ENTRIES = [(name, entry) for name, entries in REFERENCE.items() for entry in entries]


def read(name):
    with gzip.open(DATA / "splits" / f"split_zhou_{name}.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    splits = {key: tuple(Example(Path(image), label, cls) for image, label, cls in rows[key]) for key in rows}
    return Dataset(name, ("unused",), **splits)


DATASETS = {name: read(name) for name in REFERENCE}
assert len(ENTRIES) == 60


def some(counts):
    return [Example(Path(f"{name}{i}.png"), y, name) for y, (name, n) in enumerate(counts.items()) for i in range(n)]


@pytest.mark.parametrize("name, entry", ENTRIES)
def test_same_images_in_the_same_order_as_the_authors(name, entry):
    shots, seed = (int(part) for part in entry.replace("-shot seed", "").split())
    train, val = sample_train_val(DATASETS[name], shots, seed)
    assert [example.image.as_posix() for example in train] == REFERENCE[name][entry]["train"]
    assert [example.image.as_posix() for example in val] == REFERENCE[name][entry]["val"]
    assert sample_few_shot(DATASETS[name].train, shots, seed) == train


def test_classes_come_in_order_of_first_appearance():
    examples = [Example(Path(f"{i}"), label, str(label)) for i, label in enumerate([7, 2, 7, 2, 5, 5])]
    assert [shot.label for shot in sample_few_shot(examples, 1, seed=1)] == [7, 2, 5]


def test_exactly_k_is_permuted_by_the_authors_code_too():
    examples = some({"cat": 8})
    assert sample_few_shot(examples, 8, seed=1) == random.Random(1).sample(examples, 8) != examples


def test_too_few_gives_all_in_order_names_the_class_and_draws_nothing():
    examples = some({"cat": 9, "dog": 2, "eel": 9})
    with pytest.warns(UserWarning, match=r"dog \(2\)") as caught:
        shots = sample_few_shot(examples, 4, seed=1)
    assert "cat" not in str(caught[0].message) and caught[0].filename == __file__
    assert shots[4:6] == examples[9:11]
    assert shots[:4] + shots[6:] == sample_few_shot([*examples[:9], *examples[11:]], 4, seed=1)


def test_too_few_of_two_classes_of_one_name_counts_each():
    examples = [Example(Path(f"{n}.png"), label, "crane") for label, many in ((0, 3), (2, 1)) for n in range(many)]
    assert too_few(examples, 4) == {"crane (class 0)": 3, "crane (class 2)": 1}
    assert too_few(examples, 2) == {"crane (class 2)": 1}  # together they would be enough
    assert too_few([], 1) == {}


def test_validation_has_at_most_four():
    cats = tuple(some({"cat": 20}))
    for k, expected in ((1, 1), (2, 2), (4, 4), (8, 4), (16, 4)):
        assert len(sample_train_val(Dataset("Cats", ("cat",), cats, cats, ()), k, seed=1)[1]) == expected


@pytest.mark.parametrize("k, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("4", TypeError)])
def test_k_below_one_or_not_whole(k, error):
    with pytest.raises(error, match=r"at least one shot|as an integer"):
        sample_few_shot(some({"cat": 3}), k, seed=1)


def test_nothing_to_draw_from():
    with pytest.raises(ValueError, match="test-only"):
        sample_few_shot([], 1, seed=1)


def test_global_random_state_is_neither_used_nor_moved():
    examples = some({"cat": 9, "dog": 9})
    before = sample_few_shot(examples, 4, seed=3)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert sample_few_shot(examples, 4, seed=3) == before
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states


def test_no_warning_without_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample_few_shot(some({"cat": 4}), 4, seed=1)
