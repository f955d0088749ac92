"""The second stage of MiniCLIP's pretraining: its text encoder learns to read captions as the web writes them.

    python scripts/pretrain_text.py --package node_modules/@iconify/json --work build/ --candidate half

The image encoder stays as the first stage (pretrain_miniclip.py) left it, so the features of all drawings are computed
once, and a linear probe on them does not change. Only the text encoder is trained on, with CLIP's own loss. The start
is the first stage's weights, WORK/first_stage.safetensors.
The features take half an hour on two cores, a training ten minutes. Both are resumable: kill it, start it again.
Leaves out: which words surround a caption (web_captions.py), which candidate is taken (judge_text.py).
"""

import argparse
import json
import math
import random
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import build_iconnet
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from pretrain_miniclip import (
    CONFIG,
    VALIDATION_FAMILIES,
    augment,
    contrastive_loss,
    encode_text,
    epoch_order,
    export,
    normalise,
    standardise,
)
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import captions
from web_captions import CANDIDATES, Foreign, Web

VIEWS = 2  # of each drawing: the plain one, and one turned, stretched and shifted
PART = 4096  # drawings whose features are one file
AVERAGE = 0.98  # the weights that are kept are a running mean over about fifty steps
BETWEEN = 100  # steps between two lines of the log, and two saved states


def start_model(work: Path) -> open_clip.CLIP:
    model = open_clip.CLIP(**{k: dict(v) if isinstance(v, dict) else v for k, v in CONFIG.items()})
    weights = load_file(work / "first_stage.safetensors")
    model.load_state_dict(
        {name: w.float() if w.is_floating_point() else w for name, w in weights.items()}, strict=False
    )
    return model


@torch.inference_mode()
def image_features(model: open_clip.CLIP, c: build_iconnet.Collection, members: list[int], folder: Path) -> np.ndarray:
    """(VIEWS, N, E), normalised, in half precision; computed in parts, each kept on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    model.visual.to(memory_format=torch.channels_last).eval()
    views = []
    for view in range(VIEWS):
        parts = []
        for start in range(0, len(members), PART):
            file = folder / f"view{view}_{start:06}.npy"
            if not file.exists():
                some, found = members[start : start + PART], []
                generator = torch.Generator().manual_seed(1_000_000 * view + start)
                for first in range(0, len(some), 256):
                    images = normalise(torch.from_numpy(c.images[some[first : first + 256]]))
                    images = augment(images, generator) if view else images
                    with torch.autocast("cpu", torch.bfloat16):
                        features = model.encode_image(standardise(images))
                    found.append(F.normalize(features.float(), dim=-1).half().numpy())
                np.save(file.with_suffix(".part.npy"), np.concatenate(found))
                file.with_suffix(".part.npy").replace(file)
                print(f"features: view {view}, {start + len(some)} of {len(members)}", flush=True)
            parts.append(np.load(file))
        views.append(np.concatenate(parts))
    return np.stack(views)


class Material:
    """The drawings to train on, in groups (a thing of a designer in all its styles), their features and captions."""

    def __init__(self, package: Path, work: Path):
        c = build_iconnet.Collection(package, work)
        selection = json.loads((work / "selection.json").read_text())
        members = [i for i in selection["pretraining"] if c.drawings[i].family not in VALIDATION_FAMILIES]
        groups = defaultdict(list)
        for place, i in enumerate(members):
            groups[c.group(i)].append(place)
        self.groups = list(groups.values())
        tags = captions.read_tags(package.parent.parent)
        self.facts = [captions.facts_of(c, i, tags) for i in members]
        self.features = torch.from_numpy(image_features(start_model(work), c, members, work / "features"))  # (V, N, E)


class Batches:
    """Batch `step`: the same in every run with this seed, whichever step a run starts at."""

    def __init__(self, material: Material, web: Web, seed: int):
        self.material, self.web, self.seed = material, web, seed
        self.tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
        self.foreign = Foreign(self.tokenizer, web)
        # With one style of each thing, it is the same one in every epoch.
        self.groups = [group[: web.styles] if web.styles == 1 else group for group in material.groups]
        self.per_epoch = len(epoch_order(self.groups, 0)) // web.batch_size
        self.order: tuple[int, list[int]] = (-1, [])  # of the epoch that is under way

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Image features (B, E), captions (B, L) with foreign tokens, and rows that are equal for right answers."""
        size = self.web.batch_size
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.order[0]:
            self.order = epoch, epoch_order(self.groups, 1000 + epoch)
        drawings = self.order[1][place * size : (place + 1) * size]
        draw = random.Random(f"{self.seed}/{step}")
        room, long = draw.choice(self.web.rooms), draw.random() < 0.2
        plain = [
            self.tokenizer.encode(captions.caption(self.material.facts[i], long=long, draw=draw)) for i in drawings
        ]
        surrounded = [self.foreign.around(caption, room, plain, draw) for caption in plain]
        view = [draw.randrange(self.web.views) for _ in drawings]
        if self.web.by_name:
            names = [self.material.facts[i].words for i in drawings]
            same = torch.tensor([[names.index(name)] for name in names])
        else:
            same = self.ids(plain, room)
        return self.material.features[view, drawings].float(), self.ids(surrounded, room), same

    def ids(self, texts: list[list[int]], room: int) -> torch.Tensor:
        """(B, room + 2): start, text, end, zeros."""
        ids = np.zeros((len(texts), room + 2), np.int64)
        for row, text in zip(ids, texts):
            tokens = [self.tokenizer.sot_token_id, *text[:room], self.tokenizer.eot_token_id]
            row[: len(tokens)] = tokens
        return torch.from_numpy(ids)


def train(material: Material, web: Web, work: Path, run: Path, seed: int) -> None:
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = start_model(work)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
    learned = [p for name, p in model.named_parameters() if not name.startswith("visual.")]
    learned = [p for p in learned if p is not model.logit_scale or web.temperature]
    model.requires_grad_(False)
    for parameter in learned:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW([{"params": [p for p in learned if p.ndim >= 2], "weight_decay": 0.1},
                                   {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0}],
                                  lr=web.lr, betas=(0.9, 0.98), fused=True)  # fmt: skip
    state_file, log_file = run / "state.pt", run / "pretraining_log_text.jsonl"
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"], strict=False)
        averaged.load_state_dict(state["averaged"], strict=False)
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        print(f"resumed after step {first}", flush=True)
    batches, losses, started = Batches(material, web, seed), [], time.time()
    for step in range(first, web.steps):
        for group in optimizer.param_groups:
            group["lr"] = web.lr * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / web.steps))
        features, ids, same = batches(step)
        # For texts this short, the plain attention is twice as fast as the fused one, whose backward pass is slow.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            texts = encode_text(model, ids)
        # Two drawings of one caption are both right answers, whatever foreign tokens stand around it.
        loss = contrastive_loss(features, texts.float(), model.logit_scale.exp(), same)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        averaged.update_parameters(model)
        losses.append(loss.item())
        if (step + 1) % BETWEEN == 0 or step + 1 == web.steps:
            entry = {"step": step + 1, "loss": float(np.mean(losses)), "scale": model.logit_scale.exp().item()}
            entry["seconds"] = round(time.time() - started, 1)
            state = {"model": model.state_dict(), "averaged": averaged.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, state_file.with_suffix(".part"))
            state_file.with_suffix(".part").replace(state_file)
            with log_file.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            print(run.name, entry, flush=True)
            losses, started = [], time.time()
    export(averaged.module, run)
    state_file.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where build_iconnet.py left its lists")
    parser.add_argument(
        "--candidate", nargs="*", default=[], choices=CANDIDATES, help="none: compute the features only"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    material = Material(arguments.package, arguments.work)
    for name in arguments.candidate:
        run = arguments.work / "text" / (name if arguments.seed == 0 else f"{name}_seed{arguments.seed}")
        if not (run / "miniclip.safetensors").exists():
            print(name, asdict(CANDIDATES[name]), flush=True)
            train(material, CANDIDATES[name], arguments.work, run, arguments.seed)


if __name__ == "__main__":
    main()
