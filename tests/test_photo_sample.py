"""scripts/photo_sample.py on drawn images in the folder tree of the photographs, with tiny models of the same names."""

import importlib.util
import math
from pathlib import Path

import pytest

from coop_edu.clip import models as clip_models
from coop_edu.data.dataset import Example
from coop_edu.data.split_file import write_split

from tiny_clip import tiny_config
from tiny_images import draw

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "photo_sample.py"
FOLDERS = {"Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike", "accordion": "accordion"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("photo_sample", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path):
    """Two images of each class to train on, one to validate and two to test, as in Caltech-101: wide, tall, JPEG."""
    images, splits, number = tmp_path / "caltech-101" / "101_ObjectCategories", {}, 0
    for split, each in (("train", 2), ("val", 1), ("test", 2)):
        splits[split] = []
        for label, (folder, name) in enumerate(FOLDERS.items()):
            for _ in range(each):
                number += 1
                size = (90, 70) if number % 2 else (50, 120)
                image = draw(images / folder / f"image_{number:04}.jpg", seed=number, size=size)
                splits[split].append(Example(image, label, name))
    write_split(tmp_path / "caltech-101" / "split_zhou_Caltech101.json", splits, images)
    return tmp_path


@pytest.mark.parametrize("name", ["RN50", "ViT-B/16"])
def test_images_go_through_zero_shot_training_and_evaluation(script, root, monkeypatch, name):
    tiny = {clip_models.PAPER_MODELS[name]: tiny_config(quick_gelu=True)}
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", tiny)
    before = sorted(root.rglob("*"))
    shapes, figures = script.measure(name, root, shots=2, epochs=2)
    assert shapes == {"image features": (8, 16), "text features": (4, 16), "ctx": (16, 32)}
    assert all(math.isfinite(value) and value >= 0 for value in figures.values())
    assert figures["images/s"] > 0 and figures["s/step"] > 0 and figures["peak MB"] > 100
    assert figures["zero-shot %"] <= 100 and figures["learned %"] <= 100
    assert sorted(root.rglob("*")) == before  # nothing is written beside the images
