"""Training a prompt: gradient descent on the context vectors and on nothing else (paper's Section 3.2).

Cross entropy over Eq. 3's probabilities, SGD, the learning rate and the number of epochs of recipe.py; the last epoch
is the result, nothing is selected.  The random numbers of an epoch come from (seed, epoch) alone, so a training that
was stopped goes on exactly as it would have.

Leaves out: the prompts (prompt_learner.py), the image features (data/features.py), test data (evaluate/accuracy.py).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

import torch
from tqdm.auto import tqdm

from coop_edu.coop.checkpoints import resume_training, save_training
from coop_edu.coop.prompt_learner import PromptLearner, tensor_digest
from coop_edu.coop.recipe import Recipe
from coop_edu.data.batches import read_batches, seeded
from coop_edu.data.dataset import Example
from coop_edu.data.features import Features, extract_features
from coop_edu.data.labels import check_same_classes, label_names
from coop_edu.files import check_replaceable, sha256, user_path
from coop_edu.records import whole_number

__all__ = ["History", "Recipe", "Trainer", "TrainerState"]

SYNC_EVERY = 50  # steps between two looks at the loss on a GPU, which would have to wait for each


@dataclass
class History:
    """One entry per epoch: mean loss (nats), accuracy on the training batches (percent), learning rate, seconds."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def add(self, epoch: EpochSums, lr: float) -> None:
        """Close an epoch."""
        self.loss.append(epoch.loss.item() / epoch.steps)
        self.accuracy.append(100 * epoch.correct.item() / epoch.n_images)
        self.lr.append(lr)
        self.seconds.append(time.perf_counter() - epoch.start)


class EpochSums:
    """Loss and right answers, summed over the steps of an epoch, on the device: so that a GPU need not wait."""

    def __init__(self, device: torch.device) -> None:
        self.start, self.steps, self.n_images = time.perf_counter(), 0, 0
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.long)

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """One step: loss (), logits (B, K), both detached, labels (B,)."""
        self.loss += loss
        self.correct += (logits.argmax(dim=1) == labels).sum()
        self.n_images += len(labels)
        self.steps += 1


@dataclass(frozen=True)
class TrainerState:
    """What a callback is given after each epoch: epochs done, epochs in all, history so far, the learner."""

    epoch: int
    epochs: int
    history: History
    learner: PromptLearner


class Trainer:
    """Trains a PromptLearner by a recipe.

    device: "auto" trains where the learner's CLIP is (load_clip chose cuda, mps or cpu); any other moves both there, and
    with the CLIP from under any other learner on it, which then says so.  What is minimised is `learner.objective`.
    callback(state) is called once per epoch with a TrainerState.  checkpoint: a file, also readable by `load_prompt`,
    replaced in one step every `checkpoint_every` epochs and after the last.  workers: processes that read images.

    Raises TypeError for a callback that is no function, and where a method overrides what no training calls; OSError for
    a checkpoint that could not be written.

        history = Trainer(learner, Recipe.paper(shots=16)).fit(shots)
    """

    def __init__(
        self,
        learner: PromptLearner,
        recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
        *,
        device: str = "auto",
        callback: Callable[[TrainerState], object] | None = None,
        progress: bool = True,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 1,
        workers: int = 0,
    ) -> None:
        _check_overrides(type(self), type(learner))
        self.learner, self.recipe, self._wanted = learner, recipe, recipe
        if callback is not None and not callable(callback):
            raise TypeError(f"expected callback to be a function of a TrainerState, got {callback!r:.80}")
        self.callback, self.progress = callback, progress
        self.workers = whole_number(workers, "workers", at_least=0)
        self.checkpoint = None if checkpoint is None else check_replaceable(user_path(checkpoint))
        self.checkpoint_every = whole_number(checkpoint_every, "checkpoint_every", at_least=1)
        self.device = learner.clip.device if device == "auto" else torch.device(device)
        if device != "auto":
            learner.clip.to(self.device)
        learner.to(self.device)

    def fit(self, data: Sequence[Example] | Features, *, resume: bool = False) -> History:
        """Train for all the recipe's epochs, on examples (images) or on features computed before.

        resume=True goes on from the checkpoint as if nothing had happened; without a file yet, it starts. Raises
        ValueError if data and learner disagree on the classes, features and recipe on the views, or checkpoint and
        this training on anything, the images and the start of the context too; FloatingPointError as soon as the loss
        or the context is seen not to be finite.
        """
        self.check(data)
        recipe, learner = self.count_epochs(len(data)), self.learner
        self.optimizer = recipe.optimizer(learner.parameters())
        self.scaler = torch.amp.GradScaler(
            self.device.type,
            init_scale=1024,  # torch's 2^16 overflows at first, which skips steps: a short training has few
            enabled=recipe.precision == "float16",
        )
        training = {} if self.checkpoint is None else self._depends_on(data)
        history = History()
        if resume and self.checkpoint is not None and self.checkpoint.is_file():
            saved = resume_training(learner, self.checkpoint, self.optimizer, self.scaler, training)
            history, training["start"] = History(**saved), learner.start
        batches = self.batches(data, first_epoch=len(history))
        epochs = range(len(history), recipe.epochs)
        for epoch in tqdm(epochs, desc="learning the prompt", disable=not self.progress, delay=2):
            images = self._run_epoch(epoch, batches, recipe.steps_per_epoch(len(data)), history)
            done = epoch + 1
            save = self.checkpoint is not None and (done % self.checkpoint_every == 0 or done == recipe.epochs)
            if save or done == recipe.epochs:
                self.check_usable(epoch, images)
            if save:
                self._save(training, history)
            if self.callback is not None:
                self.callback(TrainerState(done, recipe.epochs, history, learner))
        return history

    def _depends_on(self, data: Sequence[Example] | Features) -> dict:
        """What the outcome depends on, beside the learner's layout: must be the same when a training is resumed."""
        return {
            "recipe": asdict(self.recipe),
            "labels": _labels(data).tolist(),
            "pictures": _digest(data),
            "start": self.learner.start,
        }

    def _save(self, training: dict, history: History) -> None:
        save_training(self.learner, self.checkpoint, self.optimizer, self.scaler, training, asdict(history))

    # ------------------------------------------------------------------------------------ one epoch, one step
    def _run_epoch(
        self, epoch: int, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], steps: int, history: History
    ) -> torch.Tensor:
        """One epoch; returns the image features of its last batch, (B, E)."""
        sums = EpochSums(self.device)
        lr = self.optimizer.param_groups[0]["lr"] = self.recipe.learning_rate(epoch)
        look_every = 1 if self.device.type == "cpu" else SYNC_EVERY
        for step in range(1, steps + 1):
            images, labels = next(batches)  # (B, E), (B,)
            sums.add(*self._step(images, labels), labels)
            if step % look_every == 0 or step == steps:
                self.check_finite(sums, epoch, dict(self.learner.named_parameters()))
        history.add(sums, lr)
        return images

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of gradient descent; returns the loss () and the logits (B, K), detached."""
        learner = self.learner
        self.optimizer.zero_grad()
        if learner.max_classes_at_once is not None:
            with self.autocast():
                loss, logits = learner.backward_in_chunks(images, labels, self.scaler.scale)
        else:
            with self.autocast():
                text_features = learner(learner.context(images))  # w_i = g(t_i) for all classes: (K, E)
            loss, logits = learner.objective(images, text_features.float(), labels)
            self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), logits.detach()

    def count_epochs(self, n: int) -> Recipe:
        """Make `recipe` the one that n training images take: a recipe may be counted in steps."""
        self.recipe = self._wanted.for_images(n)
        return self.recipe

    def autocast(self) -> torch.autocast:
        """The recipe's precision, for the text and image encoders."""
        dtype, enabled = getattr(torch, self.recipe.precision), self.recipe.precision != "float32"
        return torch.autocast(self.device.type, dtype=dtype, enabled=enabled)

    def check_finite(self, sums: EpochSums, epoch: int, learned: Mapping[str, torch.Tensor]) -> None:
        """Stop, with what may help, once the loss is not a number, or what the last step made: ctx, or another parameter."""
        if not math.isfinite(sums.loss.item()):
            self._diverged("the loss is", f"epoch {epoch + 1}, by step {sums.steps}")
        for name, parameter in learned.items():
            if not parameter.isfinite().all():
                what = "the context vectors are" if name == "ctx" else f"{name} is"
                self._diverged(what, f"epoch {epoch + 1}, after step {sums.steps}")

    @torch.no_grad()
    def check_usable(self, epoch: int, images: torch.Tensor) -> None:
        """Stop if the context is finite but too large for the text encoder: no further step would notice it.

        images (B, E): of them one is enough, for a context that depends on the image.
        """
        if not self.learner(self.learner.context(images[:1])).isfinite().all():
            self._diverged("the text features are", f"after epoch {epoch + 1}")

    def _diverged(self, what: str, when: str) -> NoReturn:
        raise FloatingPointError(
            f"{what} not finite ({when}): the context vectors are lost. "
            f"Likely causes: a learning rate that is too high (lr={self.recipe.lr}; the paper's is "
            f"0.002), image features that are not finite, precision={self.recipe.precision!r} (try "
            "'float32'). A checkpoint, if one was asked for, still holds the last good epoch that was saved."
        )

    # -------------------------------------------------------------------------------------------- the batches
    def batches(
        self, data: Sequence[Example] | Features, first_epoch: int = 0
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(image features (B, E), labels (B,)), one epoch after the other."""
        labels = _labels(data).to(self.device)
        epochs = range(first_epoch, self.recipe.epochs)
        if self.recipe.views == "fresh":
            return self._fresh_batches(data, labels, epochs)
        if not isinstance(data, Features):
            data = extract_features(
                self.learner.clip,
                data,
                views=self.recipe.views,
                seed=self.recipe.seed,
                workers=self.workers,
                progress=self.progress,
            )
        return self._feature_batches(data.image_features.to(self.device), labels, epochs)

    def _fresh_batches(
        self, examples: Sequence[Example], labels: torch.Tensor, epochs: range
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """New random crops in every epoch: the number of the epoch is the number of the view."""
        plan = []
        for epoch in epochs:
            for part in self._order(epoch, len(examples)).split(self.recipe.batch_size):
                plan.append([(position, epoch) for position in part.tolist()])
        for features, batch in zip(self._encode(examples, plan), plan, strict=True):
            yield features, labels[[position for position, _ in batch]]

    def _encode(self, examples: Sequence[Example], plan: Sequence[Sequence[tuple[int, int]]]) -> Iterator[torch.Tensor]:
        """Image features (B, E) of each batch of pairs (position, view)."""
        clip = self.learner.clip
        for images in read_batches(clip, examples, plan, seed=self.recipe.seed, workers=self.workers):
            with self.autocast():
                features = clip.encode_image(images)
            yield features.float()

    def _feature_batches(
        self, images: torch.Tensor, labels: torch.Tensor, epochs: range
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Features computed before, (N, E), or (V, N, E): then each image has one of its V views in an epoch."""
        for epoch in epochs:
            order = self._order(epoch, len(labels))
            if images.ndim == 3:
                view = torch.randint(len(images), order.shape, generator=seeded(self.recipe.seed, epoch, 1))
                shuffled = images[view.to(self.device), order.to(self.device)]  # (steps * B, E)
            else:
                shuffled = images[order.to(self.device)]
            sorted_labels = labels[order.to(self.device)]
            size = self.recipe.batch_size
            yield from zip(shuffled.split(size), sorted_labels.split(size), strict=True)

    def _order(self, epoch: int, n: int) -> torch.Tensor:
        """The images of one epoch in random order, without the remainder that fills no batch."""
        order = torch.randperm(n, generator=seeded(self.recipe.seed, epoch, 0))
        return order[: self.recipe.steps_per_epoch(n) * self.recipe.batch_size]

    # ---------------------------------------------------------------------------------------------- checks
    def check(self, data: Sequence[Example] | Features) -> None:
        """Raise ValueError where data do not go with the learner or the recipe; TypeError for an unfit method."""
        if self.learner.max_classes_at_once is not None:
            self.learner.check_groups()
        if not len(data):
            raise ValueError("no training images: is this the empty training list of a test-only data set?")
        is_features = isinstance(data, Features)
        check_same_classes(data.classnames if is_features else label_names(data), self.learner.classnames)
        if is_features:
            views = len(data.image_features) if data.image_features.ndim == 3 else None
            if views != self.recipe.views:
                raise ValueError(
                    f"the recipe wants views={self.recipe.views!r}, and the features have views={views!r}: "
                    f"take dataclasses.replace(recipe, views={views!r}), or give fit() the examples "
                    "themselves"
                )


def _digest(data: Sequence[Example] | Features) -> str:
    """A checksum of the features, bit for bit, or of the contents of the image files, wherever they lie."""
    if isinstance(data, Features):
        return tensor_digest(data.image_features)
    contents = (sha256(example.image) if Path(example.image).is_file() else "" for example in data)
    return hashlib.sha256(" ".join(contents).encode()).hexdigest()[:16]


def _check_overrides(trainer: type, learner: type) -> None:
    """TypeError where somebody's subclass overrides what no training calls: it would train plain CoOp in silence."""
    if hasattr(trainer, "loss"):
        raise TypeError(
            f"{trainer.__name__}.loss would never be called: what is minimised is the learner's. Override "
            "PromptLearner.objective, which every way of training calls."
        )
    idle = [name for name in ("loss", "logits") if getattr(learner, name) is not getattr(PromptLearner, name)]
    if idle and learner.objective is PromptLearner.objective:
        raise TypeError(
            f"{learner.__name__} overrides {' and '.join(idle)}, which training never calls. Override objective, which "
            "every way of training calls."
        )


def _labels(data: Sequence[Example] | Features) -> torch.Tensor:
    return data.labels if isinstance(data, Features) else torch.tensor([example.label for example in data])
