"""Checker of notebook 08: arithmetic and memory, counted before a training."""

from __future__ import annotations

from collections.abc import Callable

import torch

from coop_edu.teaching.verdicts import Wrong, answer_of, checker, compare, parts_of


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
        run_on = epochs * images // batch  # as if the epochs were one long list
        mistakes = {
            "every image is encoded once and for all; here each step encodes its batch": images * image + text_side,
            "the images are encoded in every step; with encode_once each is encoded once":
                steps * batch * image + text_side,
            "the backward pass is missing on the text side": image_side + text_side / 2,
            "the weights are frozen: the backward pass costs as much as the forward pass, not twice as much":
                image_side + 1.5 * text_side,
            "the image side has a backward pass here; nothing is learned there": 2 * image_side + text_side,
            "the text side encodes a prompt for each image; it is one for each class":
                image_side + steps * 2 * batch * prompt,
            "the text side is missing": image_side,
            "that is one step; the training has many": batch * image + 2 * classes * prompt,
            "that is one epoch": image_side / (1 if once else epochs) + text_side / epochs,
            "the part of a batch at the end of an epoch is left out; round down":
                (images if once else rounded_up * batch) * image + rounded_up * 2 * classes * prompt,
            "round down in each epoch, and multiply then: an epoch takes no image from the next":
                (images if once else run_on * batch) * image + run_on * 2 * classes * prompt,
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
