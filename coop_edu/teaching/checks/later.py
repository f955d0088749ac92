"""Checkers of notebooks 06 and 09 to 12: domains, tied vectors, moves, methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from PIL import Image

from coop_edu.clip.probability import normalize
from coop_edu.coop.cocoop import CoCoOp
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.teaching.checks.building import NAMES, clip_of_checks
from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, compare_gradients, parts_of, random_numbers


@checker
def check_domain(solution: Callable) -> str:
    """A domain of one's own: `solution(image) -> image`, both PIL images in RGB and of one size."""
    pixels = (random_numbers(6, 64, 48, 3).sigmoid() * 255).to(torch.uint8).numpy()
    given = Image.fromarray(pixels)
    answer = answer_of(solution, given)
    if not isinstance(answer, Image.Image):
        raise Wrong(f"a PIL image was expected, and it returned {type(answer).__name__}: Image.fromarray makes one")
    if not np.array_equal(np.array(given), pixels):
        raise Wrong("it changes the image that it is given; work on image.copy()")
    if (answer.mode, answer.size) != (given.mode, given.size):
        raise Wrong(
            f"it should return an image of mode RGB and size {given.size}, and returned mode {answer.mode} and size "
            f"{answer.size}"
        )
    if np.array_equal(np.array(answer), pixels):
        raise Wrong("it returns the image as it was: that is no other domain")
    if len(np.unique(np.array(answer))) == 1:
        raise Wrong("every pixel has one colour: nothing is left to see")
    if not np.array_equal(np.array(solution(given)), np.array(answer)):
        raise Wrong("the same image gives another result the second time; use a generator with a fixed seed")
    changed = (np.array(answer) != pixels).any(axis=2).mean()  # of all pixels
    if changed < 0.01:
        raise Wrong(f"only {100 * changed:.2g} % of the pixels have changed: that is hardly another domain")
    other = Image.fromarray(255 - pixels[::-1])
    if np.array_equal(np.array(solution(other)), np.array(answer)):
        raise Wrong("another image gives the same result: what is drawn must still be there")
    return "a domain that nobody has trained on."


@checker
def check_most_confused(solution: Callable) -> str:
    """The pair mixed up most: `solution(table) -> (true class, predicted class, images)`, of a confusion matrix."""
    classes = ["cat", "dog", "eel", "fox"]
    for counts in (
        [[9, 4, 0, 1], [5, 8, 1, 0], [0, 1, 1, 3], [1, 0, 0, 30]],
        [[2, 0, 1, 7], [0, 9, 0, 0], [3, 0, 4, 0], [6, 0, 0, 5]],
    ):
        table = pd.DataFrame(counts, index=classes, columns=classes)
        off = np.array(counts) * (1 - np.eye(4, dtype=int))
        row, column = np.unravel_index(off.argmax(), off.shape)
        shares = off / np.array(counts).sum(axis=1, keepdims=True)
        by_share = np.unravel_index(shares.argmax(), off.shape)
        both, upper = np.triu(off + off.T), np.triu(off)  # of both directions; above the diagonal
        summed = np.unravel_index(both.argmax(), off.shape)
        above = np.unravel_index(upper.argmax(), off.shape)
        true, predicted, images = parts_of(answer_of(solution, table), 3, "three things, two classes and a number")
        if not np.array_equal(table.to_numpy(), counts):
            raise Wrong("it changes the table that it is given; work on table.to_numpy().copy()")
        right = classes[row], classes[column]
        if true == predicted:
            raise Wrong("that is on the diagonal, where the answers are right; leave it out")
        if {true, predicted} == {classes[n] for n in summed} and images == both[summed] != off[row, column]:
            raise Wrong("both directions are added up; “a called b” and “b called a” are different mistakes")
        if (true, predicted) == tuple(classes[n] for n in above) != right and images == upper[above]:
            raise Wrong("it looks above the diagonal only; the other half has mistakes, too")
        if (true, predicted) == right[::-1]:
            raise Wrong("the two classes are swapped: rows are the true class, columns the predicted one")
        if (true, predicted) == (classes[by_share[0]], classes[by_share[1]]) != right:
            raise Wrong("that is the pair with the largest share of its class; the number of images is asked for")
        if (true, predicted) != right:
            raise Wrong(f"the pair should be {right}, and it is {(true, predicted)!r}")
        compare(float(images), float(off[row, column]), {"that is a share; count images": shares[row, column]})
    return "now look at those images: is the label right?"


@checker
def check_tied(solution: Callable) -> str:
    """One vector, M times: `solution` is a PromptLearner whose context is its first vector, repeated."""
    clip, names = clip_of_checks(), NAMES[3]
    for M in (3, 2):
        mine = answer_of(solution, clip, list(names), n_ctx=M, seed=1)
        if not isinstance(mine, PromptLearner):
            raise Wrong(f"a subclass of PromptLearner was expected, and it made {type(mine).__name__}")
        if type(mine).forward is not PromptLearner.forward:
            raise Wrong("override context, not forward: all that trains or predicts asks context(...)")
        with torch.no_grad():  # vectors that nobody has tied at the start
            mine.ctx.copy_(random_numbers(6, *mine.ctx.shape))
        f, plain = random_numbers(5, 4, mine().shape[1]), mine.ctx.detach().clone()
        used = answer_of(mine.context, f)
        if not isinstance(used, torch.Tensor):
            raise Wrong(f"a tensor was expected, and it returned {type(used).__name__}")
        if not torch.equal(mine.ctx, plain):
            raise Wrong("it changes self.ctx; leave that to training, and return a new tensor")
        mistakes = {
            "that is the context of CoOp: M different vectors": plain,
            "that is one vector alone; the prompt should have it M times": plain[:1],
            "that is one vector, (D,); the context is (M, D)": plain[0],
            "each number is repeated; repeat the vector as a whole": plain[:1].repeat_interleave(M, dim=1),
            "the vectors stand in one long row; stack them, (M, D)": plain[0].repeat(M),
            "that is the last vector; take the first": plain[-1:].expand(M, -1),
            "that is the mean of the vectors, which is much shorter than each; take the first": plain.mean(
                dim=0, keepdim=True
            ).expand(M, -1),
        }
        compare(used, plain[:1].expand(M, -1), mistakes)
        weight = random_numbers(7, *plain.shape)
        reached = used.requires_grad and torch.autograd.grad((used * weight).sum(), mine.ctx, allow_unused=True)[0]
        if not isinstance(reached, torch.Tensor):
            raise Wrong("no gradient can flow back to the vector: do not detach or copy it")
        right = torch.zeros_like(weight)
        right[0] = weight.sum(dim=0)
        if not torch.allclose(reached, right, atol=1e-5):
            raise Wrong("the gradients of all M uses should reach the first vector, and no other")
    return "as long as CoOp's context, with the freedom of one vector."


@checker
def check_split_move(solution: Callable) -> str:
    """What moved: `solution(before (K, E), after (K, E)) -> (common (E,), own (K, E))`, with before + common + own =
    after, and `common` the mean over the classes.
    """
    before, after = random_numbers(1, 4, 6), random_numbers(2, 4, 6)
    move = after - before
    common = move.mean(dim=0)
    given = parts_of(answer_of(solution, before.clone(), after.clone()), 2, "two tensors, common and own")
    if not all(isinstance(part, torch.Tensor) for part in given):
        raise Wrong("two tensors are expected; it returned " + " and ".join(type(part).__name__ for part in given))
    firsts = {
        "the two are swapped: the common move comes first": move - common,
        "the common move has one axis, (E,); mean(dim=0) without keepdim gives it": common[None],
        "the common move is the mean over the classes, not their sum": move.sum(dim=0),
        "the mean runs over the width; it should run over the classes": move.mean(dim=1),
        "that is the mean feature after training; the common *move* is what it has moved": after.mean(dim=0),
        "the sign of the move is wrong: after minus before": -common,
        "one number is enough for each of the E directions, (E,), not for each class": move,
    }
    compare(given[0], common, firsts)
    seconds = {
        "that is the whole move; take the common one away": move,
        "that is what is left of the features; take the features before away, too": after - common,
        "the sign is wrong: what a class moves besides the common move": common - move,
        "the common move is added; take it away": move + common,
    }
    compare(given[1], move - common, seconds)
    return "what all classes share, and what each has for itself."


@checker
def check_control(solution: Callable) -> str:
    """A fair recipe for a vector that is used M times: `solution(recipe, M) -> recipe`, with lr / M, the rest kept."""
    for M in (16, 3):
        recipe = replace(Recipe.mini(), seed=M, lr=0.03 / (M - 2))
        given = answer_of(solution, recipe, M)
        if not isinstance(given, Recipe):
            raise Wrong(f"a recipe was expected, and it returned {type(given).__name__}: dataclasses.replace makes one")
        mistakes = {
            "the rate is multiplied by M; the steps should be shorter": recipe.lr * M,
            "sixteen is typed in; take M": recipe.lr / 16,
            "0.002 is typed in; take recipe.lr": 0.002 / M,
            "the gradients are added up, so they count M times, not the root of M": recipe.lr / M**0.5,
            "only the warm-up has changed"
            if given.warmup_lr != recipe.warmup_lr
            else "the rate is that of the recipe; the steps are as long as before": recipe.lr,
        }
        compare(given.lr, recipe.lr / M, mistakes)
        # The rate of the warm-up may be divided, too, and the decay, which a step multiplies by the rate, restored.
        warm, decay = given.warmup_lr / recipe.warmup_lr, given.weight_decay / recipe.weight_decay
        allowed = any(math.isclose(warm, x) for x in (1, 1 / M)) and any(math.isclose(decay, x) for x in (1, M))
        kept = replace(given, lr=recipe.lr, warmup_lr=recipe.warmup_lr, weight_decay=recipe.weight_decay)
        if kept != recipe or not allowed:
            raise Wrong("the rate is right, but something else has changed, too: a control changes one thing")
    return "steps as long as a single vector's."


@checker
def check_image_context(solution: Callable) -> str:
    """CoCoOp's context: `solution` is a CoCoOp whose `context(f (B, E)) -> (B, M, D)` has the meta-net's shift."""
    clip, names = clip_of_checks(), NAMES[3]
    for B, M in ((2, 3), (3, 3), (1, 2)):
        mine = answer_of(solution, clip, list(names), n_ctx=M, seed=1)
        if not isinstance(mine, CoCoOp):
            raise Wrong(f"a subclass of CoCoOp was expected, and it made {type(mine).__name__}")
        f, ctx = 3 * random_numbers(B, B, clip.model.visual.output_dim), mine.ctx
        shift, unscaled = mine.meta_net(normalize(f)), mine.meta_net(f)
        right = ctx + shift[:, None]
        mistakes = {
            "images and vectors are swapped; images come first, (B, M, D)": right.transpose(0, 1),
            "each image's shift has gone to one vector; it belongs to all M":
                ctx + shift if B == M else right.new_full((), float("nan")),
            "that is the shift alone; add it to the context": shift[:, None].expand_as(right),
            "that is the shift of each image, (B, D); add it to every vector of the context": shift,
            "that is the context alone; add the shift": ctx.expand_as(right),
            "the shift is taken away; add it": ctx - shift[:, None],
            "all images get the mean shift; each has its own": (ctx + shift.mean(dim=0)).expand_as(right),
            "the shifts are joined to the context; add them to each of its vectors": torch.cat([ctx, shift]),
            "the image features are not normalised; the meta-net takes f(x) of length one": ctx + unscaled[:, None],
        }  # fmt: skip
        given = answer_of(mine.context, f)
        compare(given, right, mistakes)
        weight = random_numbers(3, *right.shape)
        if not isinstance(given, torch.Tensor):
            raise Wrong("a tensor was expected: from a list no gradient flows back")
        last: torch.nn.Linear = mine.meta_net[2]  # type: ignore[assignment]
        learned: dict[str, torch.Tensor] = {"the context": ctx, "the meta-net's weights": last.weight}
        compare_gradients((given * weight).sum(), (right * weight).sum(), learned)
    return "for each image a context of its own."


@checker
def check_entropy_method(solution: Callable) -> str:
    """A method of one's own: `solution(clip, classnames, weight=..., **options)` is a PromptLearner.

    Its objective is CoOp's loss plus `weight` times the mean entropy, in nats, of its predictions for the images of the
    batch; and the logits, as they were.
    """
    clip, names = clip_of_checks(), NAMES[3]
    for weight in (0.5, 2.0):
        mine = answer_of(solution, clip, list(names), weight=weight, n_ctx=2, seed=1)
        if not isinstance(mine, PromptLearner):
            raise Wrong(f"a subclass of PromptLearner was expected, and it made {type(mine).__name__}")
        mine.options()  # an error that says what to do, where the weight was not kept
        if [name for name, p in mine.named_parameters() if p.requires_grad] != ["ctx"]:
            raise Wrong("more than the context would be trained; keep the weight as a plain number")
        if not torch.equal(mine.ctx, PromptLearner(clip, names, n_ctx=2, seed=1).ctx):
            raise Wrong("the options do not arrive at PromptLearner: super().__init__(clip, classnames, **options)")
        text_features, labels = mine(), torch.arange(6) % len(names)
        image_features = random_numbers(5, 6, text_features.shape[1])
        answer = answer_of(mine.objective, image_features, text_features, labels)
        given, logits = parts_of(answer, 2, "two things, the loss and the logits")
        loss, plain = PromptLearner.objective(mine, image_features, text_features, labels)
        log_p = plain.detach().log_softmax(dim=1)  # (B, K)
        entropies, loss_ = -(log_p.exp() * log_p).sum(dim=1), loss.detach()
        over_images = -(plain.detach().softmax(0) * plain.detach().log_softmax(0)).sum(dim=0).mean()
        entropy = entropies.mean()
        mistakes = {
            "that is CoOp's own loss; the entropy is missing": loss_,
            "the sign of the entropy is wrong: - sum p log p is positive": loss_ - weight * entropy,
            "the weight is missing": loss_ + entropy,
            "the entropies of the images are added up; take their mean": loss_ + weight * entropies.sum(),
            "p log p is averaged over the classes; the entropy is their sum": loss_ + weight * entropy / len(names),
            "the logarithm is to base 2; take the natural one": loss_ + weight * entropy / math.log(2),
            "the softmax runs over the images; it must run over the classes, dim=1": loss_ + weight * over_images,
            "that is the entropy alone; CoOp's loss is missing": weight * entropy,
        }
        compare(torch.as_tensor(given).reshape(()), loss_ + weight * entropy, mistakes)
        if not torch.allclose(torch.as_tensor(logits), plain):
            raise Wrong("the loss is right, and the logits are others than CoOp's; return them as they were")
        (gradient,) = torch.autograd.grad(given, mine.ctx, retain_graph=True)
        (of_coop,) = torch.autograd.grad(loss, mine.ctx)
        if torch.allclose(gradient, of_coop, rtol=1e-3):
            raise Wrong("the number is right, but no gradient flows back through the entropy")
    return "a method of your own: what the library trains, saves and runs in a grid."
