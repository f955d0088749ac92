"""How many classes fit into memory at once, forward and backward."""

from __future__ import annotations

from pathlib import Path

import torch

from coop_edu.clip.parts import Model
from coop_edu.clip.prompt_encoder import PromptEncoder
from coop_edu.clip.text_encoding import SlowEncoder
from coop_edu.clip.text_towers import text_tower


def classes_that_fit(encoder: PromptEncoder | SlowEncoder, model: Model, contexts: int = 1) -> int | None:
    """How many classes fit into memory in one forward and backward pass; None if all fit or free memory is unknown.

    contexts: how many are encoded at once, where each image has its own.  Half of the free memory may be used.
    We count 30 numbers per token, layer and unit of width; autograd was measured to keep 14 to 21.
    """
    tower = text_tower(model)
    weight = tower.token_embedding.weight  # (vocabulary, D)
    layers = len(getattr(tower.transformer, "resblocks", ())) or 12
    need = contexts * 30 * encoder.tokens_computed * layers * weight.shape[1] * weight.element_size()
    free = free_memory(weight.device)
    if free is None or need <= free / 2:
        return None
    return max(1, int(encoder.n_classes * free / 2 / need))


def free_memory(device: torch.device) -> int | None:
    """Free bytes on a CUDA device, or of a Linux machine; None where torch and the system do not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu" and Path("/proc/meminfo").is_file():
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None
