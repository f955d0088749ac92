"""Solutions of the exercises on which later cells build, so that a notebook runs before its reader has written them.

`finished(sample)` is the reader's own function as soon as its checker says *right*, and until then the solution here.
The notebooks have the same solutions folded under the exercises (tests/test_checks.py compares them).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from scipy.special import stdtrit

from coop_edu.coop.cocoop import CoCoOp
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.teaching.checks.building import check_encoding, check_group_gradient, check_prompt_learner
from coop_edu.teaching.checks.larger import check_gradient_in_groups, check_search
from coop_edu.teaching.checks.later import (
    check_control,
    check_domain,
    check_entropy_method,
    check_image_context,
    check_most_confused,
    check_split_move,
    check_tied,
)
from coop_edu.teaching.checks.loop import check_loss, check_step, check_training_loop
from coop_edu.teaching.checks.prompts import check_class_probabilities, check_or_none, check_prompt_assembly
from coop_edu.teaching.checks.results import (
    check_average,
    check_images_needed,
    check_two_ways,
)
from coop_edu.teaching.checks.training import check_learning_rate, check_sampler
from coop_edu.teaching.verdicts import RIGHT


def probabilities(image_features: torch.Tensor, text_features: torch.Tensor, temperature: float) -> torch.Tensor:
    cosines = F.normalize(image_features, dim=1) @ F.normalize(text_features, dim=1).T  # (B, K)
    return (cosines / temperature).softmax(dim=1)


def or_none(image_features: torch.Tensor, text_features: torch.Tensor, least: float) -> torch.Tensor:
    cosines = F.normalize(image_features, dim=1) @ F.normalize(text_features, dim=1).T  # (B, K)
    best, classes = cosines.max(dim=1)
    return torch.where(best >= least, classes, -1)


def prompt_of(sos: torch.Tensor, ctx: torch.Tensor, name: torch.Tensor, eot: torch.Tensor) -> torch.Tensor:
    return torch.cat([sos, ctx, name, eot])  # positions are rows


def encode(text, prompt: torch.Tensor) -> torch.Tensor:
    L = len(prompt)
    x = prompt + text.positional_embedding[:L]  # (L, D)
    x = text.transformer(x[None], attn_mask=text.attn_mask[:L, :L])[0]  # (L, D)
    return text.ln_final(x)[-1] @ text.text_projection  # read at EOT, the last: (E,)


def loss_of(w: torch.Tensor, f: torch.Tensor, y: torch.Tensor, logit_scale: float) -> torch.Tensor:
    p = (logit_scale * F.normalize(f) @ F.normalize(w).T).softmax(dim=1)  # Eq. 3: (B, K)
    return -p[torch.arange(len(y)), y].log().mean()


def step(learner, image_features: torch.Tensor, labels: torch.Tensor, rate: float) -> float:
    loss = learner.loss(image_features, labels)
    (gradient,) = torch.autograd.grad(loss, learner.ctx)  # (M, D)
    with torch.no_grad():
        learner.ctx -= rate * gradient  # v <- v - rate * gradient
    return loss.item()


def sample(labels: list[int], k: int, seed: int) -> list[int]:
    generator = random.Random(seed)  # our own, so that nobody else is disturbed
    positions: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        positions.setdefault(label, []).append(position)
    return [i for group in positions.values() for i in generator.sample(group, min(k, len(group)))]


def learning_rate(epoch: int, epochs: int) -> float:
    if epoch == 0:
        return 1e-5
    return 0.002 * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


def train(learner, image_features, labels, batches, rates):
    optimizer = torch.optim.SGD(learner.parameters(), lr=rates[0], momentum=0.9, weight_decay=5e-4)
    losses = []
    for rate, epoch in zip(rates, batches):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for batch in epoch:
            loss = learner.loss(image_features[batch], labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


class MyPromptLearner(torch.nn.Module):
    def __init__(self, clip, classnames, ctx):
        super().__init__()
        self.ctx = torch.nn.Parameter(ctx)
        self.text = clip.model  # its weights are frozen: requires_grad_(False)
        table, tokenizer = clip.model.token_embedding.weight, clip.tokenizer
        self.start, self.end = table[[tokenizer.sot_token_id]], table[[tokenizer.eot_token_id]]
        self.names = [table[tokenizer.encode(name + ".")] for name in classnames]

    def forward(self):
        prompts = [torch.cat([self.start, self.ctx, name, self.end]) for name in self.names]  # (L_i, D) each
        x = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)  # (K, L, D); nothing sees what is behind EOT
        K, L, _ = x.shape
        x = self.text.transformer(x + self.text.positional_embedding[:L], attn_mask=self.text.attn_mask[:L, :L])
        ends = [len(prompt) - 1 for prompt in prompts]
        return self.text.ln_final(x[range(K), ends]) @ self.text.text_projection  # (K, E)


def group_gradient(grad: torch.Tensor, group: torch.Tensor, G: int) -> torch.Tensor:
    return torch.zeros(G, *grad.shape[1:]).index_add(0, group, grad)


def two_ways(logits: torch.Tensor, labels: torch.Tensor, own: list[int]) -> tuple[float, float]:
    columns = torch.tensor(own)
    among_all = logits.argmax(dim=1) == columns[labels]
    among_own = logits[:, columns].argmax(dim=1) == labels
    return 100 * among_all.double().mean().item(), 100 * among_own.double().mean().item()


def my_domain(image):
    return image.resize((16, 16)).resize(image.size, Image.Resampling.NEAREST)


def average_and_interval(accuracies: dict[str, list[float]]) -> tuple[float, float]:
    by_seed = [sum(column) / len(column) for column in zip(*accuracies.values())]  # the average of each seed
    n = len(by_seed)
    mean = sum(by_seed) / n
    variance = sum((value - mean) ** 2 for value in by_seed) / (n - 1)
    return mean, stdtrit(n - 1, 0.975) * (variance / n) ** 0.5


def images_needed(leads: dict[int, tuple[float, float]]) -> int | str:
    needed: int | str = "never"
    for k in sorted(leads, reverse=True):  # from many images to few
        mean, half = leads[k]
        if not mean > half:
            break
        needed = k
    return needed


def gradient_in_groups(encode, ctx: torch.Tensor, loss_of, groups) -> torch.Tensor:
    with torch.no_grad():
        parts = [encode(ctx, group) for group in groups]
    features = torch.cat(parts).requires_grad_()  # (K, E), a leaf: the gradient stops here
    (of_features,) = torch.autograd.grad(loss_of(features), features)
    total = torch.zeros_like(ctx)
    for group, part in zip(groups, of_features.split([len(part) for part in parts])):
        total += torch.autograd.grad(encode(ctx, group), ctx, part)[0]  # the chain rule, through one group
    return total


class Tied(PromptLearner):
    def context(self, image_features):
        return self.ctx[:1].expand_as(self.ctx)  # (M, D): one row, M times


def split_move(before: torch.Tensor, after: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    move = after - before  # (K, E)
    common = move.mean(dim=0)  # (E,)
    return common, move - common


def control(recipe, M: int):
    return replace(recipe, lr=recipe.lr / M)


def search_words(vocabulary, loss, length):
    found = []
    for _ in range(length):
        losses = {word: loss([*found, word]) for word in vocabulary}
        found.append(min(losses, key=losses.get))
    return found


class MyCoCoOp(CoCoOp):
    def context(self, image_features):
        shift = self.meta_net(F.normalize(image_features.to(self.ctx)))  # (B, D)
        return self.ctx + shift[:, None]  # (M, D) + (B, 1, D)


def most_confused(table):
    mistakes = table.to_numpy().copy()
    mistakes[range(len(table)), range(len(table))] = 0  # the diagonal is what was right
    row, column = divmod(mistakes.argmax(), len(table))
    return table.index[row], table.columns[column], mistakes[row, column]


class Sure(PromptLearner):
    def __init__(self, clip, classnames, *, weight: float = 0.5, **options):
        super().__init__(clip, classnames, **options)
        self.weight = weight

    def objective(self, image_features, text_features, labels):
        loss, logits = super().objective(image_features, text_features, labels)
        log_p = logits.log_softmax(dim=1)  # (B, K)
        entropy = -(log_p.exp() * log_p).sum(dim=1).mean()
        return loss + self.weight * entropy, logits


SOLVED: dict[str, tuple[Callable, Any]] = {
    "probabilities": (check_class_probabilities, probabilities),
    "or_none": (check_or_none, or_none),
    "prompt_of": (check_prompt_assembly, prompt_of),
    "encode": (check_encoding, encode),
    "loss_of": (check_loss, loss_of),
    "step": (check_step, step),
    "sample": (check_sampler, sample),
    "learning_rate": (check_learning_rate, learning_rate),
    "train": (check_training_loop, train),
    "MyPromptLearner": (check_prompt_learner, MyPromptLearner),
    "group_gradient": (check_group_gradient, group_gradient),
    "two_ways": (check_two_ways, two_ways),
    "my_domain": (check_domain, my_domain),
    "average_and_interval": (check_average, average_and_interval),
    "images_needed": (check_images_needed, images_needed),
    "gradient_in_groups": (check_gradient_in_groups, gradient_in_groups),
    "split_move": (check_split_move, split_move),
    "Tied": (check_tied, Tied),
    "control": (check_control, control),
    "search_words": (check_search, search_words),
    "MyCoCoOp": (check_image_context, MyCoCoOp),
    "most_confused": (check_most_confused, most_confused),
    "Sure": (check_entropy_method, Sure),
}


def finished(yours: Any) -> Any:
    """Your function or class, if its checker says *right*; else the solution of that name. Prints which.

    >>> finished(lambda labels, k, seed: None)
    Traceback (most recent call last):
    ...
    KeyError: "'<lambda>' is not an exercise: write yours with def or class, and give it the exercise's name"
    """
    if yours.__name__ not in SOLVED:
        raise KeyError(
            f"'{yours.__name__}' is not an exercise: write yours with def or class, and give it the exercise's name"
        )
    check, solution = SOLVED[yours.__name__]
    if yours is not solution and check(yours).status == RIGHT:
        print(f"{yours.__name__}: yours")
        return yours
    print(f"{yours.__name__}: the solution, until yours is right")
    return solution
