"""One training on several GPUs, with Hugging Face Accelerate; the result is that of one process.

A step of CoOp has two dear parts: the batch's images go through the image encoder, and the K prompts of Eq. 3 through
the text encoder, there and back.  Here each of n processes takes its share of both: an n-th of the images, an n-th of
the classes.  The features, which are small, are sent round, so that every process has the same logits and the same loss
of the whole batch, and the gradients of ctx are added up.  All take the same step; nothing has to be averaged that one
process would not have.

    # train.py:  accelerate launch --num_processes 2 train.py
    trainer = DistributedTrainer(learner, Recipe.paper(shots=16), checkpoint="prompt.safetensors")
    trainer.fit(shots)
    if trainer.is_main:
        print(accuracy(learner, dataset.test))

In a notebook the same lines, with the imports of torch and load_clip among them, are a function that
`accelerate.notebook_launcher(train, num_processes=2)` starts; nothing may have touched a GPU before.

Leaves out: the training itself (trainer.py).  Features that are computed once (views=None or a number) are computed
in every process: extract them before, and give fit() those.  Many small trainings: grid/run.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coop_edu.coop.history import History, TrainerState
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.coop.recipe import Recipe
from coop_edu.coop.trainer import Step, Trainer
from coop_edu.coop.training_data import Plan, TrainingData
from coop_edu.data.dataset import Example


class DistributedTrainer(Trainer):
    """A Trainer for one of several processes that Accelerate has started; with one process it is the Trainer.

    Options are the Trainer's, but for the device, which Accelerate chooses.  Progress, callback and checkpoint are
    those of process 0 (`is_main`); to resume, all processes must be able to read the checkpoint. Raises ImportError,
    with what to install, without Accelerate.
    """

    def __init__(
        self,
        learner: PromptLearner,
        recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
        *,
        callback: Callable[[TrainerState], object] | None = None,
        progress: bool = True,
        **options: Any,
    ) -> None:
        try:
            from accelerate import Accelerator
        except ModuleNotFoundError as error:
            raise ImportError(
                "training on several GPUs needs Hugging Face Accelerate: pip install 'coop_edu[distributed]'. On one "
                "device, Trainer does the same without it."
            ) from error
        self.accelerator = Accelerator()
        self.is_main = self.accelerator.is_main_process
        super().__init__(
            learner,
            recipe,
            device=self.accelerator.device,
            callback=callback if self.is_main else None,
            progress=progress and self.is_main,
            **options,
        )

    def fit(self, data: TrainingData, *, resume: bool = False) -> History:
        """As Trainer.fit, in every process; ValueError if there are more processes than classes or images per batch."""
        learner, n = self.learner, self.accelerator.num_processes
        learner.check_groups()
        K, B = len(learner.classnames), min(len(data), self.recipe.batch_size)
        if n > min(K, B):
            raise ValueError(
                f"{n} processes cannot share {K} classes and batches of {B} images: start at most {min(K, B)}"
            )
        at_once = min(K // n, learner.max_classes_at_once or K)
        options = {**learner.options(), "max_classes_at_once": at_once}
        groups = list(type(learner)(learner.clip, learner.classnames, **options).encoders)
        self.encoders = self._share(groups)  # of the classes whose prompts this process encodes
        self.n_classes = [sum(e.n_classes for e in self._share(groups, rank)) for rank in range(n)]
        return super().fit(data, resume=resume)

    def step(self, image_features: Float[Tensor, "B E"], labels: Int[Tensor, " B"]) -> Step:
        """As Trainer.step, for the whole batch."""
        learner = self.learner
        self.optimizer.zero_grad()
        with self.autocast(), torch.set_grad_enabled(learner.max_classes_at_once is None):
            table = learner.table(learner.context(image_features))
            # (K / n, E), or (B, K / n, E) where each image has prompts of its own
            own = torch.cat([encoder(table) for encoder in self.encoders], dim=-2)
        by_class = own.detach().float().transpose(0, -2)
        text_features = self._together(by_class, self.n_classes).transpose(0, -2)  # (K, E), or (B, K, E)
        text_features = text_features.detach().requires_grad_()
        loss, logits = learner.objective(image_features, text_features, labels)
        self.scaler.scale(loss).backward()
        for parameter in learner.parameters():
            if parameter.grad is not None and not self.is_main:
                parameter.grad.zero_()  # of an objective that looks at parameters itself: counted once
        assert text_features.grad is not None
        gradient = text_features.grad.split(self.n_classes, dim=-2)[self.accelerator.process_index]
        if learner.max_classes_at_once is None:
            own.backward(gradient.to(own.dtype))
        else:  # a graph for one group at a time, as backward_in_chunks explains
            sizes = [encoder.n_classes for encoder in self.encoders]
            for encoder, part in zip(self.encoders, gradient.split(sizes, dim=-2)):
                with self.autocast():
                    features = encoder(learner.table(learner.context(image_features)))
                features.backward(part.to(features.dtype))
        for parameter in learner.parameters():
            if parameter.grad is not None:
                parameter.grad = self.accelerator.reduce(parameter.grad, reduction="sum")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), logits.detach()

    def _encode(self, examples: Sequence[Example], plan: Plan) -> Iterator[Tensor]:
        """As Trainer._encode: this process reads and encodes its share of each batch."""
        n = self.accelerator.num_processes
        own = super()._encode(examples, [self._share(batch) for batch in plan])
        for features, batch in zip(own, plan, strict=True):
            yield self._together(features, [len(self._share(batch, rank)) for rank in range(n)])  # (B, E)

    def _enough(self, state: TrainerState) -> bool:
        """As Trainer._enough: process 0 has the callback, and all end together."""
        enough = torch.tensor(float(super()._enough(state)), device=self.device)
        return bool(self.accelerator.reduce(enough, reduction="sum"))

    def _save(self, path: Path, training: dict[str, Any], history: History) -> None:
        if self.is_main:
            super()._save(path, training, history)

    # ------------------------------------------------------------------------------------- shares, and the whole
    def _share(self, items: Sequence, rank: int | None = None) -> Sequence:
        """The part of a process, by default this one: neighbours, as many as every other has, or one more."""
        n, rank = self.accelerator.num_processes, self.accelerator.process_index if rank is None else rank
        return items[rank * len(items) // n : (rank + 1) * len(items) // n]

    def _together(self, own: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        """The rows of all processes, one after the other; gather wants equal numbers, so they are padded and cut."""
        padded = torch.cat([own, own.new_zeros(max(sizes) - len(own), *own.shape[1:])])
        parts = self.accelerator.gather(padded).split(max(sizes))
        return torch.cat([part[:size] for part, size in zip(parts, sizes)])
