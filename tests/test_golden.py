"""PromptLearner gives what the authors' own code gives: nine cases, computed by it once and kept as numbers.

Source of the numbers and of the model's weights: tests/data/golden/README.md.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from coop_edu import PromptEncoder, PromptLearner

from tiny_clip import golden_clip

FOLDER = Path(__file__).parent / "data" / "golden"
CASES = json.loads((FOLDER / "coop_golden.json").read_text(encoding="utf-8"))


@lru_cache
def golden():
    with np.load(FOLDER / "coop_golden.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


def assert_same(got, expected, tolerance=1e-5):
    """Equal to `tolerance`, relative to the largest number of the array."""
    error = (got.detach() - expected).abs().max() / expected.abs().max()
    assert error <= tolerance, f"relative error {error:.1e}"


def learner_of(name, **options):
    case = CASES[name]
    learner = PromptLearner(
        golden_clip(),
        case["classnames"],
        n_ctx=case["n_ctx"],
        class_specific=case["class_specific"],
        position=case["position"],
        init=case["init"] or None,
        **options,
    )
    arrays = {key.split("/")[1]: value for key, value in golden().items() if key.startswith(name + "/")}
    assert learner.ctx.shape == arrays["ctx"].shape
    return learner, arrays


def set_context(learner, ctx):
    with torch.no_grad():
        learner.ctx.copy_(ctx)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("name", CASES)
def test_features_logits_loss_and_gradient(name, chunk):
    learner, expected = learner_of(name, max_classes_at_once=chunk)
    assert all(isinstance(encoder, PromptEncoder) for encoder in learner.encoders)
    set_context(learner, expected["ctx"])
    assert_same(learner(), expected["text_features"])
    assert_same(learner.logits(expected["image_features"]), expected["logits"])
    loss = learner.loss(expected["image_features"], expected["labels"])
    assert_same(loss, expected["loss"])
    loss.backward()
    assert_same(learner.ctx.grad, expected["ctx_grad"])
    learner.ctx.grad = None
    loss, logits = learner.backward_in_chunks(expected["image_features"], expected["labels"])
    assert_same(loss, expected["loss"])
    assert_same(logits, expected["logits"])
    assert_same(learner.ctx.grad, expected["ctx_grad"])


@pytest.mark.parametrize("name", CASES)
def test_five_steps_of_sgd(name):
    learner, expected = learner_of(name)
    set_context(learner, expected["ctx"])
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    losses = []
    for _ in range(5):
        loss = learner.loss(expected["image_features"], expected["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert_same(torch.stack(losses), expected["sgd_losses"])
    assert_same(learner.ctx, expected["ctx_after"])


def test_start_from_words():
    learner, expected = learner_of("plain-init")
    assert torch.equal(learner.ctx.detach(), expected["ctx"])


def test_tokens():
    names = CASES["tricky-end-uc-m4"]["classnames"]
    assert torch.equal(golden_clip().tokenize([f"a photo of a {name}." for name in names]), golden()["tokens"])


def test_images():
    assert_same(golden_clip().encode_image(golden()["images"]), golden()["encoded_images"])
