"""The dial: what it chooses, who wins, and what it says."""

import pytest

import coop_edu
from coop_edu.scales import SCALES, choose_scale


def test_default_is_mini(capsys):
    assert choose_scale() is choose_scale("mini") is SCALES["mini"]
    assert capsys.readouterr().out.startswith("scale: mini (CLIP: mini; prompts are learned on IconNet)")


def test_the_environment_wins_and_the_cell_says_so(monkeypatch, capsys):
    monkeypatch.setenv("COOP_EDU_SCALE", "paper")
    assert choose_scale("mini") is SCALES["paper"]
    assert "because COOP_EDU_SCALE says so" in capsys.readouterr().out


def test_paper_is_the_papers_setting():
    paper = SCALES["paper"]
    assert (paper.clip, paper.source, paper.template) == ("RN50", "ImageNet", "a photo of a {}.")
    assert paper.n_ctx == 16 and len(paper.tasks) == 11 and paper.tasks[0] == "ImageNet"
    assert (paper.recipe(16, "EuroSAT").epochs, paper.recipe(16, "ImageNet").epochs) == (200, 50)


def test_mini_names_data_that_is_shipped():
    mini = SCALES["mini"]
    assert len(mini.tasks) == 11 and mini.tasks[0] == mini.source == "IconNet"
    assert set(mini.tasks) | set(mini.variants) <= set(coop_edu.DATASETS)
    assert coop_edu.load_dataset(mini.source).template == mini.template
    assert mini.n_ctx == 16
    assert mini.recipe(16).for_images(16 * 77).epochs < SCALES["paper"].recipe(16).epochs


@pytest.mark.parametrize("by_variable", [False, True])
def test_an_unknown_scale_is_refused_and_both_are_named(monkeypatch, by_variable):
    if by_variable:
        monkeypatch.setenv("COOP_EDU_SCALE", "huge")
    with pytest.raises(ValueError, match="'mini' or 'paper'; got 'huge'"):
        choose_scale(None if by_variable else "huge")
