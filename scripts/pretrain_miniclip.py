"""Pretrains MiniCLIP: a real CLIP of 12 million parameters on the drawings that IconNet leaves (build_iconnet.py).

    python scripts/pretrain_miniclip.py --package node_modules/@iconify/json --work build/ [--epochs 11]

The captions are what designers publish (captions.py). The loss is CLIP's own (Radford et al. 2021, section 2.3): in a
batch, each image must find its caption and each caption its image.

Resumable: kill it, start it again. Runs on CPU (bf16) and on a GPU. Nothing of IconNet or the tasks is read here; the
validation curve is made on whole families that are neither trained on nor taken from the tasks.
Leaves out: which drawings may be used (build_iconnet.py), how the finished model is loaded (coop_edu/clip/models.py).
"""

import argparse
import json
import math
import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build_iconnet
import captions
import iconnet_classes
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
    """CLIP's encode_text on the positions that hold a token: causal attention makes the cut exact."""
    length = int((ids != 0).sum(1).max())
    ids = ids[:, :length]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(ids)), ids.argmax(1)]  # the EOT has the highest id
    return x @ model.text_projection


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, captions: list[str]
) -> torch.Tensor:
    """CLIP's symmetric loss; word for word equal captions in a batch are all right answers."""
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    number = {text: n for n, text in enumerate(captions)}
    number = torch.tensor([number[text] for text in captions], device=logits.device)
    same = (number[:, None] == number[None]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Small turns, stretchings, shifts and scalings on white, and in some images a thicker or a thinner pen.

    No flips: an arrow to the left is not one to the right."""
    n = len(images)

    def around_zero(width: float) -> torch.Tensor:
        return width * (2 * torch.rand(n, generator=generator) - 1)  # (n,)

    angle, scale, stretch = around_zero(0.2), 1.05 + around_zero(0.25), 1 + around_zero(0.12)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * stretch * angle.cos(), -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = scale * angle.sin(), scale / stretch * angle.cos()
    theta[:, 0, 2], theta[:, 1, 2] = around_zero(0.12), around_zero(0.12)
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    ink = F.grid_sample(1 - images, grid, align_corners=False)
    pen = torch.rand(n, generator=generator)
    thicker, thinner = pen < 0.15, pen > 0.92
    ink[thicker] = F.max_pool2d(ink[thicker], 3, stride=1, padding=1)
    ink[thinner] = -F.max_pool2d(-ink[thinner], 3, stride=1, padding=1)
    return 1 - ink


def normalise(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def standardise(images: torch.Tensor) -> torch.Tensor:
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


# --------------------------------------------------------------------------------------------------- validation
class Validation:
    """Zero-shot accuracy on whole families that are not trained on; their words are IconNet's candidate classes."""

    def __init__(self, c: build_iconnet.Collection, pretraining: list[int]):
        of = {s: label for label, names in iconnet_classes.parse(iconnet_classes.ICONNET).items() for s in names}
        chosen = [i for i in pretraining if c.drawings[i].family in VALIDATION_FAMILIES and c.words[i] in of]
        self.classnames = sorted({of[c.words[i]] for i in chosen})
        self.labels = torch.tensor([self.classnames.index(of[c.words[i]]) for i in chosen])
        self.images = c.images[chosen]

    @torch.no_grad()
    def __call__(self, model: open_clip.CLIP, tokenize, device: str) -> dict[str, float]:
        model.eval()
        images = [model.encode_image(standardise(normalise(part)).to(device), normalize=True).float().cpu()
                  for part in np.array_split(self.images, max(1, len(self.images) // 256))]  # fmt: skip
        accuracy = {}
        for template in VALIDATION_TEMPLATES:
            texts = encode_text(model, tokenize([template.format(name) for name in self.classnames]).to(device))
            logits = torch.cat(images) @ F.normalize(texts.float().cpu(), dim=-1).T
            accuracy[template] = 100 * (logits.argmax(1) == self.labels).float().mean().item()
        model.train()
        return accuracy


# ----------------------------------------------------------------------------------------------------- training
def epoch_order(c: build_iconnet.Collection, members: list[int], epoch: int) -> list[int]:
    """At most two styles of a thing per epoch, others in the next: many things rather than many weights of one."""
    draw = random.Random(epoch)
    groups = defaultdict(list)
    for i in members:
        groups[c.group(i)].append(i)
    order = [i for group in groups.values() for i in draw.sample(group, min(2, len(group)))]
    draw.shuffle(order)
    return order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=11)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--start", type=Path, help="weights to go on from, such as an earlier run's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="bfloat16", help="float32 where the processor has no bf16 products")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"

    c = build_iconnet.Collection(arguments.package, arguments.work)
    pretraining = json.loads((arguments.work / "selection.json").read_text())["pretraining"]
    members = [i for i in pretraining if c.drawings[i].family not in VALIDATION_FAMILIES]
    validation = Validation(c, pretraining)
    tags = captions.read_tags(arguments.package.parent.parent)
    facts = {i: captions.facts_of(c, i, tags) for i in members}
    print(
        f"{len(members)} drawings, {len(epoch_order(c, members, 0))} an epoch, validation {len(validation.labels)}",
        flush=True,
    )

    torch.manual_seed(arguments.seed)
    model = open_clip.CLIP(**{k: dict(v) if isinstance(v, dict) else v for k, v in CONFIG.items()}).to(device)
    if arguments.start:
        model.load_state_dict(load_file(arguments.start), strict=False)  # without the mask, which is no weight
    model.visual.to(memory_format=torch.channels_last)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
    tokenize = open_clip.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0}],
                                  lr=arguments.lr, betas=(0.9, 0.98))  # fmt: skip
    per_epoch = len(epoch_order(c, members, 0)) // arguments.batch_size
    total, warmup = arguments.epochs * per_epoch, arguments.warmup
    state_file, log_file = arguments.work / "miniclip_state.pt", arguments.work / "pretraining_log.jsonl"
    first = 0
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
        print(f"resumed after epoch {first}", flush=True)

    def prepare(epoch: int, step: int, order: list[int]):
        batch = order[step * arguments.batch_size : (step + 1) * arguments.batch_size]
        draw = random.Random(f"{arguments.seed}/{epoch}/{step}")
        long = step % 4 == 3  # in batches of their own: the others need a third of the positions
        texts = [captions.caption(facts[i], long=long, draw=draw) for i in batch]
        generator = torch.Generator().manual_seed((arguments.seed * 1000 + epoch) * 100_000 + step)
        images = standardise(augment(normalise(c.images[np.sort(batch)][np.argsort(np.argsort(batch))]), generator))
        return images.contiguous(memory_format=torch.channels_last), tokenize(texts), texts

    with ThreadPoolExecutor(1) as background:
        for epoch in range(first, arguments.epochs):
            started, losses = time.time(), []
            order = epoch_order(c, members, epoch)
            ahead = background.submit(prepare, epoch, 0, order)
            for step in range(per_epoch):
                images, ids, texts = ahead.result()
                if step + 1 < per_epoch:
                    ahead = background.submit(prepare, epoch, step + 1, order)
                done = epoch * per_epoch + step
                share = min(1.0, (done + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * done / total))
                for group in optimizer.param_groups:
                    group["lr"] = arguments.lr * share
                precision = getattr(torch, arguments.precision)
                with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
                    image_features = model.encode_image(images.to(device))
                    text_features = encode_text(model, ids.to(device))
                scale = model.logit_scale.exp()
                loss = contrastive_loss(image_features.float(), text_features.float(), scale, texts)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(max=math.log(100))
                averaged.update_parameters(model)
                losses.append(loss.item())
                if step % 50 == 0:
                    speed = (step + 1) * arguments.batch_size / (time.time() - started)
                    print(
                        f"epoch {epoch} step {step}/{per_epoch} loss {losses[-1]:.3f} {speed:.0f}/s",
                        flush=True,
                    )
            averaged.module.attn_mask = model.attn_mask.clone()  # a mean of -inf is not a number
            entry = {
                "epoch": epoch + 1,
                "loss": float(np.mean(losses)),
                "scale": model.logit_scale.exp().item(),
                "seconds": round(time.time() - started),
                "validation": validation(averaged.module, tokenize, device),
            }
            with log_file.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            print(entry, flush=True)
            state = {"model": model.state_dict(), "averaged": averaged.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            torch.save(state, state_file.with_suffix(".part"))
            state_file.with_suffix(".part").replace(state_file)
            export(averaged.module, arguments.work)


def export(model: open_clip.CLIP, folder: Path) -> None:
    """fp16 weights and the configuration, as coop_edu loads them; scripts/export_assets.py ships them."""
    weights = {name: w.half() if w.is_floating_point() else w for name, w in model.state_dict().items()}
    weights = {name: w.contiguous().cpu() for name, w in weights.items() if name != "attn_mask"}
    save_file(weights, folder / "miniclip.safetensors")
    (folder / "miniclip.safetensors").chmod(0o644)  # safetensors writes for the owner only
    (folder / "miniclip.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


if __name__ == "__main__":
    main()
