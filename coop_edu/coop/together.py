"""Several small trainings at once, packed into one pass.

A step of a small prompt is hundreds of small matrix products, and most of its time goes into starting them.  Trainings
that differ in their seed only (in the start of the context, in the images, in the order of the batches) can share
them: their contexts are stacked, the text encoder runs once over all of them, and each has a loss of its own.  No
training affects another, so each learns what it would learn alone, up to the rounding of the products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from coop_edu.coop.history import EpochSums, History, check_finite, check_usable
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.trainer import Trainer
from coop_edu.coop.training_data import TrainingData


def train_together(trainers: Sequence[Trainer], data: Sequence[TrainingData]) -> list[History]:
    """[trainer.fit(images) for trainer, images in zip(trainers, data)], in one pass over all of them.

    The learners must share method, CLIP, class names and options, the recipes all but the seed, the data their number
    of images: else ValueError.  In one pass, checkpoints, callbacks and progress bars are ignored.  The trainings are
    fitted one by one with fresh views, groups of classes or float16, and if a method learns more than ctx or overrides
    context, table or forward.

        trainers = [Trainer(PromptLearner(clip, names, seed=s), Recipe(seed=s, views=None)) for s in (1, 2, 3)]
        histories = train_together(trainers, [shots_of_seed[s] for s in (1, 2, 3)])
    """
    _check(trainers, data)
    for trainer, images in zip(trainers, data):
        trainer.count_epochs(len(images))
    first, recipe = trainers[0], trainers[0].recipe
    big = recipe.views == "fresh" or first.learner.max_classes_at_once is not None
    if big or recipe.precision == "float16" or not all(map(_can_be_stacked, trainers)):
        return [_fit_or_reraise(trainer, trainer.fit(images)) for trainer, images in zip(trainers, data)]
    # One parameter for all: SGD works number by number, so its momentum is each training's own.
    ctx = nn.Parameter(torch.stack([trainer.learner.ctx.detach() for trainer in trainers]))  # (S, M, D) or (S, K, M, D)
    optimizer = recipe.optimizer([ctx])
    batches = zip(*(trainer.batches(images) for trainer, images in zip(trainers, data)))
    histories = [History() for _ in trainers]
    for trainer in trainers:
        trainer.learner.zero_grad()  # drop gradients of earlier calls
    for epoch in range(recipe.epochs):
        sums = [EpochSums(first.device) for _ in trainers]
        lr = optimizer.param_groups[0]["lr"] = recipe.learning_rate(epoch)
        for _ in range(recipe.steps_per_epoch(len(data[0]))):
            batch = next(batches)
            optimizer.zero_grad()
            _backward(trainers, ctx, batch, sums)
            optimizer.step()
            for trainer, context in zip(trainers, ctx.detach()):  # now, because an objective may read its own ctx
                trainer.learner.ctx.data.copy_(context)
        for trainer, history, own_sums, context in zip(trainers, histories, sums, ctx):
            check_finite(own_sums, epoch, {"ctx": context}, trainer.recipe)
            history.add(own_sums, lr)
    for trainer, (image_features, _) in zip(trainers, batch):
        check_usable(trainer.learner, image_features, recipe.epochs - 1, trainer.recipe)
    return histories


def _backward(
    trainers: Sequence[Trainer], ctx: nn.Parameter, batch: Sequence[tuple[Tensor, Tensor]], sums: Sequence[EpochSums]
) -> None:
    """The gradient of every training's loss, in ctx.grad: (S, M, D) or (S, K, M, D)."""
    first, losses = trainers[0], []
    with first.autocast():
        text_features = first.learner(ctx)  # (S, K, E); any learner will do: only their contexts differ
    for trainer, w, (image_features, labels), own_sums in zip(trainers, text_features, batch, sums):
        loss, logits = trainer.learner.objective(image_features, w.float(), labels)
        losses.append(loss)
        own_sums.add(loss.detach(), logits.detach(), labels)
    # Each loss depends on one context: the gradient of the sum is all their gradients.
    torch.stack(losses).sum().backward()
    assert ctx.grad is not None
    for trainer, gradient in zip(trainers, ctx.grad):
        if trainer.learner.ctx.grad is not None:  # an objective that looks at ctx itself
            gradient += trainer.learner.ctx.grad
            trainer.learner.ctx.grad = None


def _fit_or_reraise(trainer: Trainer, history: History) -> History:
    """Re-raise an interrupt, so that the next training does not start."""
    if trainer.interrupted:
        raise KeyboardInterrupt
    return history


def _can_be_stacked(trainer: Trainer) -> bool:
    """True if only ctx is learned, and text features come from it as in CoOp."""
    kind = type(trainer.learner)
    as_in_coop = all(getattr(kind, name) is getattr(PromptLearner, name) for name in ("context", "table", "forward"))
    learned = [name for name, _ in trainer.learner.named_parameters()]
    return type(trainer) is Trainer and as_in_coop and learned == ["ctx"]


def _check(trainers: Sequence[Trainer], data: Sequence[TrainingData]) -> None:
    first = trainers[0]
    if len({id(trainer.learner) for trainer in trainers}) < len(trainers):
        raise ValueError("two trainers have the same learner: it can hold only one result")
    for trainer, images in zip(trainers, data, strict=True):
        trainer.check(images)
        a, b = first.learner, trainer.learner
        same = {
            "method": type(a) is type(b),
            "CLIP": a.clip is b.clip,
            "class names": a.classnames == b.classnames,
            "n_ctx, class_specific or position": a.config.without_start() == b.config.without_start(),
            "recipe": replace(first.recipe, seed=0) == replace(trainer.recipe, seed=0),
            "number of images": len(data[0]) == len(images),
        }
        if not all(same.values()):
            raise ValueError(
                "trainings in one pass may differ in their seed only, these differ in "
                f"{', '.join(name for name, equal in same.items() if not equal)}: train them one by one"
            )
