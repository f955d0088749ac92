"""Nothing of the tasks was pretrained on: the three rules of scripts/build_iconnet.py, proved from what is shipped."""

import csv
import gzip
import io
import json
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ASSETS = Path(__file__).parent.parent / "coop_edu" / "assets"
NEAR = 4  # bits of 64
BLOCK = 2  # rows at once: what lies between is small enough for the cache
VARIANTS = {"IconNetV2", "IconNet-Sketch", "IconNet-A", "IconNet-R"}
# Sets that are the same designer's, written down here once more so that an error in the builder's list is noticed.
SAME_HAND = [
    {"fa", "fa-regular", "fa-solid", "fa6-regular", "fa6-solid", "fa7-regular", "fa7-solid"},
    {"feather", "lucide", "lucide-lab"}, {"ion", "famicons"}, {"bx", "bxs", "boxicons"},
    {"ic", "material-symbols", "material-symbols-light", "mdi"}, {"noto", "noto-v1"}, {"emojione", "emojione-monotone"},
    {"fluent", "fluent-color", "fluent-emoji", "fluent-emoji-flat", "fluent-emoji-high-contrast"},
    {"streamline", "streamline-emojis", "streamline-freehand", "streamline-pixel", "streamline-ultimate"},
]  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    with gzip.open(ASSETS / "provenance.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def pretraining(rows):
    return [row for row in rows if row["task"] == "pretraining"]


@pytest.fixture(scope="module")
def downstream(rows):
    return [row for row in rows if row["task"] != "pretraining"]


def bit_count(numbers: np.ndarray) -> np.ndarray:
    """How many bits of each 64-bit number are set: in pairs, fours, bytes, or by numpy from 2.0 on."""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(numbers)
    x = numbers - ((numbers >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    with np.errstate(over="ignore"):  # the highest byte of the product is the sum of all bytes
        return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


def near(a: list[dict], b: list[dict]) -> list[tuple[str, str]]:
    """Pairs of different rows whose hashes differ in at most NEAR bits."""
    left, right = (np.array([int(row["hash"], 16) for row in part], np.uint64) for part in (a, b))
    pairs = []
    for start in range(0, len(left), BLOCK):
        bits = bit_count(left[start : start + BLOCK, None] ^ right[None])
        pairs += [(a[start + i]["name"], b[j]["name"]) for i, j in zip(*np.nonzero(bits <= NEAR))]
    return pairs


def test_there_is_something_to_prove(pretraining, downstream):
    assert len(pretraining) > 100_000
    assert len({row["task"] for row in downstream}) == 15


def test_a_thing_of_a_family_is_either_pretrained_on_or_in_a_task(pretraining, downstream):
    trained = {(row["family"], row["thing"]) for row in pretraining}
    assert not trained & {(row["family"], row["thing"]) for row in downstream}


def test_families_hold_a_designers_whole_work(rows):
    family = {row["set"]: row["family"] for row in rows}
    for sets in SAME_HAND:
        assert len({family[name] for name in sets if name in family}) == 1, sets


@pytest.mark.slow
def test_no_near_duplicate_across_the_border(pretraining, downstream):
    assert near(downstream, pretraining) == []


def test_no_near_duplicate_across_train_val_and_test(downstream):
    tasks = defaultdict(lambda: defaultdict(list))
    for row in downstream:
        tasks[row["task"]][row["split"]].append(row)
    for task, splits in tasks.items():
        for a, b in [("train", "val"), ("train", "test"), ("val", "test")]:
            assert near(splits[a], splits[b]) == [], (task, a, b)


def test_no_near_duplicate_between_iconnet_and_its_variants(downstream):
    source = [row for row in downstream if row["task"] == "IconNet"]
    for variant in VARIANTS:
        assert near(source, [row for row in downstream if row["task"] == variant]) == [], variant


def test_families_of_the_variants_are_seen_nowhere_before(pretraining, downstream):
    families = {row["family"] for row in downstream if row["task"] in VARIANTS}
    assert len(families) >= 10
    assert not families & {row["family"] for row in pretraining}
    assert not families & {row["family"] for row in downstream if row["task"] == "IconNet"}


def test_one_style_of_a_drawing_is_never_in_training_and_another_in_the_test(downstream):
    for task in {row["task"] for row in downstream} - VARIANTS:
        part = {}
        for row in (row for row in downstream if row["task"] == task):
            key = row["class"], row["family"], row["thing"]
            assert part.setdefault(key, row["split"]) == row["split"], (task, key)


def test_the_metadata_describe_the_shipped_images(downstream):
    """Every image in the archive has its row, and the hash in the row is the image's (recomputed here)."""
    with zipfile.ZipFile(ASSETS / "iconnet.zip") as archive:
        shipped = {name for name in archive.namelist() if name.endswith(".png")}
        path = "{task}/images/{folder}/{set}--{name}.png"
        described = {path.format(folder=row["class"].replace(" ", "_"), **row): row for row in downstream}
        assert shipped == set(described)
        for name in sorted(shipped)[::40]:
            image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"), np.float32)
            assert image.shape == (64, 64, 3)
            difference = bit_count(perceptual_hash(image) ^ np.uint64(int(described[name]["hash"], 16)))
            assert difference <= 1, name  # one bit: a coefficient may lie exactly on the median


def perceptual_hash(image: np.ndarray) -> np.uint64:
    gray = image.mean(-1).reshape(32, 2, 32, 2).mean((1, 3))
    k, x = np.meshgrid(np.arange(8), np.arange(32), indexing="ij")
    cosines = np.cos(np.pi * k * (2 * x + 1) / 64)
    low = (cosines @ gray @ cosines.T).flatten()
    return np.packbits(low > np.median(low[1:]) + 1).view(np.uint64)[0]


def test_only_free_licences(rows):
    free = {"MIT", "Apache-2.0", "ISC", "BSD-3-Clause", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "OFL-1.1", "Unlicense"}
    assert {row["licence"] for row in rows} <= free


def test_attribution_names_every_set(rows):
    page = (ASSETS.parent.parent / "ATTRIBUTION.md").read_text()
    for name in {row["set"] for row in rows}:
        assert f"(`{name}`)" in page


def test_sizes_that_are_promised():
    sets = json.loads((ASSETS / "iconnet.json").read_text())
    assert sets["IconNet"]["classes"] >= 60
    assert all(sets[name]["test"] >= 300 for name in VARIANTS - {"IconNet-A"})
    assert sets["IconNet-A"]["test"] >= 150
    with zipfile.ZipFile(ASSETS / "iconnet.zip") as archive:
        split = json.loads(archive.read("IconNet/split_zhou_IconNet.json"))
    for part, least in [("train", 16), ("val", 4), ("test", 10)]:
        counts = defaultdict(int)
        for _, label, _ in split[part]:
            counts[label] += 1
        assert len(counts) == sets["IconNet"]["classes"] and min(counts.values()) >= least
    assert (ASSETS / "iconnet.zip").stat().st_size < 20e6
    assert (ASSETS / "miniclip.safetensors").stat().st_size < 30e6
