"""backward_in_chunks: the gradient of all classes at once, in memory that does not grow with their number."""

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coop_edu.coop.prompt_layout import POSITIONS
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.teaching.memory import bytes_kept

from tiny_clip import tiny_clip

CLIPS = {dtype: tiny_clip(dtype=dtype) for dtype in (torch.float32, torch.float64)}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def learner_of(K, dtype=torch.float32, **options):
    return PromptLearner(CLIPS[dtype], open_clip.IMAGENET_CLASSNAMES[:K], **options)


def batch(K, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 16, generator=generator, dtype=dtype), torch.randint(K, (6,), generator=generator)


def assert_same_gradient(K, size, dtype, **options):
    """Loss, logits and gradient in chunks against loss().backward(), relative to the largest number."""
    features, labels = batch(K, dtype)
    whole = learner_of(K, dtype, max_classes_at_once=None, **options)
    loss = whole.loss(features, labels)
    loss.backward()
    chunked = learner_of(K, dtype, max_classes_at_once=size, **options)
    chunked_loss, logits = chunked.backward_in_chunks(features, labels)
    assert len(chunked.encoders) == -(-K // size)
    exact = loss.detach(), whole.logits(features).detach(), whole.ctx.grad
    for ours, right in zip((chunked_loss, logits, chunked.ctx.grad), exact):
        assert (ours - right).abs().max() <= TOLERANCE[dtype] * right.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("K, size", [(2, 1), (20, 7), (20, 99)])
def test_same_gradient_in_both_precisions(dtype, position, class_specific, K, size):
    assert_same_gradient(K, size, dtype, n_ctx=4, class_specific=class_specific, position=position)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    K=st.integers(2, 15),
    size=st.integers(1, 16),
    n_ctx=st.integers(1, 9),
    class_specific=st.booleans(),
    position=st.sampled_from(list(POSITIONS)),
)
def test_same_gradient_for_any_layout(K, size, **layout):
    assert_same_gradient(K, size, torch.float64, **layout)


def test_a_single_class_has_no_gradient():
    """The softmax over one class is 1: the loss is 0 whatever the context, in chunks too."""
    features, labels = batch(1)
    learner = learner_of(1, max_classes_at_once=1, n_ctx=4)
    loss, logits = learner.backward_in_chunks(features, labels)
    assert loss == 0 and logits.shape == (6, 1) and not learner.ctx.grad.any()


def test_the_gradient_is_added_to_what_is_there_and_scaled_as_it_is_asked_to_be():
    """As backward() does: two calls without zero_grad give twice the gradient."""
    features, labels = batch(9, torch.float64)
    learner = learner_of(9, torch.float64, max_classes_at_once=4, n_ctx=4)
    learner.backward_in_chunks(features, labels)
    once = learner.ctx.grad.clone()
    learner.backward_in_chunks(features, labels, scale=lambda loss: 8 * loss)
    torch.testing.assert_close(learner.ctx.grad, 9 * once, rtol=1e-9, atol=0)


# ------------------------------------------------------------------------------------------------- memory


def memory_of_a_step(K, size, **options):
    features, labels = batch(K)
    learner = learner_of(K, max_classes_at_once=size, n_ctx=4, **options)

    def step():
        learner.loss(features, labels).backward() if size is None else learner.backward_in_chunks(features, labels)

    most, after = bytes_kept(step, learner.clip.model.parameters())
    assert after == 0, "something is kept after the step"
    return most


@pytest.mark.parametrize("options", [{}, {"position": "middle"}, {"class_specific": True}], ids=str)
def test_memory_does_not_grow_with_the_classes(options):
    few, many = (memory_of_a_step(K, 20, **options) for K in (40, 240))
    assert many < 1.3 * few  # the longest names of a group of 20 differ
    at_once = [memory_of_a_step(K, None, **options) for K in (40, 240)]
    assert at_once[1] > 4 * at_once[0] and at_once[1] > 7 * many
