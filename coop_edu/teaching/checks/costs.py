"""Checkers of notebooks 05 and 08: steps, learned numbers, arithmetic and memory, counted before a training."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, parts_of


@checker
def check_training_steps(solution: Callable) -> str:
    """Steps of a training: `solution(n_classes, shots, epochs, batch_size) -> int` (the authors' drop_last rule)."""
    classes, shots, epochs, batch = case = 37, 15, 200, 32  # 555 images: 17 full batches and a remainder
    given = answer_of(solution, *case)
    mistakes = {
        epochs * -(-classes * shots // batch): "the last batch is not full, and is left out; round down",
        epochs * classes * shots / batch: "a part of a step is counted; full batches only, so use //",
        epochs * classes * shots: "that counts images; a step takes a whole batch of them",
        classes * shots // batch: "that is one epoch; the training has `epochs` of them",
        epochs * (classes // batch): "each class has `shots` images, not one",
        epochs * classes * shots // batch: "the remainder is dropped in every epoch, not once in the end",
    }
    right = epochs * (classes * shots // batch)
    if given != right:
        raise Wrong(mistakes.get(given, f"for {case} it should be {right:,}, and is {given!r}"))
    if (given := answer_of(solution, 10, 1, 50, 32)) != 50:
        none = "10 images do not fill a batch of 32, but they are trained on: one step per epoch"
        raise Wrong(none if given == 0 else f"for 10 classes, 1 shot and 50 epochs it should be 50, and is {given!r}")
    if (given := answer_of(solution, 10, 5, 100, 32)) != 100:
        rounded = "the part of a batch is rounded up to a whole one; full batches only, so use //"
        other = f"for 10 classes, 5 shots and 100 epochs it should be 100, and is {given!r}"
        raise Wrong(rounded if given == 200 else other)
    if (given := answer_of(solution, 100, 8, 200, 16)) != 10_000:
        raise Wrong(f"for 100 classes, 8 shots, 200 epochs, batches of 16 it is not {given!r}: is the size typed in?")
    return f"{right:,} steps for {classes} classes and {shots} shots, and one per epoch if there is less than a batch."


@checker
def check_parameter_count(solution: Callable) -> str:
    """Learned numbers of a class-specific context: `solution(n_classes, n_ctx, width) -> int` (Section 3.2)."""
    n_classes, n_ctx, width = 100, 16, 512
    given = answer_of(solution, n_classes, n_ctx, width)
    mistakes = {
        n_ctx * width: "that is the unified context, which all classes share; class-specific has one for each class",
        n_classes * width: "that is one vector per class; each context has n_ctx of them",
        n_classes * n_ctx: "that counts the vectors; each has `width` numbers",
        n_classes * (n_ctx + 1) * width: "the class name is counted too, but its tokens are frozen",
        (n_classes + n_ctx) * width: "classes and context vectors are added; every class has its own context",
        n_classes * (n_ctx + 2) * width: "SOS and EOT are counted too, but they are frozen",
    }
    if given in mistakes:
        raise Wrong(mistakes[given])
    cases = [(n_classes, n_ctx, width), (1, 4, 128), (37, 1, 640)]
    for case in cases:
        if (given := answer_of(solution, *case)) != math.prod(case):
            raise Wrong(f"for {case[0]} classes, {case[1]} vectors, width {case[2]} it is not {given}")
    return f"{n_classes} classes with 16 vectors of 512 numbers: {math.prod(cases[0]):,}; unified are 8,192."


@checker
def check_run_cost(solution: Callable) -> str:
    """Arithmetic and memory of a training, before it starts.

    `solution(images, classes, epochs, batch_size, image_flops, prompt_flops, prompt_bytes, encode_once)` gives
    `(flops, bytes)`. A step encodes `batch_size` images (`image_flops` each) and the prompts of all classes
    (`prompt_flops` each, and as much again for the backward pass, as the weights are frozen). The backward pass needs
    `prompt_bytes` for each class, which are free again after the step. With `encode_once` each image is encoded once,
    before the first step.
    """
    for once in (False, True):
        case = images, classes, epochs, batch, image, prompt, size = 555, 37, 20, 32, 7.0e9, 3.0e9, 2.0e6
        given = parts_of(answer_of(solution, *case, once), 2, "two numbers, operations and bytes")
        steps = epochs * (images // batch)
        image_side, text_side = (images if once else steps * batch) * image, steps * 2 * classes * prompt
        flops, kept, rounded_up = image_side + text_side, classes * size, epochs * -(-images // batch)
        mistakes = {
            "every image is encoded once and for all; here each step encodes its batch": images * image + text_side,
            "the images are encoded in every step; with encode_once each is encoded once":
                steps * batch * image + text_side,
            "the way back is missing on the text side": image_side + text_side / 2,
            "the weights are frozen: the way back costs as much as the way there, not twice as much":
                image_side + 1.5 * text_side,
            "the image side has a way back here; nothing is learned there": 2 * image_side + text_side,
            "the text side encodes a prompt for each image; it is one for each class":
                image_side + steps * 2 * batch * prompt,
            "the text side is missing": image_side,
            "that is one step; the training has many": batch * image + 2 * classes * prompt,
            "that is one epoch": image_side / (1 if once else epochs) + text_side / epochs,
            "the part of a batch at the end of an epoch is left out; round down":
                (images if once else rounded_up * batch) * image + rounded_up * 2 * classes * prompt,
        }  # fmt: skip
        memory = {
            "the memory of a step is free again after it; do not multiply by the steps": steps * kept,
            "the images keep nothing: no gradient goes back to them": (classes + batch) * size,
            "memory is kept for each class, not for each image of the batch": batch * size,
        }
        if abs(float(given[1]) / kept - 1) > 1e-6:
            near = [why for why, wrong in memory.items() if abs(float(given[1]) / wrong - 1) < 1e-6]
            raise Wrong(near[0] if near else f"it should be {kept:.4g} bytes, and is {float(given[1]):.4g}")
        compare(float(given[0]), torch.tensor(flops, dtype=torch.double), mistakes, relative=1e-6)
    flops, _ = answer_of(solution, 10, 10, 50, 32, 1.0, 0.0, 0.0, False)
    if flops != 50 * 10:
        raise Wrong("ten images do not fill a batch of 32: a step takes all ten, and there is one in each epoch")
    return "counted before it is paid: the image side grows with the images, the text side with the classes."
