"""Predictions and confusions as tables, and the command that asks a saved prompt about a folder."""

import pandas as pd
import pytest
import torch
from PIL import Image

from coop_edu import Features, PromptLearner, __main__, accuracy, confusion_matrix, predict, predict_table, save_prompt
from coop_edu.clip import models

from tiny_clip import tiny_clip

NAMES = ("cat", "dog", "eel")


@pytest.fixture
def learner():
    return PromptLearner(tiny_clip(), NAMES, n_ctx=2, seed=1)


@pytest.fixture
def folder(tmp_path):
    for number, place in enumerate(("a.png", "more/b.JPG", "more/deep/c.png")):
        file = tmp_path / "images" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (80 * number, 200, 30)).save(file)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path / "images"


def test_a_row_for_each_image_of_a_folder_as_predict_says(learner, folder):
    table = predict_table(learner, folder, top=2)
    assert list(table.columns) == ["image", "answer", "probability", "answer 2", "probability 2"]
    assert [str(folder / name) for name in ("a.png", "more/b.JPG", "more/deep/c.png")] == list(table["image"])
    for row in table.to_dict("records"):
        (first, p), (second, q), _ = predict(learner, row["image"]).items()
        assert (row["answer"], row["answer 2"]) == (first, second)
        assert (row["probability"], row["probability 2"]) == pytest.approx((p, q), abs=1e-5)


def test_a_list_of_paths_or_images_or_a_generator(learner, folder):
    files = sorted(folder.rglob("*.png"))
    for images in (files, [str(file) for file in files], (file for file in files)):
        assert list(predict_table(learner, images)["image"]) == [str(file) for file in files]
    in_memory = predict_table(learner, [Image.open(file) for file in files])
    assert list(in_memory["image"]) == [0, 1]
    assert list(in_memory["answer"]) == list(predict_table(learner, files)["answer"])
    assert len(predict_table(learner, files, top=9).columns) == 1 + 2 * len(NAMES)


def test_no_images_and_a_damaged_one_are_named(learner, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no images in .*nowhere"):
        predict_table(learner, tmp_path / "nowhere")
    (folder / "b.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"b\.png"):
        predict_table(learner, folder)


def test_the_diagonal_of_the_confusion_matrix_is_the_accuracy(learner):
    generator = torch.Generator().manual_seed(0)
    width = learner().shape[1]
    data = Features(torch.randn(50, width, generator=generator), torch.arange(50) % 3, NAMES)
    table = confusion_matrix(learner, data)
    assert list(table.index) == list(table.columns) == list(NAMES) and table.to_numpy().sum() == 50
    assert list(table.sum(axis=1)) == [17, 17, 16]  # rows are the truth
    assert 100 * table.to_numpy().trace() / 50 == pytest.approx(accuracy(learner, data))
    answers = learner.logits(data.image_features).argmax(dim=1)
    assert table.loc["cat", "dog"] == ((answers == 1) & (data.labels == 0)).sum()


def test_the_command_prints_or_writes_the_table(learner, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "load_clip", lambda name, pretrained=None: learner.clip)
    save_prompt(learner, tmp_path / "mine.safetensors")
    arguments = ["predict", str(tmp_path / "mine.safetensors"), str(folder)]
    assert __main__.main(arguments) == 0
    assert "a.png" in capsys.readouterr().out
    assert __main__.main([*arguments, "--top", "3", "--csv", str(tmp_path / "out.csv")]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), predict_table(learner, folder, top=3), rtol=1e-4)
    assert __main__.main([*arguments[:2], str(tmp_path / "nowhere")]) == 1
    assert "no images in" in capsys.readouterr().err
