"""The fast text encoder gives what CLIP's own code gives: features and gradients, on every layout."""

from functools import lru_cache

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coop_edu import PromptEncoder, PromptLearner
from coop_edu.clip.models import frozen_clip
from coop_edu.clip.text_encoding import SlowEncoder, encode_by_hook, encode_texts, supported, text_encoder, text_tower
from coop_edu.coop.prompt_layout import POSITIONS

from tiny_clip import shared_tokenizer, tiny_clip, tiny_config

NAMES = ["cat", "fire truck", "hot_air_balloon", "kite (bird of prey)", "Ram C/V", "jack-o'-lantern", "café", "x"]


@lru_cache
def clip(dtype=torch.float64, **config):
    return tiny_clip(dtype=dtype, **config)


def slow_features(learner, ctx):
    """The authors' way: embed "X X X name." of every class at all positions, put the context over the X's, run CLIP."""
    model, tokenizer, M = learner.clip.model, learner.clip.tokenizer, learner.n_ctx
    names = [name.replace("_", " ") for name in learner.classnames]
    ids = tokenizer([" ".join(["X"] * M) + " " + name + "." for name in names])
    embedded = text_tower(model).token_embedding(ids)
    rows = []
    for k, name in enumerate(names):
        v = ctx[k] if learner.class_specific else ctx
        n, half = len(tokenizer.encode(name)), M // 2
        start, name_part, rest = embedded[k, :1], embedded[k, 1 + M : 1 + M + n], embedded[k, 1 + M + n :]
        parts = {
            "end": [start, v, name_part, rest],
            "middle": [start, v[:half], name_part, v[half:], rest],
            "front": [start, name_part, v, rest],
        }
        rows.append(torch.cat(parts[learner.position]))
    return encode_by_hook(model, ids, torch.stack(rows))


def assert_fast_is_slow(learner, tolerance):
    """Features and context gradients, relative to the largest number."""
    assert all(isinstance(encoder, PromptEncoder) for encoder in learner.encoders)
    ctx = learner.ctx.detach().clone().requires_grad_()
    slow, fast = slow_features(learner, ctx), learner()
    direction = torch.linspace(-1, 1, slow.numel(), dtype=slow.dtype).view_as(slow)
    (slow_gradient,) = torch.autograd.grad((slow * direction).sum(), ctx)
    (fast_gradient,) = torch.autograd.grad((fast * direction).sum(), learner.ctx)
    assert (fast - slow).abs().max() <= tolerance * slow.abs().max()
    assert (fast_gradient - slow_gradient).abs().max() <= tolerance * slow_gradient.abs().max()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("n_ctx", [1, 4, 5, 16])
def test_mixed_lengths(dtype, tolerance, position, class_specific, n_ctx):
    learner = PromptLearner(clip(dtype), NAMES, n_ctx=n_ctx, class_specific=class_specific, position=position)
    assert_fast_is_slow(learner, tolerance)


@pytest.mark.parametrize(
    "names", [["cat"], ["kite (bird of prey)"], ["cat", "dog", "owl"], ["fire truck", "fire engine"]]
)
@pytest.mark.parametrize("position", POSITIONS)
def test_one_class_equal_lengths_and_shared_words(names, position):
    assert_fast_is_slow(PromptLearner(clip(), names, n_ctx=3, position=position), 1e-12)


@pytest.mark.parametrize(
    "config", [{"quick_gelu": True}, {"layers": 1}, {"layers": 4, "heads": 4}, {"context_length": 30}]
)
def test_other_towers(config):
    assert_fast_is_slow(PromptLearner(clip(**config), NAMES, n_ctx=4), 1e-12)


layouts = st.fixed_dictionaries({
    "n_ctx": st.integers(1, 9),
    "class_specific": st.booleans(),
    "position": st.sampled_from(list(POSITIONS)),
    "max_classes_at_once": st.none() | st.integers(1, 5),
})  # fmt: skip
words = ["cat", "dog", "red", "hot", "air", "(balloon)", "C-130", "o'clock", "...", "a/b", "été", "umbrella", "2012"]
names = st.lists(
    st.lists(st.sampled_from(words), min_size=1, max_size=6).map(" ".join), min_size=1, max_size=7, unique=True
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(layout=layouts, classnames=names)
def test_any_layout(layout, classnames):
    assert_fast_is_slow(PromptLearner(clip(), classnames, **layout), 1e-12)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("class_specific", [False, True])
def test_the_longest_prompt_that_fits_and_the_first_that_does_not(position, class_specific):
    options = {"class_specific": class_specific, "position": position}
    small = clip(context_length=20)  # start, M, "hot air balloon .", end: 4 + 2 + M
    assert_fast_is_slow(PromptLearner(small, ["cat", "hot_air_balloon"], n_ctx=14, **options), 1e-12)
    with pytest.raises(ValueError, match=r"'hot_air_balloon' needs 21 positions .* has 20: use n_ctx=14 or less"):
        PromptLearner(small, ["cat", "hot_air_balloon"], n_ctx=15, **options)
    with pytest.raises(ValueError, match=r"name of class .* alone is too long"):
        PromptLearner(small, ["balloon " * 30], n_ctx=2, **options)


@pytest.mark.parametrize("texts", [["a photo of a cat.", "a photo of a fire truck."], ["x"], ["a cat", "two dogs", ""]])
def test_whole_texts(texts):
    customs = ({}, {"pool_type": "eos", "eos_id": 49407}, {"no_causal_mask": True})
    for model in (clip(), *(custom_clip(**options) for options in customs)):
        torch.testing.assert_close(encode_texts(model, texts), model.encode_text(texts), rtol=1e-12, atol=1e-12)


def test_tokens_computed():
    """The counts of the drawing at the top of prompt_encoder.py."""
    names = ["cat", "fire truck", "hot air balloon", "hen"]
    encoder = PromptLearner(clip(), names, n_ctx=2).encoders[0]
    assert (encoder.tokens_reference, encoder.tokens_computed) == (308, 18)
    specific = PromptLearner(clip(), names, n_ctx=2, class_specific=True).encoders[0]
    assert specific.tokens_computed == 1 + (18 - 3) + 4 * 2  # only the start is shared


def test_autocast_is_close():
    learner = PromptLearner(clip(torch.float32), NAMES, n_ctx=4)
    exact = learner()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = learner()
    assert torch.cosine_similarity(exact, rough.float()).min() > 0.99
    rough.float().sum().backward()
    assert learner.ctx.grad.isfinite().all()


def custom_clip(**text_options):
    """A model whose text tower stands in .text, of float64."""
    config = tiny_config(embed_dim=16)
    config["text_cfg"].update(text_options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(**config)
    return frozen_clip("custom", model.double(), shared_tokenizer(77))


@pytest.mark.parametrize("text_options", [{}, {"pool_type": "eos", "eos_id": 49407}], ids=str)
def test_a_tower_in_text_is_supported(text_options):
    assert_fast_is_slow(PromptLearner(custom_clip(**text_options), NAMES, n_ctx=4), 1e-12)


@pytest.mark.parametrize(
    "text_options",
    [{"no_causal_mask": True}, {"qk_norm": True}, {"proj_bias": True}, {"embed_cls": True, "pool_type": "last"}],
    ids=str,
)
def test_other_towers_go_the_slow_exact_way_and_say_so(text_options):
    clip = custom_clip(**text_options)
    assert not supported(text_tower(clip.model))
    with pytest.warns(UserWarning, match="encoded by its own code"):
        learner = PromptLearner(clip, NAMES, init="a photo of a")
    assert all(isinstance(encoder, SlowEncoder) for encoder in learner.encoders)
    by_hand = clip.encode_text([f"a photo of a {name.replace('_', ' ')}." for name in NAMES])
    assert (learner() - by_hand).abs().max() <= 1e-12 * by_hand.abs().max()
    learner().sum().backward()
    assert learner.ctx.grad.abs().max() > 0


def test_the_hook_is_gone_even_after_an_error():
    model = clip().model
    with pytest.raises(RuntimeError):
        encode_by_hook(model, torch.zeros(2, 77, dtype=torch.long), torch.zeros(3, 5, 32, dtype=torch.float64))
    assert not model.token_embedding._forward_hooks


def test_the_encoder_owns_no_weights():
    encoder = text_encoder(clip().model, torch.tensor([[0, 1, 2]]), torch.tensor([3]))
    assert not list(encoder.parameters()) and not encoder.state_dict()
