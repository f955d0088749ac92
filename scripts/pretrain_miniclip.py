"""Pretrains MiniCLIP: a real CLIP of 12 million parameters on the drawings that IconNet leaves (build_iconnet.py).

    python scripts/pretrain_miniclip.py --package node_modules/@iconify/json --work build/ --run build/seed0

The captions are what designers publish (captions.py). The loss is CLIP's own (Radford et al. 2021, section 2.3): in a
batch, each image must find its caption and each caption its image.

Minutes on a GPU, hours on a CPU with bf16 products. Resumable: kill it, start it again. For the curve, validation
images of IconNet and the tasks are read, and whole families that are neither trained on nor taken from the tasks.
Leaves out: which drawings may be used (build_iconnet.py), the start of the token embeddings (word_vectors.py), how the
finished model is loaded (coop_edu/clip/models.py).
"""

import argparse
import json
import math
import multiprocessing
import multiprocessing.pool
import os
import random
import time
from collections import defaultdict
from pathlib import Path

import build_iconnet
import iconnet_classes
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import captions

CONFIG = {
    "embed_dim": 256,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 32, "head_width": 64},
    "text_cfg": {"context_length": 48, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}
VALIDATION_FAMILIES = {"griddy-icons", "jam", "clarity", "fontisto", "mage", "temaki"}
VALIDATION_TEMPLATES = ("{}", "{} icon", "an icon of a {}.", "a photo of a {}.")
AVERAGE = 0.99  # the weights that are validated and shipped are a running mean over about a hundred steps
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's own


# ----------------------------------------------------------------------------------------------------- the model
def encode_text(model: open_clip.CLIP, ids: torch.Tensor) -> torch.Tensor:
    """CLIP's encode_text for (B, L) ids that may be cut behind the last token: causal attention makes the cut exact."""
    length = ids.shape[1]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(ids)), ids.argmax(1)]  # the EOT has the highest id
    return x @ model.text_projection


def contrastive_loss(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """CLIP's symmetric loss; word for word equal captions (B, 48) in a batch are all right answers."""
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    number = torch.unique(ids, dim=0, return_inverse=True)[1]
    same = (number[:, None] == number[None]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def augment(images: torch.Tensor, generator: torch.Generator, strength: float = 1) -> torch.Tensor:
    """Small turns, stretchings, shifts and scalings on white, and in some images a thicker or a thinner pen.

    No flips: an arrow to the left is not one to the right."""
    n, device = len(images), images.device

    def around_zero(width: float) -> torch.Tensor:
        return strength * width * (2 * torch.rand(n, generator=generator, device=device) - 1)  # (n,)

    angle, scale, stretch = around_zero(0.2), 1.05 + around_zero(0.25), 1 + around_zero(0.12)
    theta = torch.zeros(n, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 0, 1] = scale * stretch * angle.cos(), -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = scale * angle.sin(), scale / stretch * angle.cos()
    theta[:, 0, 2], theta[:, 1, 2] = around_zero(0.12), around_zero(0.12)
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    ink = F.grid_sample(1 - images, grid, align_corners=False)
    pen = torch.rand(n, generator=generator, device=device)
    thicker, thinner = pen < 0.15 * strength, pen > 1 - 0.08 * strength
    ink[thicker] = F.max_pool2d(ink[thicker], 3, stride=1, padding=1)
    ink[thinner] = -F.max_pool2d(-ink[thinner], 3, stride=1, padding=1)
    return 1 - ink


def normalise(images: torch.Tensor) -> torch.Tensor:
    """(N, 64, 64, 3) bytes -> (N, 3, 64, 64) between 0 and 1."""
    return images.permute(0, 3, 1, 2).float() / 255


def standardise(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(x, device=images.device).view(3, 1, 1) for x in (MEAN, STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


# --------------------------------------------------------------------------------------------------- validation
class Validation:
    """Zero-shot accuracy on validation images: of whole families that are not trained on (their words are IconNet's
    candidate classes), by template; and of the eleven tasks, each with its own template."""

    def __init__(self, c: build_iconnet.Collection, selection: dict):
        words = iconnet_classes.parse(iconnet_classes.ICONNET)
        of = {synonym: label for label, names in words.items() for synonym in names}
        families = defaultdict(list)
        for i in selection["pretraining"]:
            if c.drawings[i].family in VALIDATION_FAMILIES and c.words[i] in of:
                families[of[c.words[i]]].append(i)
        self.sets = {template: (families, template) for template in VALIDATION_TEMPLATES}
        for name, classes in selection["tasks"].items():
            if name in build_iconnet.TEMPLATES:
                of_val = {label: parts["val"] for label, parts in sorted(classes.items())}
                self.sets[name] = of_val, build_iconnet.TEMPLATES[name]
        self.images = c.images

    @torch.no_grad()
    def __call__(self, model: open_clip.CLIP, tokenize, device: str) -> dict[str, float]:
        model.eval()
        accuracy = {}
        for name, (classes, template) in self.sets.items():
            drawings = [i for members in classes.values() for i in members]
            labels = torch.tensor([n for n, members in enumerate(classes.values()) for _ in members])
            images = []
            for start in range(0, len(drawings), 256):
                part = torch.from_numpy(self.images[drawings[start : start + 256]]).to(device)
                images.append(model.encode_image(standardise(normalise(part)), normalize=True).cpu())
            texts = encode_text(model, tokenize([template.format(label) for label in classes]).to(device))
            logits = torch.cat(images) @ F.normalize(texts.cpu(), dim=-1).T
            accuracy[name] = 100 * (logits.argmax(1) == labels).float().mean().item()
        accuracy["average of tasks"] = float(np.mean([accuracy[name] for name in build_iconnet.TEMPLATES]))
        model.train()
        return accuracy


# ----------------------------------------------------------------------------------------------------- training
def epoch_order(groups: list[list[int]], epoch: int) -> list[int]:
    """At most two styles of a thing per epoch, others in the next: many things rather than many weights of one."""
    draw = random.Random(epoch)
    order = [i for group in groups for i in draw.sample(group, min(2, len(group)))]
    draw.shuffle(order)
    return order


class Captions:
    """An epoch's captions as token ids, made by other processes while the epoch before is trained on."""

    of_this_process: "Captions"

    def __init__(self, facts: dict[int, captions.Facts], seed: int):
        self.facts, self.seed = facts, seed
        self.tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
        # Forked before torch starts threads, so that the workers inherit the facts and nothing that could hang.
        context, workers = multiprocessing.get_context("fork"), max(1, (os.cpu_count() or 2) - 1)
        self.pool = context.Pool(workers, initializer=setattr, initargs=(Captions, "of_this_process", self))

    def of_epoch(self, batches: list[tuple[int, int, list[int]]]) -> multiprocessing.pool.AsyncResult:
        """Of all batches (epoch, step, drawings): (B, 48) ids, the same in every run with this seed."""
        return self.pool.map_async(Captions.of_batch, batches, chunksize=1)

    @staticmethod
    def of_batch(batch: tuple[int, int, list[int]]) -> np.ndarray:
        self, (epoch, step, drawings) = Captions.of_this_process, batch
        draw = random.Random(f"{self.seed}/{epoch}/{step}")
        long = step % 4 == 3  # in batches of their own: the others need a third of the positions
        length, start, end = (
            self.tokenizer.context_length,
            self.tokenizer.sot_token_id,
            self.tokenizer.eot_token_id,
        )
        ids = np.zeros((len(drawings), length), np.uint16)
        for row, i in zip(ids, drawings):
            text = captions.caption(self.facts[i], long=long, draw=draw)
            tokens = [start, *self.tokenizer.encode(text)[: length - 2], end]
            row[: len(tokens)] = tokens
        return ids


def material(
    package: Path, work: Path, seed: int
) -> tuple[build_iconnet.Collection, list[list[int]], Validation, Captions]:
    """The drawings, those to train on in groups (a thing of a designer in all its styles), validation, captions."""
    c = build_iconnet.Collection(package, work)
    selection = json.loads((work / "selection.json").read_text())
    members = [i for i in selection["pretraining"] if c.drawings[i].family not in VALIDATION_FAMILIES]
    groups = defaultdict(list)
    for i in members:
        groups[c.group(i)].append(i)
    tags = captions.read_tags(package.parent.parent)
    texts = Captions({i: captions.facts_of(c, i, tags) for i in members}, seed)
    return c, list(groups.values()), Validation(c, selection), texts


def start_model(device: str, words: Path) -> open_clip.CLIP:
    model = open_clip.CLIP(**{k: dict(v) if isinstance(v, dict) else v for k, v in CONFIG.items()})
    with np.load(words) as file, torch.no_grad():
        model.token_embedding.weight[file["ids"]] = torch.from_numpy(file["vectors"]).float()
    model.visual.to(memory_format=torch.channels_last)
    return model.to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where build_iconnet.py left its lists")
    parser.add_argument("--run", type=Path, required=True, help="where the log and the weights of this run go")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--strength", type=float, default=1, help="of the augmentation")
    parser.add_argument("--every", type=int, default=5, help="epochs between two validations")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments.run.mkdir(parents=True, exist_ok=True)

    c, groups, validation, texts = material(arguments.package, arguments.work, arguments.seed)
    members = list(texts.facts)
    place = {i: n for n, i in enumerate(members)}
    images = torch.from_numpy(c.images[members]).to(device)  # 2 GB
    per_epoch = len(epoch_order(groups, 0)) // arguments.batch_size
    print(f"{len(members)} drawings, {per_epoch} steps an epoch", flush=True)

    torch.manual_seed(arguments.seed)
    model = start_model(device, arguments.work / "word_vectors.npz")
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0}],
                                  lr=arguments.lr, betas=(0.9, 0.98))  # fmt: skip
    total = arguments.epochs * per_epoch
    state_file, log_file = arguments.run / "state.pt", arguments.run / "pretraining_log.jsonl"
    first = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
        print(f"resumed after epoch {first}", flush=True)

    def batches(epoch: int) -> list[tuple[int, int, list[int]]]:
        order, size = epoch_order(groups, epoch), arguments.batch_size
        return [(epoch, step, order[step * size : (step + 1) * size]) for step in range(per_epoch)]

    ahead = texts.of_epoch(batches(first))
    for epoch in range(first, arguments.epochs):
        started, losses = time.time(), []
        ids_of_epoch = ahead.get()
        if epoch + 1 < arguments.epochs:
            ahead = texts.of_epoch(batches(epoch + 1))
        for (_, step, drawings), ids in zip(batches(epoch), ids_of_epoch):
            done = epoch * per_epoch + step
            share = min(1.0, (done + 1) / arguments.warmup) * 0.5 * (1 + math.cos(math.pi * done / total))
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * share
            generator = torch.Generator(device).manual_seed(arguments.seed * 10_000_000 + done)
            batch = normalise(images[torch.tensor([place[i] for i in drawings], device=device)])
            batch = standardise(augment(batch, generator, arguments.strength))
            ids = torch.from_numpy(ids.astype(np.int64))
            length = int((ids != 0).sum(1).max())  # read here: on the GPU it would wait for all that is under way
            ids = ids[:, :length].to(device)
            with torch.autocast(device, torch.bfloat16):
                image_features, text_features = model.encode_image(batch), encode_text(model, ids)
            scale = model.logit_scale.exp()
            loss = contrastive_loss(image_features.float(), text_features.float(), scale, ids)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            averaged.update_parameters(model)
            losses.append(loss.detach())
        averaged.module.attn_mask = model.attn_mask.clone()  # a mean of -inf is not a number
        last = epoch + 1 == arguments.epochs
        entry = {
            "epoch": epoch + 1,
            "loss": torch.stack(losses).mean().item(),
            "scale": model.logit_scale.exp().item(),
            "seconds": round(time.time() - started, 1),
        }
        if last or (epoch + 1) % arguments.every == 0:
            entry["validation"] = validation(averaged.module, texts.tokenizer, device)
            state = {"model": model.state_dict(), "averaged": averaged.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            torch.save(state, state_file.with_suffix(".part"))
            state_file.with_suffix(".part").replace(state_file)
        with log_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(entry, flush=True)
    export(averaged.module, arguments.run)


def export(model: open_clip.CLIP, folder: Path) -> None:
    """fp16 weights and the configuration, as coop_edu loads them; scripts/export_assets.py ships them."""
    weights = {name: w.half() if w.is_floating_point() else w for name, w in model.state_dict().items()}
    weights = {name: w.contiguous().cpu() for name, w in weights.items() if name != "attn_mask"}
    save_file(weights, folder / "miniclip.safetensors")
    (folder / "miniclip.safetensors").chmod(0o644)  # safetensors writes for the owner only
    (folder / "miniclip.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


if __name__ == "__main__":
    main()
