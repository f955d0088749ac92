"""The prompt learner: layouts, names, what is trained and what is not, exact chunks, errors."""

import dataclasses
from functools import lru_cache

import open_clip
import pytest
import torch

from coop_edu import PromptLearner, ZeroShot, normalize
from coop_edu.coop.prompt_layout import token_layout

from tiny_clip import tiny_clip

NAMES = ["cat", "fire truck", "hot_air_balloon"]


@lru_cache
def clip(dtype=torch.float64):
    return tiny_clip(dtype=dtype)


def batch(K=3, B=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(B, 16, generator=generator, dtype=dtype)
    return features, torch.randint(K, (B,), generator=generator)


@pytest.mark.parametrize(
    "position, n_ctx, expected",
    [
        ("end", 4, "X X X X hot air balloon."),
        ("middle", 4, "X X hot air balloon X X."),
        ("middle", 5, "X X hot air balloon X X X."),
        ("middle", 1, "hot air balloon X."),
        ("front", 4, "hot air balloon X X X X."),
    ],
)
def test_prompts(position, n_ctx, expected):
    learner = PromptLearner(clip(), NAMES, n_ctx=n_ctx, position=position)
    assert learner.prompts()[2] == expected
    x, hot = clip().tokenizer.encode("X hot")
    layout = token_layout(learner.clip, learner.classnames, learner.config)[2]
    tokens = [x if token < 0 else token for token in layout[1:-1]]
    assert tokens == clip().tokenizer.encode(expected) and hot in tokens


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize(
    "position, template",
    [("end", "a photo of a {}."), ("middle", "a photo {} of a."), ("front", "{} a photo of a.")],
)
def test_words_as_context_equal_the_hand_written_prompt(class_specific, position, template):
    names = [*NAMES, "jack-o'-lantern", "Ram C/V", "café au lait", "C-130"]
    learner = PromptLearner(clip(), names, init="a photo of a", class_specific=class_specific, position=position)
    by_hand = ZeroShot(clip(), names, template)
    torch.testing.assert_close(learner.text_features(), by_hand.text_features, rtol=1e-12, atol=1e-12)
    features, _ = batch()
    torch.testing.assert_close(learner.logits(features), by_hand.logits(features), rtol=1e-11, atol=1e-11)


def test_a_bracket_and_the_full_stop_are_one_token():
    learner = PromptLearner(clip(), ["kite (bird of prey)"], init="a photo of a")
    by_hand = clip().encode_text(["a photo of a kite (bird of prey)."])
    torch.testing.assert_close(learner(), by_hand, rtol=1e-12, atol=1e-12)


def test_words_are_counted_in_tokens_not_in_words():
    learner = PromptLearner(clip(), NAMES, init="a_blurry daguerreotype of")
    tokens = clip().tokenizer.encode("a blurry daguerreotype of")
    assert learner.n_ctx == len(tokens) > 4
    assert torch.equal(learner.ctx.detach(), clip().model.token_embedding.weight[tokens])
    specific = PromptLearner(clip(), NAMES, init="a_blurry daguerreotype of", class_specific=True)
    assert specific.ctx.shape == (3, len(tokens), 32) and torch.equal(specific.ctx[2], learner.ctx)


def test_random_start():
    make = lambda **options: PromptLearner(clip(torch.float32), NAMES, **options).ctx.detach()  # noqa: E731
    torch.manual_seed(0)
    state = torch.get_rng_state()
    ctx = make(n_ctx=16, class_specific=True)
    assert ctx.shape == (3, 16, 32) and abs(ctx.std() - 0.02) < 0.002 and abs(ctx.mean()) < 0.002
    assert torch.equal(state, torch.get_rng_state()), "the global generator was used"
    assert torch.equal(make(seed=3), make(seed=3)) and not torch.equal(make(seed=3), make(seed=4))


def test_only_ctx_is_a_parameter_and_clip_stays_as_it_was_frozen():
    learner = PromptLearner(clip(), NAMES, n_ctx=4).train()
    assert [name for name, _ in learner.named_parameters()] == ["ctx"] == list(learner.state_dict())
    assert not any(module.training for module in clip().model.modules())


def test_text_features_need_no_graph_and_are_normalised():
    features = PromptLearner(clip(), NAMES).text_features()
    assert not features.requires_grad
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_loss_is_minus_log_probability():
    learner = PromptLearner(clip(), NAMES, n_ctx=2)
    features, labels = batch()
    p = (clip().logit_scale * normalize(features) @ learner.text_features().T).softmax(dim=1)
    expected = -torch.stack([p[b, y].log() for b, y in enumerate(labels)]).mean()
    torch.testing.assert_close(learner.loss(features, labels).detach(), expected)


@pytest.mark.parametrize("free, expected", [(None, None), (10**12, None), (10**6, 14), (1, 1)])
def test_groups_are_chosen_from_free_memory(monkeypatch, free, expected):
    monkeypatch.setattr("coop_edu.clip.text_encoding.free_memory", lambda device: free)
    learner = PromptLearner(clip(torch.float32), open_clip.IMAGENET_CLASSNAMES[:100], n_ctx=4)
    assert learner.max_classes_at_once == expected
    learner = PromptLearner(clip(torch.float32), NAMES, n_ctx=4, max_classes_at_once=None)
    assert learner.max_classes_at_once is None and len(learner.encoders) == 1


def test_chunked_backward_under_autocast():
    features, labels = batch(dtype=torch.float32)
    learner = PromptLearner(clip(torch.float32), NAMES, max_classes_at_once=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, logits = learner.backward_in_chunks(features, labels)
    assert loss.dtype == logits.dtype == learner.ctx.grad.dtype == torch.float32
    torch.testing.assert_close(loss, learner.loss(features, labels).detach(), rtol=0.05, atol=0.01)


def test_a_unified_context_goes_with_any_names():
    learner = PromptLearner(clip(), NAMES, n_ctx=4, position="middle", seed=7)
    other = learner.with_classnames(["owl", "cat"])
    assert other.classnames == ("owl", "cat") and other.position == "middle"
    assert torch.equal(other.ctx, learner.ctx)
    torch.testing.assert_close(other()[1], learner()[0], rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        other.ctx.zero_()
    assert learner.ctx.abs().max() > 0, "the two must not share memory"


def test_a_class_specific_context_goes_with_its_own_names_only():
    learner = PromptLearner(clip(), NAMES, n_ctx=4, class_specific=True)
    other = learner.with_classnames(["hot_air_balloon", "cat"])
    torch.testing.assert_close(other(), learner()[[2, 0]], rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="no context for class 'owl': a class-specific prompt has one context"):
        learner.with_classnames(["cat", "owl"])
    for made in (learner, PromptLearner(clip(), ["c", "a", "t"], n_ctx=2)):
        with pytest.raises(ValueError, match="got 'cat'"):
            made.with_classnames("cat")


def test_imagenets_real_list_of_names():
    names = open_clip.IMAGENET_CLASSNAMES
    learner = PromptLearner(clip(torch.float32), names, n_ctx=1, class_specific=True)
    missiles = [k for k, name in enumerate(names) if name == "missile"]
    assert len(missiles) == 2
    reordered = learner.with_classnames(names[::-1])
    one, other = reordered.ctx[[999 - k for k in missiles]], learner.ctx[missiles]
    assert sorted(one.flatten().tolist()) == sorted(other.flatten().tolist())


def test_nearest_words():
    learner = PromptLearner(clip(), NAMES, init="a photo of a")
    found = learner.nearest_words(k=2)
    assert [pairs[0][0] for pairs in found] == ["a", "photo", "of", "a"]
    assert all(pairs[0][1] == 0 < pairs[1][1] for pairs in found)
    specific = PromptLearner(clip(), NAMES, init="a photo of a", class_specific=True).nearest_words()
    assert [[pairs[0][0] for pairs in context] for context in specific] == [["a", "photo", "of", "a"]] * 3
    with torch.no_grad():
        learner.ctx[0] += 0.01
    word, distance = learner.nearest_words()[0][0]
    assert word == "a" and distance == pytest.approx(0.01 * 32**0.5)


def test_a_learner_that_is_moved_leaves_clip_alone_and_says_so():
    shared = tiny_clip()
    moved, other = PromptLearner(shared, NAMES, n_ctx=2).double(), PromptLearner(shared, NAMES, n_ctx=2)
    assert other().dtype == torch.float32, "the CLIP that both share was moved"
    with pytest.raises(ValueError, match=r"the learner is torch.float64 on cpu, its CLIP torch.float32 on cpu"):
        moved()
    shared.model.double()
    assert moved().dtype == torch.float64
    with pytest.raises(ValueError, match=r"learner\.to\(\.\.\.\) moves the learner"):
        other()


@pytest.mark.parametrize(
    "names, options, message",
    [
        (NAMES, {"position": "back"}, r"unknown position 'back' .* \('end', 'middle', 'front'\)"),
        (NAMES, {"n_ctx": 0}, "n_ctx as a whole number of at least 1, got 0"),
        (NAMES, {"n_ctx": 75}, "needs 81 positions and the text encoder of 'tiny' has 77: use n_ctx=71 or less"),
        (NAMES, {"init": "   "}, "init to hold words"),
        (NAMES, {"init": "a photo of a {}."}, r"got 'a photo of a \{\}\.'.* use 'a photo of a'"),
        (NAMES, {"init": "a photo of a. "}, "full stop are added for you"),
        (NAMES, {"init": "{} texture."}, "use 'a photo of a'"),
        (NAMES, {"init": ["a photo of a"]}, r"init as one text, got \['a photo of a'\]"),
        ("cat", {}, r"got 'cat': for one class, \['cat'\]"),
        (NAMES, {"max_classes_at_once": 0}, "max_classes_at_once as a whole number of at least 1, or None for all"),
        (NAMES, {"max_classes_at_once": "all"}, "max_classes_at_once as a whole number of at least 1, or None for all"),
        (["cat", "__"], {}, "empty name"),
        (["fire truck", "cat", "fire_truck"], {}, r"more than once for CLIP: \['fire truck', 'fire truck'\]"),
        (["cat", "&lt;end&#95;of&#95;text&gt;"], {}, "contains CLIP's end token"),
        (["cat", "&nbsp;"], {}, "no letter that CLIP can read"),
    ],
)
def test_errors_teach(names, options, message):
    with pytest.raises(ValueError, match=message):
        PromptLearner(clip(), names, **options)


def test_a_foreign_tokenizer_is_refused():
    foreign = dataclasses.replace(clip(), tokenizer=lambda texts: texts)
    with pytest.raises(ValueError, match="need CLIP's own BPE tokenizer"):
        PromptLearner(foreign, NAMES, n_ctx=2)
