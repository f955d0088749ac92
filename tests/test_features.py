"""Features are what the encoder says, whatever the batch size, the workers or the cache."""

import dataclasses
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from coop_edu import Example, FeatureBank, PromptLearner, Trainer, ZeroShot, accuracy, extract_features, load_image
from coop_edu.data import batches, feature_cache
from coop_edu.data import features as module
from coop_edu.data.labels import label_names

from tiny_clip import tiny_clip
from tiny_images import draw, make_examples


@pytest.fixture
def examples(tmp_path):
    return make_examples(tmp_path, each=4)


def extract(clip, examples, **options):
    return extract_features(clip, examples, progress=False, **options)


# ----------------------------------------------------------------------------------------------- the features
def test_plain_features_are_what_the_encoder_says(clip, examples):
    found = extract(clip, examples, batch_size=3)
    images = torch.stack([clip.preprocess(Image.open(example.image).convert("RGB")) for example in examples])
    torch.testing.assert_close(found.image_features, clip.encode_image(images))
    assert found.image_features.shape == (8, 16) and found.image_features.dtype == torch.float32
    assert found.labels.tolist() == [0] * 4 + [1] * 4 and found.classnames == ("cat", "dog") and len(found) == 8


def test_views_are_seeded_and_independent_of_batch_size_workers_and_global_state(clip, examples):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = extract(clip, examples, views=3, seed=5, batch_size=2).image_features
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert one.shape == (3, 8, 16)
    torch.testing.assert_close(extract(clip, examples, views=3, seed=5, batch_size=7).image_features, one)
    torch.testing.assert_close(extract(clip, examples, views=3, seed=5, batch_size=2, workers=2).image_features, one)
    assert not torch.allclose(extract(clip, examples, views=3, seed=6).image_features, one)
    assert not torch.allclose(one[0], one[1]) and not torch.allclose(one[0], extract(clip, examples).image_features)
    torch.testing.assert_close(extract(clip, examples, views=1, seed=5).image_features, one[:1])


def test_a_view_is_the_train_transform_with_the_generator_of_seed_view_and_position(clip, examples):
    image = clip.train_transform(load_image(examples[6].image), batches.seeded(5, 1, 6))
    expected = clip.encode_image(image[None])[0]
    found = extract(clip, examples, views=2, seed=5).image_features[1, 6]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_reading_can_be_sent_to_a_worker_process(clip, examples):
    again = pickle.loads(pickle.dumps(batches.Images(clip, examples, seed=1)))
    assert torch.equal(again[2, None], batches.Images(clip, examples, seed=1)[2, None])
    assert torch.equal(again[2, 7], batches.Images(clip, examples, seed=1)[2, 7])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_is_read_once_for_all_its_views(clip, examples, workers, monkeypatch, tmp_path):
    log = tmp_path / "read"
    log.touch()
    original = batches.load_image

    def noted(path):
        with log.open("a") as file:  # from whatever process
            file.write(f"{path}\n")
        return original(path)

    monkeypatch.setattr(batches, "load_image", noted)
    extract(clip, examples, views=3, batch_size=6, workers=workers)
    assert sorted(log.read_text().split()) == sorted(str(example.image) for example in examples)


def test_precision_is_full_inside_an_autocast(clip, examples):
    exact = extract(clip, examples).image_features
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(extract(clip, examples).image_features, exact)


def test_processes_read_where_a_gpu_would_wait(monkeypatch):
    cuda, count = torch.device("cuda"), batches.worker_count
    monkeypatch.setattr(batches.multiprocessing, "get_start_method", lambda allow_none: "fork")
    assert 1 <= count(cuda, 10_000) <= 8 and count(torch.device("mps"), 10_000) == count(cuda, 10_000)
    assert count(cuda, 50) == count(torch.device("cpu"), 10_000) == 0
    monkeypatch.setattr(batches.multiprocessing, "get_start_method", lambda allow_none: "spawn")
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "script.py", raising=False)
    assert count(cuda, 10_000) == 0, "every process would run the script again"
    monkeypatch.delattr(main, "__file__")  # as in a notebook
    assert count(cuda, 10_000) >= 1


def test_what_cannot_be_encoded(clip, examples):
    for views in (0, -1, "fresh", 1.5):
        with pytest.raises(ValueError, match="the plain image"):
            extract(clip, examples, views=views)
    with pytest.raises(ValueError, match="no examples"):
        extract(clip, [])


def test_labels_without_images_and_labels_with_two_names(examples):
    assert label_names([examples[0], Example(examples[0].image, 2, "eel")]) == ("cat", "", "eel")
    with pytest.raises(ValueError, match="label 0 is 'cat' and 'dog'"):
        label_names([examples[0], Example(examples[0].image, 0, "dog")])


def test_every_unreadable_image_is_named_at_once(clip, examples):
    examples[1].image.write_bytes(examples[1].image.read_bytes()[:200])
    examples[3].image.write_text("not an image")
    examples[6].image.unlink()
    for options in ({}, {"views": 2}, {"workers": 2}):
        with pytest.raises(ValueError, match=r"3 image\(s\)") as caught:
            extract(clip, examples, batch_size=2, **options)
        assert all(str(examples[i].image) in str(caught.value) for i in (1, 3, 6))
        assert str(examples[0].image) not in str(caught.value)


# -------------------------------------------------------------------------------------------------- the cache
def count_encodings(monkeypatch):
    calls, original = [], module.read_batches
    monkeypatch.setattr(module, "read_batches", lambda *a, **k: calls.append(1) or original(*a, **k))
    return calls


def test_the_cache_is_used_when_nothing_changed(clip, examples, tmp_path, monkeypatch):
    calls = count_encodings(monkeypatch)
    first = extract(clip, examples, views=2, cache=tmp_path / "cache")
    again = extract(clip, examples, views=2, cache=tmp_path / "cache", batch_size=1)
    same_model = extract(tiny_clip(), examples, views=2, cache=tmp_path / "cache")
    assert len(calls) == 1
    for other in (again, same_model):
        assert torch.equal(first.image_features, other.image_features) and torch.equal(first.labels, other.labels)


@pytest.mark.parametrize("change", ["weights", "views", "seed", "order", "fewer", "swapped", "resized", "transform"])
def test_a_stale_cache_is_not_used(clip, examples, tmp_path, monkeypatch, change):
    options = {"views": 2, "seed": 0, "cache": tmp_path / "cache"}
    extract(clip, examples, **options)
    calls = count_encodings(monkeypatch)
    if change == "weights":
        clip = tiny_clip(seed=1)
    elif change in ("views", "seed"):
        options[change] = 1
    elif change == "order":
        examples = examples[::-1]
    elif change == "fewer":
        examples = examples[1:]
    elif change == "swapped":  # two images change their names: sizes and times stay
        one, other = examples[0].image, examples[4].image
        times = {path: path.stat().st_mtime_ns for path in (one, other)}
        content = one.read_bytes(), other.read_bytes()
        one.write_bytes(content[1])
        other.write_bytes(content[0])
        for path, now in times.items():
            os.utime(path, ns=(now, now))
    elif change == "resized":
        draw(examples[2].image, 9, size=(32, 32))
    elif change == "transform":
        wider = dataclasses.replace(clip.train_transform, mean=(0.1, 0.1, 0.1))
        clip = dataclasses.replace(clip, train_transform=wider)
    found = extract(clip, examples, **options)
    assert len(calls) == 1
    expected = extract(clip, examples, **{**options, "cache": None})
    torch.testing.assert_close(found.image_features, expected.image_features)


def test_transforms_of_one_name_are_told_apart(clip, examples, tmp_path):
    def times(factor):
        return dataclasses.replace(clip, preprocess=lambda image: factor * clip.preprocess(image))

    twice, thrice = (extract(times(n), examples, cache=tmp_path / "cache").image_features for n in (2, 3))
    torch.testing.assert_close(thrice, extract(times(3), examples).image_features)
    assert not torch.allclose(twice, thrice) and len(list((tmp_path / "cache").iterdir())) == 2


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def damage_flip(path):
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 64
    path.write_bytes(whole)


def damage_no_checksum(path):
    with safe_open(path, "pt") as file:
        images = file.get_tensor("images") + 1
    save_file({"images": images}, path)


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_no_checksum])
def test_a_damaged_cache_is_recomputed_and_mended(clip, examples, tmp_path, damage, recwarn):
    good = extract(clip, examples, cache=tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    damage(path)
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(extract(clip, examples, cache=tmp_path / "cache").image_features, good.image_features)
    recwarn.clear()
    assert torch.equal(extract(clip, examples, cache=tmp_path / "cache").image_features, good.image_features)
    assert not recwarn.list and list((tmp_path / "cache").iterdir()) == [path]


def test_a_full_or_read_only_cache_costs_time_but_no_features(clip, examples, tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_cache, "save_file", full)
    with pytest.warns(UserWarning, match="No space left"):
        found = extract(clip, examples, cache=tmp_path / "cache")
    assert torch.equal(found.image_features, extract(clip, examples).image_features)
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(UserWarning, match="could not keep"):
        extract(clip, examples, cache=tmp_path / "file")


# ------------------------------------------------------------------------------------------------------- the bank
def test_a_bank_gives_the_features_of_the_images_asked_for(clip, examples, monkeypatch):
    calls = count_encodings(monkeypatch)
    bank = FeatureBank(clip, [*examples, *examples[:3]], progress=False)  # one image twice: encoded once
    assert len(bank.image_features) == len(examples) and len(calls) == 1
    some = [examples[6], replace(examples[1], label=5, classname="first"), examples[6]]
    found, expected = bank(some), extract(clip, some)
    torch.testing.assert_close(found.image_features, expected.image_features)
    assert found.labels.tolist() == expected.labels.tolist() == [1, 5, 1]
    assert found.classnames == expected.classnames
    assert len(calls) == 2  # the second is the plain extraction above
    with pytest.raises(KeyError):
        bank([replace(examples[0], image=examples[0].image.with_name("new.png"))])


def test_a_path_with_a_tilde_is_its_file(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for n, name in enumerate(("a", "b")):
        draw(tmp_path / f"{name}.png", n)
    here, there = ([Example(folder / "b.png", 0, "x")] for folder in (Path("~"), tmp_path))
    extract(clip, [Example(Path("~/a.png"), 0, "x")], cache=tmp_path / "cache")
    found = extract(clip, here, cache=tmp_path / "cache").image_features
    assert torch.equal(found, extract(clip, there).image_features)
    assert torch.equal(FeatureBank(clip, here, progress=False)(there).image_features, found)


def test_features_of_another_clip_are_refused(clip, examples):
    other = tiny_clip(seed=1)
    features, names = extract(other, examples), label_names(examples)
    assert features.clip and FeatureBank(other, examples, progress=False)(examples).clip == features.clip
    for use in (lambda: accuracy(ZeroShot(clip, names, "{}"), features),
                lambda: Trainer(PromptLearner(clip, names, n_ctx=2), progress=False).check(features)):  # fmt: skip
        with pytest.raises(ValueError, match="another CLIP"):
            use()
    accuracy(ZeroShot(clip, names, "{}"), replace(features, clip=""))  # made by hand: nothing is known of them
