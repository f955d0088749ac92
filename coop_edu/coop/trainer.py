"""Training a prompt: gradient descent on the context vectors and on nothing else (paper's Section 3.2).

Cross entropy over Eq. 3's probabilities, SGD, the learning rate and the number of epochs of recipe.py; the last epoch
is the result, nothing is selected.  A resumed training gives the result of an uninterrupted one.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.bars import progress_bar
from coop_edu.coop.checkpoints import resume_training, save_training
from coop_edu.coop.history import EpochSums, History, StopTraining, TrainerState, check_finite, check_usable
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.coop.training_data import (
    Batches,
    Plan,
    TrainingData,
    batches_of_crops,
    batches_of_features,
    check_data,
    digest_of,
    labels_of,
)
from coop_edu.data.batches import read_batches
from coop_edu.data.dataset import Example
from coop_edu.data.features import Features, extract_features
from coop_edu.files import check_replaceable
from coop_edu.records import whole_number

Step = tuple[Float[Tensor, ""], Float[Tensor, "B K"]]  # the loss and the logits, detached
SYNC_EVERY = 50  # GPU steps between two checks of the loss: each check waits for the GPU


class Trainer:
    """Trains a PromptLearner by a recipe.

    device: "auto" trains where the learner's CLIP is (load_clip chose cuda, mps or cpu).  Any other device moves the
    learner and its CLIP there; other learners on this CLIP raise an error until they are moved too.  What is minimised
    is `learner.objective`.
    callback(state) is called once per epoch with a TrainerState; raising StopTraining in it ends the training.
    checkpoint: a file, also readable by `load_prompt`, replaced in one step every `checkpoint_every` epochs and after
    the last.  workers: processes that read images.

    Raises TypeError if callback is not callable, or if a subclass overrides a method that training never calls; OSError
    for a checkpoint that could not be written.

        history = Trainer(learner, Recipe.paper(shots=16)).fit(shots)
    """

    optimizer: torch.optim.Optimizer  # made anew by each fit(), as the scaler is
    scaler: torch.amp.GradScaler

    def __init__(
        self,
        learner: PromptLearner,
        recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
        *,
        device: str | torch.device = "auto",
        callback: Callable[[TrainerState], object] | None = None,
        progress: bool = True,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 1,
        workers: int = 0,
    ) -> None:
        _check_overrides(type(self), type(learner))
        self.interrupted = False
        self.learner, self.recipe, self._recipe_as_given = learner, recipe, recipe
        if callback is not None and not callable(callback):
            raise TypeError(f"expected callback to be a function of a TrainerState, got {callback!r:.80}")
        self.callback, self.progress = callback, progress
        self.workers = whole_number(workers, "workers", at_least=0)
        self.checkpoint = None if checkpoint is None else check_replaceable(checkpoint)
        self.checkpoint_every = whole_number(checkpoint_every, "checkpoint_every", at_least=1)
        self.device = learner.clip.device if device == "auto" else torch.device(device)
        if device != "auto":
            learner.clip.to(self.device)
        learner.to(self.device)

    def fit(self, data: TrainingData, *, resume: bool = False) -> History:
        """Train for all the recipe's epochs, on examples (images) or on features computed before.

        Returns the history, also after StopTraining or an interrupt in a notebook.  A second call goes on from what was
        learned, with the learning rates from their start.  resume=True continues from the checkpoint, or starts if it
        does not exist.  Raises ValueError if data and learner disagree on the classes, features and recipe on the
        views, or checkpoint and this training on anything; FloatingPointError if the loss or the context is not finite.
        """
        self.check(data)
        recipe = self.count_epochs(len(data))
        training, history = self._begin(data, resume)
        batches, steps = self.batches(data, first_epoch=len(history)), recipe.steps_per_epoch(len(data))
        epochs = range(len(history), recipe.epochs)
        with self._interruptible(history):
            for epoch in progress_bar(epochs, desc="learning the prompt", show=self.progress, delay=2):
                image_features = self._run_epoch(epoch, batches, steps, history)
                self._save_if_due(epoch, epoch + 1 == recipe.epochs, image_features, training, history)
                if self._callback_stops(TrainerState(epoch + 1, recipe.epochs, history, self.learner, steps)):
                    self._save_if_due(epoch, True, image_features, training, history)
                    break
        return history

    # ------------------------------------------------------------------------------------ one epoch, one step
    def _run_epoch(self, epoch: int, batches: Batches, steps: int, history: History) -> Float[Tensor, "B E"]:
        """One epoch; returns the image features of its last batch."""
        sums = EpochSums(self.device)
        # Set by hand, without a scheduler of torch: to resume, the number of the epoch is enough.
        lr = self.optimizer.param_groups[0]["lr"] = self.recipe.learning_rate(epoch)
        look_every = 1 if self.device.type == "cpu" else SYNC_EVERY
        for step in range(1, steps + 1):
            image_features, labels = next(batches)  # (B, E), (B,)
            sums.add(*self.step(image_features, labels), labels)
            if step % look_every == 0 or step == steps:
                check_finite(sums, epoch, dict(self.learner.named_parameters()), self.recipe)
        history.add(sums, lr)
        return image_features

    def step(self, image_features: Float[Tensor, "B E"], labels: Int[Tensor, " B"]) -> Step:
        """One step of gradient descent: its loss and logits (B, K). A subclass may do more before or after it."""
        learner = self.learner
        self.optimizer.zero_grad()
        # Two paths, one gradient: groups of classes where the graph of all K does not fit into memory.
        if learner.max_classes_at_once is not None:
            with self.autocast():
                loss, logits = learner.backward_in_chunks(image_features, labels, self.scaler.scale)
        else:
            with self.autocast():
                text_features = learner(learner.context(image_features))  # (K, E): w_i = g(t_i)
            # float(): softmax and loss in float32, under autocast too.
            loss, logits = learner.objective(image_features, text_features.float(), labels)
            self.scaler.scale(loss).backward()  # float16 only: scaled up, so that small gradients do not become 0
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), logits.detach()

    def count_epochs(self, n: int) -> Recipe:
        """Set `recipe` to the number of epochs that n training images need: a recipe may be counted in steps."""
        self.recipe = self._recipe_as_given.for_images(n)
        return self.recipe

    def autocast(self) -> torch.autocast:
        """The recipe's precision, for the text and image encoders."""
        dtype, enabled = getattr(torch, self.recipe.precision), self.recipe.precision != "float32"
        return torch.autocast(self.device.type, dtype=dtype, enabled=enabled)

    # -------------------------------------------------------------------------------------------- the batches
    def batches(self, data: TrainingData, first_epoch: int = 0) -> Batches:
        """(image features (B, E), labels (B,)), one epoch after the other."""
        recipe, labels = self.recipe, labels_of(data).to(self.device)
        epochs = range(first_epoch, recipe.epochs)
        if isinstance(data, Features):
            features = data
        elif isinstance(recipe.views, str):  # "fresh"
            return batches_of_crops(labels, recipe, epochs, lambda plan: self._encode(data, plan))
        else:
            features = extract_features(
                self.learner.clip,
                data,
                views=recipe.views,
                seed=recipe.seed,
                workers=self.workers,
                progress=self.progress,
            )
        return batches_of_features(features.image_features.to(self.device), labels, recipe, epochs)

    def _encode(self, examples: Sequence[Example], plan: Plan) -> Iterator[Tensor]:
        """Image features (B, E) of each batch of pairs (position, view)."""
        clip = self.learner.clip
        for images in read_batches(clip, examples, plan, seed=self.recipe.seed, workers=self.workers):
            with self.autocast():
                features = clip.encode_image(images)
            yield features.float()

    def check(self, data: TrainingData) -> None:
        """ValueError if the data do not fit the learner or recipe; TypeError as in `learner.check_groups`."""
        if self.learner.max_classes_at_once is not None:
            self.learner.check_groups()
        check_data(data, self.learner, self.recipe)

    # ---------------------------------------------------------------------------- begin, keep, stop: around the loop
    def _begin(self, data: TrainingData, resume: bool) -> tuple[dict[str, Any], History]:
        """Make the optimizer, or restore the checkpoint's.  Returns what the training depends on, and the history."""
        self.interrupted = False
        self.optimizer = self.recipe.optimizer(self.learner.parameters())
        self.scaler = torch.amp.GradScaler(
            self.device.type,
            init_scale=1024,  # torch's 2^16 overflows at first, which skips steps: a short training has few
            enabled=self.recipe.precision == "float16",
        )
        training = {} if self.checkpoint is None else self.depends_on(data)
        if not resume or self.checkpoint is None or not self.checkpoint.is_file():
            return training, History()
        saved = resume_training(self.learner, self.checkpoint, self.optimizer, self.scaler, training)
        return {**training, "start": self.learner.start}, History(**saved)

    def _save_if_due(
        self, epoch: int, last: bool, image_features: Float[Tensor, "B E"], training: dict[str, Any], history: History
    ) -> None:
        """Write the checkpoint if due.  At each save, and at the end, raise if the text features are not finite."""
        due = self.checkpoint is not None and (last or (epoch + 1) % self.checkpoint_every == 0)
        if due or last:
            check_usable(self.learner, image_features, epoch, self.recipe)
        if due and self.checkpoint is not None:
            save_training(self.learner, self.checkpoint, self.optimizer, self.scaler, training, asdict(history))

    def _callback_stops(self, state: TrainerState) -> bool:
        """Call the callback; True if it raised StopTraining."""
        try:
            if self.callback is not None:
                self.callback(state)
        except StopTraining:
            return True
        return False

    @contextmanager
    def _interruptible(self, history: History) -> Iterator[None]:
        """Ctrl-C in a notebook ends the loop, and says how far it came."""
        try:
            yield
        except KeyboardInterrupt:
            if not hasattr(builtins, "__IPYTHON__"):  # a script must not go on with it
                raise
            self.interrupted = True
            print(
                f"interrupted: {len(history)} of {self.recipe.epochs} epochs are done. The learner keeps the values of "
                "its last step; to start over, make a new learner."
            )

    def depends_on(self, data: TrainingData) -> dict[str, Any]:
        """What must be the same when a training is resumed, besides the learner's options."""
        return {
            "recipe": asdict(self.recipe),
            "labels": labels_of(data).tolist(),
            "images": digest_of(data),
            "start": self.learner.start,
            "trainer": type(self).__name__,
        }


def _check_overrides(trainer: type[Trainer], learner: type[PromptLearner]) -> None:
    """TypeError if a subclass overrides a method that training never calls: it would train plain CoOp unnoticed."""
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
