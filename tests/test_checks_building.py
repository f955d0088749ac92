"""The checkers of the exercises that build CoOp, and of notebooks 06 and 09 to 12: right and wrong solutions."""

import copy
import math
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from coop_edu import CoCoOp, PromptLearner, checks, mean_and_interval


class Right(nn.Module):
    """The notebook's solution; what subclasses change is a mistake."""

    stop, position, read, positions, mask, norm, apart = ".", "end", -1, True, True, True, False
    marks = (1, 1)  # of SOS and EOT

    def __init__(self, clip, classnames, ctx):
        super().__init__()
        self.ctx = self.start_of(ctx)
        self.text = clip.model
        table, tokenizer = clip.model.token_embedding.weight, clip.tokenizer
        sos, eot = self.marks
        self.ends = table[[tokenizer.sot_token_id] * sos], table[[tokenizer.eot_token_id] * eot]
        looked_up = [tokenizer.encode(name + self.stop) for name in classnames]
        if self.apart:
            looked_up = [tokenizer.encode(name) + tokenizer.encode(self.stop) for name in classnames]
        self.names = [table[tokens] for tokens in looked_up]

    def start_of(self, ctx):
        return nn.Parameter(ctx)

    def used(self):
        return self.ctx

    def forward(self):
        return torch.stack([self.feature(name) for name in self.names])

    def feature(self, name):
        parts = [self.used(), name] if self.position == "end" else [name, self.used()]
        x = torch.cat([self.ends[0], *parts, self.ends[1]])
        L = len(x)
        x = x + self.text.positional_embedding[:L] if self.positions else x
        x = self.text.transformer(x[None], attn_mask=self.text.attn_mask[:L, :L] if self.mask else None)[0]
        return (self.text.ln_final(x) if self.norm else x)[self.read] @ self.text.text_projection


class OneBatch(Right):
    """All prompts in one call of the transformer; what subclasses change is a mistake."""

    side, at_end = "right", False

    def forward(self):
        prompts = [torch.cat([self.ends[0], self.ctx, name, self.ends[1]]) for name in self.names]
        x = nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_side=self.side)
        K, L, _ = x.shape
        mask = self.text.attn_mask[:L, :L] if self.mask else None
        x = self.text.transformer(x + self.text.positional_embedding[:L], attn_mask=mask)
        ends = [-1 if self.at_end or self.side == "left" else len(prompt) - 1 for prompt in prompts]
        return self.text.ln_final(x[range(K), ends]) @ self.text.text_projection


def in_one_batch(**attributes):
    return type("Changed", (OneBatch,), attributes)


class Cached(Right):
    """Computes its features once; the gradient of the first call is right."""

    def forward(self):
        if "kept" not in self.__dict__:
            self.__dict__["kept"] = super().forward()
        return self.kept


def cut(self):
    """No gradient through the encoder, and one that means nothing beside it."""
    with torch.no_grad():
        features = Right.forward(self)
    return features + 1e-9 * self.ctx.sum()


class Doubled(Right):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.more = nn.Parameter(torch.zeros(3))


def changed(**attributes):
    return type("Changed", (Right,), attributes)


def encode(prompt):
    raise NameError("a helper of the notebook")


class Borrows(Right):
    def forward(self):
        return encode(super().forward())


class CopiesClip(Right):
    def __init__(self, clip, classnames, ctx):
        super().__init__(clip, classnames, ctx)
        self.text = copy.deepcopy(clip.model)


LEARNERS = {
    "a helper of the notebook": (Borrows, "the notebook's `encode`"),
    "a copy of CLIP": (CopiesClip, "do not go through the `clip`"),
    "another start": (
        changed(start_of=lambda self, ctx: nn.Parameter(0.02 * torch.randn_like(ctx))),
        "start from the `ctx`",
    ),
    "no parameter": (changed(start_of=lambda self, ctx: ctx), "must be an nn.Parameter"),
    "detached": (changed(used=lambda self: self.ctx.detach()), "gradient"),
    "copied": (changed(used=lambda self: torch.tensor(self.ctx.tolist())), "gradient"),
    "no grad": (changed(forward=torch.no_grad()(Right.forward)), "no gradient can flow back"),
    "no full stop": (changed(stop=""), "full stop"),
    "name first": (changed(position="front"), "in front of the context"),
    "read too early": (changed(read=-2), "one position too early"),
    "no positions": (changed(positions=False), "positional"),
    "no mask": (changed(mask=False), "causal mask"),
    "normalised": (changed(forward=lambda self: normalize(Right.forward(self), dim=-1)), "normalised already"),
    "one class": (changed(forward=lambda self: Right.forward(self)[:1]), "shape"),
    "more learned": (Doubled, "numbers are learned"),
    "no module": (lambda clip, names, ctx: ctx, "nn.Module"),
    "reversed": (changed(used=lambda self: self.ctx.flip(0)), "wrong order"),
    "no last norm": (changed(norm=False), "ln_final"),
    "full stop apart": (changed(apart=True), "look both up together"),
    "computed once": (Cached, "compute them anew"),
    "cut off": (changed(forward=cut), "is not that of the text features"),
    "no SOS": (changed(marks=(0, 1)), "SOS is missing"),
    "no EOT": (changed(marks=(1, 0)), "EOT is missing"),
}
BATCHES = {
    "read at the end": (in_one_batch(at_end=True), "padding for the shorter prompts"),
    "padded in front": (in_one_batch(side="left"), "stands in front"),
    "no full stop in the batch": (in_one_batch(stop=""), "full stop"),
}


def test_how_often_the_transformer_is_called_is_said():
    for learner, words in ((Right, "2 calls of the transformer for 2 classes"), (OneBatch, "in 1 call")):
        assert words in checks.check_prompt_learner(learner).message


def test_clip_that_is_thawed_is_noticed():
    class Thawed(Right):
        def forward(self):
            self.text.requires_grad_(True)
            return super().forward()

    verdict = checks.check_prompt_learner(Thawed)
    assert verdict.status == "wrong" and "frozen" in verdict.message, verdict
    assert checks.check_prompt_learner(Right).status == "right"  # the mistake before it has left nothing behind


def encoded(text, x, read=-1, positions=True, mask=True, norm=True, last=lambda feature: feature):
    L = len(x)
    rows = text.positional_embedding[-L:] if positions == "last" else text.positional_embedding[:L]
    x = x + rows if positions else x
    x = text.transformer(x[None], attn_mask=text.attn_mask[:L, :L] if mask else None)[0]
    return last((text.ln_final(x) if norm else x)[read] @ text.text_projection)


ENCODINGS = {
    "mean of positions": (lambda text, x: encoded(text, x, read=slice(None)).mean(dim=0), "the mean of all positions"),
    "last positions": (partial(encoded, positions="last"), "the last rows of the positional"),
    "read before EOT": (partial(encoded, read=-2), "wrong position"),
    "read at SOS": (partial(encoded, read=0), "at SOS"),
    "all positions": (partial(encoded, read=slice(None)), "all positions"),
    "a batch": (partial(encoded, read=slice(-1, None)), "the batch of one"),
    "no projection": (lambda text, x: text.transformer(x[None])[0, -1], "text_projection is missing"),
    "no positions": (partial(encoded, positions=False), "positional"),
    "no mask": (partial(encoded, mask=False), "causal mask"),
    "no last norm": (partial(encoded, norm=False), "ln_final"),
    "normalised": (partial(encoded, last=lambda feature: normalize(feature, dim=-1)), "normalised already"),
    "detached": (partial(encoded, last=torch.Tensor.detach), "no gradient"),
    "twice as long": (partial(encoded, last=lambda feature: 2 * feature), "differs from CLIP's"),
}


def loss_of(w, f, y, scale, turn_f=normalize, turn_w=normalize, axis=1):
    return -(scale * turn_f(f) @ turn_w(w).T).log_softmax(dim=axis)[range(len(y)), y].mean()


def without_a_way_back(loss):
    return torch.tensor(loss.item(), requires_grad=True)


def in_unit_length(w):
    return w / w.norm(dim=1, keepdim=True).detach()


LOSSES = {
    "no way back": (lambda *given: without_a_way_back(loss_of(*given)), "its gradient at w"),
    "length detached": (partial(loss_of, turn_w=in_unit_length), "its gradient at w"),
    "classes of all": (
        lambda w, f, y, scale: -(scale * normalize(f) @ normalize(w).T).log_softmax(1)[:, y].mean(),
        "takes each image's own",
    ),
    "exp": (
        lambda w, f, y, scale: cross_entropy(math.exp(scale) * normalize(f) @ normalize(w).T, y),
        "do not take its exp",
    ),
    "log of the mean": (
        lambda w, f, y, scale: -(scale * normalize(f) @ normalize(w).T).softmax(1)[range(len(y)), y].mean().log(),
        "that of the mean",
    ),
    "nothing normalised": (partial(loss_of, turn_f=torch.clone, turn_w=torch.clone), "w and f are not normalised"),
    "f as it is": (partial(loss_of, turn_f=torch.clone), "f is not normalised"),
    "w as it is": (partial(loss_of, turn_w=torch.clone), "w is not normalised"),
    "columns normalised": (
        partial(loss_of, turn_f=partial(normalize, dim=0), turn_w=partial(normalize, dim=0)),
        "wrong axis",
    ),
    "no scale": (lambda w, f, y, scale: loss_of(w, f, y, 1.0), "scale is missing"),
    "divided": (lambda w, f, y, scale: loss_of(w, f, y, 1 / scale), "so multiply"),
    "sum": (lambda *given: 5 * loss_of(*given), "take their mean"),
    "of each image": (
        lambda w, f, y, scale: cross_entropy(scale * normalize(f) @ normalize(w).T, y, reduction="none"),
        "one loss for each image",
    ),
    "over the images": (partial(loss_of, axis=0), "the classes compete"),
    "no sign": (lambda *given: -loss_of(*given), "minus"),
    "no logarithm": (
        lambda w, f, y, scale: -(scale * normalize(f) @ normalize(w).T).softmax(dim=1)[range(len(y)), y].mean(),
        "logarithm is missing",
    ),
    "two softmaxes": (
        lambda w, f, y, scale: cross_entropy((scale * normalize(f) @ normalize(w).T).softmax(dim=1), y),
        "takes logits",
    ),
    "all classes": (
        lambda w, f, y, scale: -(scale * normalize(f) @ normalize(w).T).log_softmax(dim=1).mean(),
        "own class",
    ),
    "detached": (lambda *given: loss_of(*given).detach(), "no gradient"),
    "a number": (lambda *given: loss_of(*given).item(), "as a tensor"),
}


def step(learner, f, y, rate, sign=-1, fixed=None, move=True, add_up=False, unit=False, late=False):
    loss = learner.loss(f, y)
    (gradient,) = torch.autograd.grad(loss, learner.ctx)
    if add_up:
        gradient = learner.__dict__.setdefault("added", torch.zeros_like(gradient)).add_(gradient)
    if unit:
        gradient = gradient / gradient.norm()
    with torch.no_grad():
        learner.ctx += sign * move * (fixed or rate) * gradient
    return (learner.loss(f, y) if late else loss).item()


def replaced(learner, f, y, rate):
    moved = learner.ctx.detach() - rate
    del learner.ctx
    learner.ctx = moved
    return 0.0


def new_parameter(learner, features, labels, rate):
    loss = learner.loss(features, labels)
    (gradient,) = torch.autograd.grad(loss, learner.ctx)
    learner.ctx = nn.Parameter(learner.ctx.detach() - rate * gradient)
    return loss.item()


STEPS = {
    "not moved": (partial(step, move=False), "has not moved"),
    "uphill": (partial(step, sign=1), "falls *against* it"),
    "no rate": (partial(step, fixed=1.0), "rate is missing"),
    "the first rate": (partial(step, fixed=0.002), "rate of the first"),
    "added up": (partial(step, add_up=True), "add up"),
    "length one": (partial(step, unit=True), "length one"),
    "too far": (partial(step, sign=-2), "is not where"),
    "loss after": (partial(step, late=True), "the one before"),
    "replaced": (replaced, "in place"),
    "a new parameter": (new_parameter, "in place"),
}


def group_gradient(grad, group, G):
    return torch.zeros(G, *grad.shape[1:]).index_add(0, group, grad)


def of_one(grad, group, G):
    total = torch.zeros(G, *grad.shape[1:])
    total[group] = grad
    return total


GRADIENTS = {
    "mean of rows": (
        lambda grad, group, G: torch.stack([grad[group == g].mean(dim=0) for g in range(G)]),
        "averaged",
    ),
    "mean": (
        lambda grad, group, G: (
            group_gradient(grad, group, G) / torch.bincount(group, minlength=G).clamp(min=1)[:, None, None]
        ),
        "averaged",
    ),
    "of one": (of_one, "only one class counts"),
    "of all": (lambda grad, group, G: grad.sum(dim=0).expand(G, -1, -1), "keep the groups apart"),
    "by class": (lambda grad, group, G: group_gradient(grad, group, G)[group], "one row for each group"),
    "the first": (lambda grad, group, G: grad[:G], "of the first classes"),
}


def split_move(before, after, common=lambda move: move.mean(0), own=lambda move, mean, after: move - mean, sign=1):
    move = sign * (after - before)
    return common(move), own(move, common(move), after)


def in_place_move(before, after):
    after -= before
    common = after.mean(0)
    after -= common
    return common, after


def or_none(f, w, least, value=lambda best: best, more=torch.ge):
    best, classes = (normalize(f) @ normalize(w).T).max(dim=1)
    return torch.where(more(value(best), least), classes, -1)


NONE = {
    "never": (partial(or_none, more=lambda best, least: best > -2), "no image is refused"),
    "Booleans": (lambda f, w, least: (normalize(f) @ normalize(w).T).amax(1) >= least, "True and False"),
    "turned": (partial(or_none, more=torch.lt), "large enough"),
    "more": (partial(or_none, more=torch.gt), "just `least`"),
    "raw": (lambda f, w, least: torch.where((f @ w.T).amax(1) >= least, (f @ w.T).argmax(1), -1), "not normalised"),
    "softmax": (
        lambda f, w, least: torch.where(
            (normalize(f) @ normalize(w).T).softmax(1).amax(1) >= least, (normalize(f) @ normalize(w).T).argmax(1), -1
        ),
        "cannot say none",
    ),
    "any class": (
        lambda f, w, least: torch.where(
            ((normalize(f) @ normalize(w).T) < least).any(1), -1, (normalize(f) @ normalize(w).T).argmax(1)
        ),
        "no image is kept",
    ),
    "None": (lambda f, w, least: [None if c < 0 else c for c in or_none(f, w, least).tolist()], "the number -1"),
    "in place": (lambda f, w, least: or_none(f.div_(f.norm(dim=1, keepdim=True)), w, least), "in-place"),
}

MOVES = {
    "in place": (in_place_move, "make new tensors"),
    "numpy": (lambda before, after: tuple(part.numpy() for part in split_move(before, after)), "two tensors are"),
    "sum": (partial(split_move, common=lambda move: move.sum(0)), "not their sum"),
    "over the width": (lambda a, b: ((b - a).mean(1), b - a), "over the classes"),
    "of the end": (lambda a, b: (b.mean(0), b - a), "what it has moved"),
    "sign": (partial(split_move, sign=-1), "after minus before"),
    "each class": (lambda a, b: (b - a, b - a), "(E,)"),
    "whole": (partial(split_move, own=lambda move, mean, after: move), "the whole move"),
    "features": (partial(split_move, own=lambda move, mean, after: after - mean), "the features before"),
    "turned": (partial(split_move, own=lambda move, mean, after: mean - move), "sign is wrong: what a class"),
    "added": (partial(split_move, own=lambda move, mean, after: move + mean), "is added"),
    "one thing": (lambda a, b: (b - a).mean(0), "two tensors"),
    "own first": (lambda a, b: split_move(a, b)[::-1], "swapped"),
    "an axis kept": (partial(split_move, common=lambda move: move.mean(0, keepdim=True)), "keepdim"),
}


def two_ways(logits, labels, own, among_all=None, among_own=None, percent=100):
    own = torch.tensor(own)
    right = logits.argmax(1) == own[labels] if among_all is None else among_all(logits, labels, own)
    of_own = logits[:, own].argmax(1) == labels if among_own is None else among_own(logits, labels, own)
    return percent * right.double().mean(), percent * of_own.double().mean()


def counted(**changed):
    return partial(two_ways, **changed)


def masked(logits, labels, own):
    return torch.zeros_like(logits).index_copy(1, own, logits[:, own]).argmax(1) == own[labels]


COUNTS = {
    "labels as they are": (counted(among_all=lambda z, y, own: z.argmax(1) == y), "own[label]"),
    "swapped": (lambda *given: two_ways(*given)[::-1], "swapped"),
    "fractions": (counted(percent=1), "give percent"),
    "twice the first": (counted(among_own=lambda z, y, own: z.argmax(1) == own[y]), "the first again"),
    "masked by 0": (counted(among_own=masked), "set to 0"),
    "some left out": (
        counted(among_own=lambda z, y, own: (z.argmax(1) == own[y])[torch.isin(z.argmax(1), own)]),
        "are left out",
    ),
    "two numberings": (counted(among_own=lambda z, y, own: z[:, own].argmax(1) == own[y]), "as the labels do"),
    "sorted": (counted(among_own=lambda z, y, own: z[:, own.sort().values].argmax(1) == y), "sorted"),
    "the first": (counted(among_own=lambda z, y, own: z[:, : len(own)].argmax(1) == y), "first classes"),
    "one number": (lambda *given: two_ways(*given)[1], "two numbers"),
}


def over(mean, half):
    return mean > half


def needed(leads, first=False, clear=over):
    """From how many shots on it is clear; each option is a mistake."""
    answer = "never"
    for k in sorted(leads, reverse=True):
        if clear(*leads[k]):
            answer = k
        elif not first:
            break
    return answer


NEEDED = {
    "first": (partial(needed, first=True), "it must stay ahead"),
    "mean alone": (partial(needed, clear=lambda mean, half: mean > 0), "may reach zero"),
    "behind": (partial(needed, clear=lambda mean, half: abs(mean) > half), "behind is not ahead"),
    "whole interval": (partial(needed, clear=lambda mean, half: mean > 2 * half), "wider than needed"),
    "halved again": (partial(needed, clear=lambda mean, half: mean > half / 2), "do not halve"),
    "touching": (partial(needed, clear=lambda mean, half: mean >= half), "just reaches zero"),
    "as given": (lambda d: next((k for k in d if d[k][0] > 4.5), "never"), "it should be"),
    "None": (lambda d: None if needed(d) == "never" else needed(d), "is the return missing"),
}


CONTROLS = {
    "as it was": (lambda recipe, M: recipe, "as long as before"),
    "faster": (lambda recipe, M: replace(recipe, lr=recipe.lr * M), "should be shorter"),
    "sixteen": (lambda recipe, M: replace(recipe, lr=recipe.lr / 16), "sixteen is typed in"),
    "0.002": (lambda recipe, M: replace(recipe, lr=0.002 / M), "0.002 is typed in"),
    "root": (lambda recipe, M: replace(recipe, lr=recipe.lr / M**0.5), "not the root"),
    "warm-up": (lambda recipe, M: replace(recipe, warmup_lr=recipe.warmup_lr / M), "only the warm-up"),
    "long warm-up": (lambda recipe, M: replace(recipe, lr=recipe.lr / M, warmup_lr=1.0), "changes one thing"),
    "epochs": (lambda recipe, M: replace(recipe, lr=recipe.lr / M, epochs=M), "changes one thing"),
    "no decay": (lambda recipe, M: replace(recipe, lr=recipe.lr / M, weight_decay=0), "changes one thing"),
    "a number": (lambda recipe, M: recipe.lr / M, "a recipe was expected"),
}


def search(vocabulary, loss, length, best=min, behind=lambda found, word: [*found, word], repeat=True):
    found = []
    for _ in range(length):
        tries = [word for word in vocabulary if repeat or word not in found]
        found.append(best(tries, key=lambda word: loss(behind(found, word))))
    return found


def search_by_sorting(vocabulary, loss, length):
    found = []
    while len(found) < length:
        found = found + [sorted((loss([*found, word]), word) for word in vocabulary)[0][1]]
    return found


SEARCHES = {
    "highest": (partial(search, best=max), "take the lowest"),
    "alone": (partial(search, behind=lambda found, word: [word]), "tried alone"),
    "best alone": (
        lambda vocabulary, loss, length: sorted(vocabulary, key=lambda word: loss([word]))[:length],
        "the best words alone",
    ),
    "once": (partial(search, repeat=False), "taken twice"),
    "every combination": (
        lambda vocabulary, loss, length: list(min(product(vocabulary, repeat=length), key=lambda w: loss(list(w)))),
        "far too many",
    ),
    "one too few": (lambda vocabulary, loss, length: search(vocabulary, loss, length - 1), "words were asked for"),
    "a text": (lambda *given: " ".join(search(*given)), "a list of words"),
    "reversed": (lambda *given: search(*given)[::-1], "should be found"),
}


def in_front(vocabulary, loss, length):
    found = []
    for _ in range(length):
        found = [min(vocabulary, key=lambda word: loss([word, *found])), *found]
    return found


def carried(vocabulary, loss, length, lowest=float("inf"), anew=False):
    found, start, best = [], lowest, None
    for _ in range(length):
        lowest, best = (start, None) if anew else (lowest, best)
        for word in vocabulary:
            if (new := loss([*found, word])) < lowest:
                lowest, best = new, word
        found.append(best)
    return found


SEARCHES |= {
    "in front": (in_front, "behind them"),
    "carried": (carried, "start anew"),
    "from zero": (partial(carried, lowest=0.0, anew=True), "no word was chosen"),
    "behind the last": (partial(search, behind=lambda found, word: [*found[-1:], word]), "behind the last alone"),
    "too long": (lambda vocabulary, loss, length: search(vocabulary, loss, length + 1), "at most"),
    "blank": (lambda vocabulary, loss, length: search([*vocabulary, ""], loss, length), "not in the vocabulary"),
}


def cocoop(context):
    """A CoCoOp whose context is made of ctx (M, D) and the meta-net's shift (B, D) in another way."""

    class Mine(CoCoOp):
        def context(self, image_features):
            shift = self.meta_net(normalize(image_features.to(self.ctx)))
            return context(self.ctx, shift)

    return Mine


class NotNormalised(CoCoOp):
    def context(self, image_features):
        return self.ctx + self.meta_net(image_features)[:, None]


SHIFTS = {
    "joined": (cocoop(lambda ctx, shift: torch.cat([ctx, shift])), "joined"),
    "one vector each": (
        cocoop(lambda ctx, shift: ctx + shift if len(ctx) == len(shift) else ctx + shift[:, None]),
        "one vector",
    ),
    "swapped": (cocoop(lambda ctx, shift: ctx[:, None] + shift), "images come first"),
    "shift alone": (cocoop(lambda ctx, shift: shift[:, None].expand(-1, len(ctx), -1)), "shift alone"),
    "shift of each": (cocoop(lambda ctx, shift: shift), "to every vector"),
    "context alone": (cocoop(lambda ctx, shift: ctx.expand(len(shift), -1, -1)), "context alone"),
    "minus": (cocoop(lambda ctx, shift: ctx - shift[:, None]), "taken away"),
    "context detached": (cocoop(lambda ctx, shift: ctx.detach() + shift[:, None]), "at the context"),
    "shift detached": (cocoop(lambda ctx, shift: ctx + shift.detach()[:, None]), "at the meta-net"),
    "lists": (cocoop(lambda ctx, shift: (ctx + shift[:, None]).tolist()), "from a list"),
    "mean": (cocoop(lambda ctx, shift: (ctx + shift.mean(0)).expand(len(shift), -1, -1)), "each has its own"),
    "not normalised": (NotNormalised, "not normalised"),
    "no CoCoOp": (PromptLearner, "a subclass of CoCoOp"),
}


def in_groups(encode, ctx, loss_of, groups, graph=False, only=slice(None), divide=1, keep=False):
    with torch.set_grad_enabled(graph):
        parts = [encode(ctx, group) for group in groups]
    features = torch.cat(parts).detach().requires_grad_()
    (of_features,) = torch.autograd.grad(loss_of(features), features)
    pieces, total, kept = of_features.split([len(part) for part in parts]), torch.zeros_like(ctx), []
    for group, piece in list(zip(groups, pieces))[only]:
        again = encode(ctx, group)
        total += torch.autograd.grad(again, ctx, piece, retain_graph=keep)[0] / divide
        kept += [again] if keep else []
    return total


def one_group_after_the_other(encode, ctx, loss_of, groups):
    total = torch.zeros_like(ctx)
    for one in groups:
        parts = [encode(ctx, group) if group is one else encode(ctx.detach(), group) for group in groups]
        total += torch.autograd.grad(loss_of(torch.cat(parts)), ctx)[0]
    return total


def at_once(encode, ctx, loss_of, groups):
    return torch.autograd.grad(loss_of(torch.cat([encode(ctx, group) for group in groups])), ctx)[0]


def in_the_grad(encode, ctx, loss_of, groups):
    features = torch.cat([encode(ctx, group) for group in groups]).detach().requires_grad_()
    loss_of(features).backward()
    start = 0
    for group in groups:
        part = encode(ctx, group)
        part.backward(features.grad[start : start + len(part)])
        start += len(part)
    return ctx.grad.clone()


def fails_the_second_time(encode, ctx, loss_of, groups):
    if ctx.grad is not None:
        raise RuntimeError("once only")
    return in_the_grad(encode, ctx, loss_of, groups)


def by_vjp(encode, ctx, loss_of, groups):
    with torch.no_grad():
        parts = [encode(ctx, group) for group in groups]
    pieces = torch.func.grad(loss_of)(torch.cat(parts)).split([len(part) for part in parts])
    with_groups = zip(groups, pieces)
    return sum(
        torch.func.vjp(lambda v, group=group: encode(v, group), ctx)[1](piece)[0] for group, piece in with_groups
    )


GROUPS = {
    "torch.func": (by_vjp, "torch.func hides"),
    "at once": (at_once, "graphs of several groups"),
    "with graphs": (partial(in_groups, graph=True), "graphs of several groups"),
    "graphs kept": (partial(in_groups, keep=True), "graphs of several groups"),
    "last": (partial(in_groups, only=slice(-1, None)), "last group alone"),
    "first": (partial(in_groups, only=slice(1)), "first group alone"),
    "mean": (partial(in_groups, divide=3), "add them up"),
    "in ctx.grad": (in_the_grad, "adds the first gradient"),
    "fails the second time": (fails_the_second_time, "once only"),
}


def tied(context, **attributes):
    return type("Tied", (PromptLearner,), {"context": lambda self, image_features: context(self), **attributes})


TIED = {
    "as it is": (tied(lambda self: self.ctx), "M different vectors"),
    "one": (tied(lambda self: self.ctx[:1]), "M times"),
    "(D,)": (tied(lambda self: self.ctx[0]), "the context is (M, D)"),
    "one row": (tied(lambda self: self.ctx[0].repeat(self.n_ctx)), "stack them"),
    "numbers repeated": (
        tied(lambda self: self.ctx[:1].repeat_interleave(self.n_ctx, dim=1)),
        "repeat the vector as a whole",
    ),
    "last": (tied(lambda self: self.ctx[-1:].expand_as(self.ctx)), "take the first"),
    "mean": (tied(lambda self: self.ctx.mean(0, keepdim=True).expand_as(self.ctx)), "mean of the vectors"),
    "detached": (tied(lambda self: self.ctx[:1].detach().expand_as(self.ctx)), "no gradient"),
    "forward": (tied(lambda self: self.ctx, forward=lambda self, ctx=None: 1), "override context"),
    "no learner": (lambda clip, names, **options: clip, "a subclass of PromptLearner"),
    "a new parameter": (tied(lambda self: nn.Parameter(self.ctx[:1].repeat(self.n_ctx, 1))), "no gradient"),
    "data": (tied(lambda self: copied_into_all(self)), "changes self.ctx"),
    "tied at the start": (tied(lambda self: self.ctx, mark_start=lambda self: copied_into_all(self)), "M different"),
    "own gradients": (tied(lambda self: self.ctx + (self.ctx[:1] - self.ctx).detach()), "and no other"),
}


def copied_into_all(learner):
    learner.ctx.data[:] = learner.ctx.data[0].clone()
    return learner.ctx


def kg_loss(loss, g, w, weight, turn=normalize, sign=1, of=None):
    cosine = (turn(g) * turn(w)).sum(dim=1) if of is None else of(turn(g), turn(w))
    return loss + weight * (1 - sign * cosine.mean())


PULLS = {
    "no way back": (lambda *given: without_a_way_back(kg_loss(*given)), "its gradient at g"),
    "CoOp's loss detached": (lambda loss, *given: kg_loss(loss.detach(), *given), "its gradient at CoOp's loss"),
    "taken away": (lambda loss, g, w, weight: 2 * loss - kg_loss(loss, g, w, weight), "is taken away"),
    "wrong axis": (partial(kg_loss, turn=lambda x: normalize(x, dim=0)), "wrong axis"),
    "not normalised": (partial(kg_loss, turn=torch.clone), "not normalised"),
    "no loss": (lambda loss, g, w, weight: kg_loss(0.0, g, w, weight), "loss is missing"),
    "no weight": (lambda loss, g, w, weight: kg_loss(loss, g, w, 1.0), "weight is missing"),
    "sign": (partial(kg_loss, sign=-1), "sign of the cosine"),
    "cosine": (lambda loss, g, w, weight: loss + weight - (kg_loss(loss, g, w, weight) - loss), "one minus"),
    "sum": (lambda loss, g, w, weight: kg_loss(loss, g, w, 4 * weight), "take their mean"),
    "all pairs": (partial(kg_loss, of=lambda g, w: g @ w.T), "all others"),
    "width": (partial(kg_loss, of=lambda g, w: (g * w).mean(dim=1)), "width"),
    "weight of the loss": (lambda loss, g, w, weight: kg_loss(weight * loss, g, w, 1.0), "belongs to the distance"),
    "number": (lambda *given: kg_loss(*given).item(), "as a tensor"),
}


class OfEachClass(Right):
    """A context for each class; what subclasses change is a mistake."""

    def start_of(self, ctx):
        return nn.Parameter(ctx.repeat(self.K, 1, 1))

    def __init__(self, clip, classnames, ctx):
        self.__dict__["K"] = len(classnames)
        super().__init__(clip, classnames, ctx)

    def used(self):
        return self.ctx[self.place]

    def forward(self):
        features = []
        for place, name in enumerate(self.names):
            self.place = place
            features.append(self.feature(name))
        return torch.stack(features)


def of_each(**attributes):
    return type("Changed", (OfEachClass,), attributes)


def started(start):
    return of_each(start_of=lambda self, ctx: nn.Parameter(start(ctx, self.K)))


CLASS_SPECIFIC = {
    "unified, as given": (Right, "all classes share"),
    "views of one": (started(lambda ctx, K: ctx.expand(K, -1, -1)), "expand gives K views"),
    "turned": (started(lambda ctx, K: torch.stack([ctx] * K, dim=1)), "K, M, D"),
    "from zero": (started(lambda ctx, K: torch.zeros(K, *ctx.shape)), "do not start from"),
    "the first for all": (of_each(used=lambda self: self.ctx[0]), "does not use its own context"),
    "the mean": (of_each(used=lambda self: self.ctx.mean(0)), "depends on other classes' contexts"),
    "backwards": (of_each(used=lambda self: self.ctx[self.K - 1 - self.place]), "does not use its own"),
    "detached": (of_each(used=lambda self: self.ctx[self.place].detach()), "no gradient can flow back"),
    "no full stop": (of_each(stop=""), "full stop"),
    "no module": (lambda clip, names, ctx: ctx, "nn.Module"),
}


def train(
    learner,
    features,
    labels,
    batches,
    rates,
    *,
    clear=True,
    step=True,
    momentum=0.9,
    decay=5e-4,
    rate=None,
    all_of=None,
    anew=False,
    late=False,
    after=False,
    everything=False,
):
    optimizer = torch.optim.SGD(learner.parameters(), lr=rates[0], momentum=momentum, weight_decay=decay)
    losses = []
    for number, epoch in enumerate(batches):
        if anew:
            optimizer = torch.optim.SGD(learner.parameters(), lr=rates[0], momentum=momentum, weight_decay=decay)
        for group in optimizer.param_groups:
            group["lr"] = rates[max(0, number - late)] if rate is None else rates[rate]
        if clear == "epoch":
            optimizer.zero_grad()
        for batch in batches[0] if all_of == "first" else epoch:
            batch = torch.arange(len(labels)) if everything else batch
            loss = learner.loss(features[batch], labels[batch])
            if clear is True:
                optimizer.zero_grad()
            loss.backward()
            if step:
                optimizer.step()
            losses.append((learner.loss(features[batch], labels[batch]) if after else loss).item())
    return losses


def rates_of_batches(learner, features, labels, batches, rates):
    return train(learner, features, labels, [[batch] for epoch in batches for batch in epoch],
                 [rate for epoch in batches for _, rate in zip(epoch, rates)])  # fmt: skip


def with_graphs(learner, features, labels, batches, rates):
    train(learner, features, labels, batches, rates)
    return [learner.loss(features[batch], labels[batch]) for epoch in batches for batch in epoch]


LOOPS = {
    "a copy": (lambda learner, *given: train(copy.deepcopy(learner), *given), "another learner was trained"),
    "rates of steps": (
        lambda learner, f, y, batches, rates: train(learner, f, y, [[b] for e in batches for b in e][:4], rates),
        "taken for one step",
    ),
    "not cleared": (partial(train, **{"clear": False}), "zero_grad"),
    "no step": (partial(train, **{"step": False}), "has not moved"),
    "no momentum": (partial(train, **{"momentum": 0.0}), "momentum"),
    "first rate": (partial(train, **{"rate": 0}), "stays that of the first"),
    "last rate": (partial(train, **{"rate": -1}), "last epoch's"),
    "first batches": (partial(train, **{"all_of": "first"}), "batches of the first"),
    "another decay": (partial(train, **{"decay": 0.5}), "at step"),
    "no decay": (partial(train, **{"decay": 0.0}), "is missing"),
    "twice the decay": (partial(train, **{"decay": 1e-3}), "counts twice"),
    "rates of batches": (rates_of_batches, "share one rate"),
    "graphs": (with_graphs, "hold their graphs"),
    "last batch left out": (
        lambda learner, f, y, batches, rates: train(learner, f, y, [epoch[:-1] for epoch in batches], rates),
        "12 losses were expected",
    ),
    "a new optimizer in each epoch": (partial(train, **{"anew": True}), "forgets the momentum"),
    "rate set after the epoch": (partial(train, **{"late": True}), "after the epoch"),
    "loss after the step": (partial(train, **{"after": True}), "the step was made from"),
    "all images": (partial(train, **{"everything": True}), "all images"),
    "cleared once an epoch": (partial(train, **{"clear": "epoch"}), "of an epoch add up"),
}
PIECES = {  # checker: (right solutions, {name: (wrong solution, words of the diagnosis)})
    checks.check_prompt_learner: ([Right, OneBatch], {**LEARNERS, **BATCHES}),
    checks.check_class_specific: (
        [OfEachClass, started(lambda ctx, K: ctx.expand(K, -1, -1).clone())],
        CLASS_SPECIFIC,
    ),
    checks.check_training_loop: ([train], LOOPS),
    checks.check_kg_loss: ([kg_loss], PULLS),
    checks.check_or_none: ([or_none], NONE),
    checks.check_group_gradient: ([group_gradient], GRADIENTS),
    checks.check_split_move: ([split_move], MOVES),
    checks.check_two_ways: ([two_ways], COUNTS),
    checks.check_images_needed: ([needed], NEEDED),
    checks.check_control: (
        [
            lambda recipe, M: replace(recipe, lr=recipe.lr / M),
            lambda recipe, M: replace(recipe, lr=recipe.lr / M, warmup_lr=recipe.warmup_lr / M),
            lambda recipe, M: replace(recipe, lr=recipe.lr * (1 / M), warmup_lr=recipe.warmup_lr * (1 / M)),
            lambda recipe, M: replace(recipe, lr=recipe.lr / M, weight_decay=recipe.weight_decay * M),
        ],
        CONTROLS,
    ),
    checks.check_search: ([search, search_by_sorting], SEARCHES),
    checks.check_image_context: (
        [
            CoCoOp,
            cocoop(lambda ctx, shift: ctx + shift[:, None]),
            cocoop(lambda ctx, shift: torch.stack([ctx + one for one in shift])),
        ],
        SHIFTS,
    ),
    checks.check_gradient_in_groups: ([in_groups, one_group_after_the_other], GROUPS),
    checks.check_tied: (
        [
            tied(lambda self: self.ctx[:1].expand_as(self.ctx)),
            tied(lambda self: torch.stack([self.ctx[0]] * self.n_ctx)),
        ],
        TIED,
    ),
    checks.check_encoding: ([encoded], ENCODINGS),
    checks.check_loss: ([loss_of], LOSSES),
    checks.check_step: ([step], STEPS),
}


def test_the_pieces_of_the_method_are_right():
    for check, (solutions, _) in PIECES.items():
        for solution in solutions:
            verdict = check(solution)
            assert verdict.status == "right", verdict


@pytest.mark.parametrize(("check", "name"), [(check, name) for check, (_, zoo) in PIECES.items() for name in zoo])
def test_each_wrong_piece_is_named(check, name):
    solution, words = PIECES[check][1][name]
    verdict = check(solution)
    assert verdict.status == "wrong" and words in verdict.message, verdict


def test_losses_by_epoch_are_told_from_losses_by_step():
    verdict = checks.check_training_loop(lambda *arguments: train(*arguments)[::2])
    assert verdict.status == "wrong" and "one for each step" in verdict.message


def weights(W):
    return 1 / W[0].norm(), normalize(W, dim=-1)


def image_by_image(first, second):
    return mean_and_interval(100 * (first.double() - second.double()))


def unpaired(first, second):
    one, two = first.double().mean().item(), second.double().mean().item()
    return 100 * (one - two), 200 * ((one * (1 - one) + two * (1 - two)) / len(first)) ** 0.5


def honest(on_val, right, given, choose_by=None, compare=image_by_image):
    chosen = max(on_val, key=choose_by or on_val.get)
    return chosen, *compare(right[chosen], right[given])


def chosen_on_test(on_val, right, given):
    return honest(on_val, right, given, choose_by=lambda name: right[name].double().mean())


class Sure(PromptLearner):
    """The notebook's solution; what subclasses change is a mistake."""

    axis, sign, base = 1, -1, 1.0

    def __init__(self, clip, classnames, *, weight=0.5, **options):
        super().__init__(clip, classnames, **options)
        self.weight = weight

    def entropy(self, logits):
        log_p = logits.log_softmax(dim=self.axis)
        return self.sign * (log_p.exp() * log_p).sum(dim=self.axis).mean() / self.base

    def objective(self, image_features, text_features, labels):
        loss, logits = super().objective(image_features, text_features, labels)
        return loss + self.weight * self.entropy(logits), logits


def unsure(**attributes):
    return type("Unsure", (Sure,), attributes)


class Forgets(PromptLearner):
    def __init__(self, clip, classnames, *, weight=0.5, **options):
        super().__init__(clip, classnames, **options)


def confused(table, largest=None, swap=False, diagonal=False):
    counts = table.to_numpy()
    counts = counts if diagonal else counts * (1 - np.eye(len(counts), dtype=int))
    row, column = np.unravel_index((counts if largest is None else largest(counts, table)).argmax(), counts.shape)
    names = table.index[row], table.columns[column]
    return *(names[::-1] if swap else names), counts[row, column]


def in_place(image):
    image.putpixel((0, 0), (1, 2, 3))
    return image


def noisy(image, seed=None):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*image.size[::-1], 3), dtype=np.uint8))


class LosesOptions(Sure):
    def __init__(self, clip, classnames, *, weight=0.5, **options):
        super().__init__(clip, classnames, weight=weight)


class LearnsWeight(Sure):
    def __init__(self, clip, classnames, *, weight=0.5, **options):
        super().__init__(clip, classnames, weight=weight, **options)
        self.weight = nn.Parameter(torch.tensor(weight))


def zeroed(table):
    for n in range(len(table)):
        table.iloc[n, n] = 0
    return confused(table)


RIGHT = {
    "inverted": (checks.check_domain, ImageOps.invert),
    "upside down": (checks.check_domain, lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
    "confused": (checks.check_most_confused, confused),
    "entropy": (checks.check_entropy_method, Sure),
    "honest": (checks.check_honest_report, honest),
    "weights": (checks.check_weight_matrix, weights),
    "weights, times": (checks.check_weight_matrix, lambda W: (float(1 / W[1].norm()), W / W[1].norm())),
}
W = checks.check_weight_matrix
H = checks.check_honest_report
M = checks.check_entropy_method
Q, T = checks.check_domain, checks.check_most_confused
ZOO = {
    "domain, array": (Q, lambda image: np.array(image), "a PIL image"),
    "domain, in place": (Q, in_place, "image.copy()"),
    "domain, grey": (Q, lambda image: image.convert("L"), "mode RGB"),
    "domain, smaller": (Q, lambda image: image.resize((8, 8)), "size (48, 64)"),
    "domain, unchanged": (Q, lambda image: image.copy(), "as it was"),
    "domain, black": (Q, lambda image: Image.new("RGB", image.size), "nothing is left"),
    "domain, noise": (Q, noisy, "fixed seed"),
    "domain, the same noise": (Q, lambda image: noisy(image, seed=0), "another image gives the same"),
    "domain, one pixel": (Q, lambda image: in_place(image.copy()), "of the pixels have changed"),
    "confused, diagonal": (T, lambda t: confused(t, diagonal=True), "diagonal"),
    "confused, swapped": (T, lambda t: confused(t, swap=True), "swapped"),
    "confused, share": (
        T,
        lambda t: confused(t, lambda counts, table: counts / table.to_numpy().sum(axis=1, keepdims=True)),
        "largest share",
    ),
    "confused, a share counted": (
        T,
        lambda t: (*confused(t)[:2], confused(t)[2] / t.loc[confused(t)[0]].sum()),
        "count images",
    ),
    "confused, both directions": (
        T,
        lambda t: (*sorted(confused(t + t.T)[:2]), confused(t + t.T)[2]),
        "both directions are added up",
    ),
    "confused, upper half": (T, lambda t: confused(pd.DataFrame(np.triu(t), t.index, t.columns)), "above the diagonal"),
    "confused, in place": (T, zeroed, "changes the table"),
    "confused, first": (T, lambda t: (t.index[2], t.columns[0], 0), "the pair should be"),
    "confused, a name": (T, lambda t: confused(t)[0], "three things"),
    "entropy, missing": (M, unsure(entropy=lambda self, logits: 0.0), "the entropy is missing"),
    "entropy, sign": (M, unsure(sign=1), "sign of the entropy"),
    "entropy, no weight": (M, unsure(entropy=lambda self, z: Sure.entropy(self, z) / self.weight), "weight is missing"),
    "entropy, sum": (M, unsure(entropy=lambda self, z: len(z) * Sure.entropy(self, z)), "take their mean"),
    "entropy, mean of classes": (M, unsure(entropy=lambda self, z: Sure.entropy(self, z) / z.shape[1]), "their sum"),
    "entropy, bits": (M, unsure(base=0.6931471805599453), "natural"),
    "entropy, over images": (M, unsure(axis=0), "over the images"),
    "entropy, detached": (M, unsure(entropy=lambda self, z: Sure.entropy(self, z.detach())), "no gradient"),
    "entropy, options lost": (M, LosesOptions, "do not arrive"),
    "entropy, weight learned": (M, LearnsWeight, "more than the context"),
    "entropy, not kept": (M, Forgets, "write self.weight = weight there"),
    "entropy, no learner": (M, lambda clip, names, **options: clip, "a subclass of PromptLearner"),
    "entropy, loss alone": (
        M,
        unsure(objective=lambda self, f, w, y: Sure.objective(self, f, w, y)[0]),
        "the loss and the logits",
    ),
    "last in the alphabet": (H, lambda v, r, g: (max(v), *image_by_image(r[max(v)], r[g])), "alphabet"),
    "chosen on test": (H, chosen_on_test, "only report on test"),
    "chosen at random": (H, lambda v, r, g: honest(v, r, g, choose_by=len), "best on validation is"),
    "validation lead": (
        H,
        lambda v, r, g: (honest(v, r, g)[0], max(v.values()) - v[g], honest(v, r, g)[2]),
        "flatters the winner",
    ),
    "report unpaired": (H, lambda v, r, g: honest(v, r, g, compare=unpaired), "unpaired"),
    "report, sign": (H, lambda v, r, g: honest(v, r, g, compare=lambda a, b: image_by_image(b, a)), "second minus"),
    "report, standard error": (
        H,
        lambda v, r, g: honest(v, r, g, compare=lambda a, b: (image_by_image(a, b)[0], image_by_image(a, b)[1] / 2)),
        "one standard error",
    ),
    "report, no sign": (
        H,
        lambda v, r, g: (honest(v, r, g)[0], abs(honest(v, r, g)[1]), honest(v, r, g)[2]),
        "lost its sign",
    ),
    "report, two things": (H, lambda v, r, g: honest(v, r, g)[:2], "three things"),
    "logit scale": (W, lambda W: (W[0].norm(), weights(W)[1]), "one divided by it"),
    "all rows": (W, lambda W: (1 / W.norm(), weights(W)[1]), "that of one row"),
    "square": (W, lambda W: (1 / W[0].square().sum(), weights(W)[1]), "has a root"),
    "each row": (W, lambda W: (1 / W.norm(dim=1), weights(W)[1]), "one number is enough"),
    "raw rows": (W, lambda W: (weights(W)[0], W), "as they were"),
    "divided": (W, lambda W: (weights(W)[0], W / weights(W)[0]), "once more"),
    "columns": (W, lambda W: (weights(W)[0], normalize(W, dim=0)), "wrong axis"),
    "turned": (W, lambda W: (weights(W)[0], weights(W)[1].T), "swapped"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_are_right_however_they_are_written(name):
    check, solution = RIGHT[name]
    verdict = check(solution)
    assert verdict.status == "right", verdict


@pytest.mark.parametrize("name", ZOO)
def test_each_mistake_is_named(name):
    check, solution, words = ZOO[name]
    verdict = check(solution)
    assert verdict.status == "wrong" and words in verdict.message, verdict
