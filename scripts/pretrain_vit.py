"""Pretrains a second image encoder for MiniCLIP, a small vision transformer, beside the text encoder that is there.

    python scripts/pretrain_vit.py --package node_modules/@iconify/json --work build/ --run build/vit

The text encoder stays frozen, so that a caption has the same features for both image encoders, and only the image
encoder has to be shipped. Drawings, captions, augmentation and validation are those of pretrain_miniclip.py; the loss
is CLIP's own. Under an hour on two cores with bf16 products. Resumable: kill it, start it again.
Leaves out: all that the two have in common (pretrain_miniclip.py).
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from pretrain_miniclip import (
    augment,
    contrastive_loss,
    encode_text,
    epoch_order,
    material,
    normalise,
    standardise,
)
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

ASSETS = Path(__file__).parent.parent / "coop_edu" / "assets"
VISION = {"image_size": 64, "layers": 4, "width": 128, "head_width": 64, "patch_size": 8}
BETWEEN = 20  # steps between two lines of the log


def start_model(seed: int) -> open_clip.CLIP:
    """MiniCLIP's text encoder, frozen, and a vision transformer that knows nothing yet."""
    torch.manual_seed(seed)
    config = json.loads((ASSETS / "miniclip.json").read_text()) | {"vision_cfg": VISION}
    model = open_clip.CLIP(**{key: dict(value) if isinstance(value, dict) else value for key, value in config.items()})
    weights = {name: w.float() for name, w in load_file(ASSETS / "miniclip.safetensors").items()}
    model.load_state_dict({name: w for name, w in weights.items() if not name.startswith("visual.")}, strict=False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("visual.") or name == "logit_scale")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where build_iconnet.py left its lists")
    parser.add_argument("--run", type=Path, required=True, help="where the log and the weights of this run go")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)

    c, order, validation, texts = material(arguments.package, arguments.work, arguments.seed)
    size = arguments.batch_size
    per_epoch = len(epoch_order(order, 0)) // size
    total = arguments.epochs * per_epoch
    print(f"{len(texts.facts)} drawings, {per_epoch} steps an epoch", flush=True)

    model = start_model(arguments.seed)
    learned = [p for p in model.parameters() if p.requires_grad]
    groups_of = [{"params": [p for p in learned if p.ndim >= 2], "weight_decay": 0.1},
                 {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups_of, lr=arguments.lr, betas=(0.9, 0.98))
    state_file, log_file = arguments.run / "state.pt", arguments.run / "pretraining_log.jsonl"
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]

    def batches(epoch: int) -> list[tuple[int, int, list[int]]]:
        drawings = epoch_order(order, epoch)
        return [(epoch, step, drawings[step * size : (step + 1) * size]) for step in range(per_epoch)]

    ahead = texts.of_epoch(batches(first))
    for epoch in range(first, arguments.epochs):
        started, losses, ids_of_epoch = time.time(), [], ahead.get()
        if epoch + 1 < arguments.epochs:
            ahead = texts.of_epoch(batches(epoch + 1))
        for (_, step, drawings), ids in zip(batches(epoch), ids_of_epoch):
            done = epoch * per_epoch + step
            share = min(1.0, (done + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done / total))
            for group in optimizer.param_groups:
                group["lr"] = arguments.lr * share
            generator = torch.Generator().manual_seed(arguments.seed * 10_000_000 + done)
            batch = standardise(augment(normalise(torch.from_numpy(c.images[drawings])), generator))
            ids = torch.from_numpy(ids.astype(np.int64))
            ids = ids[:, : int((ids != 0).sum(1).max())]
            # For so few positions the plain attention is faster than the fused one, whose backward pass is slow.
            with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
                image_features = model.encode_image(batch)
                with torch.no_grad():
                    text_features = encode_text(model, ids)
            loss = contrastive_loss(image_features.float(), text_features.float(), model.logit_scale.exp(), ids)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            losses.append(loss.item())
            if step % BETWEEN == 0:
                seconds = (time.time() - started) / (step + 1)
                print(f"epoch {epoch + 1}, step {step}, loss {losses[-1]:.3f}, {seconds:.2f} s a step", flush=True)
        entry = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "seconds": round(time.time() - started, 1)}
        entry["validation"] = validation(model, texts.tokenizer, "cpu")
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        torch.save(state, state_file.with_suffix(".part"))
        state_file.with_suffix(".part").replace(state_file)
        with log_file.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(entry, flush=True)
    export(model, arguments.run)


def export(model: open_clip.CLIP, folder: Path) -> None:
    """The image encoder and its temperature, fp16; the text encoder is MiniCLIP's."""
    learned = {name: w for name, w in model.state_dict().items() if name.startswith("visual.") or name == "logit_scale"}
    save_file({name: w.half().contiguous() for name, w in learned.items()}, folder / "miniclip_vit.safetensors")
    (folder / "miniclip_vit.safetensors").chmod(0o644)  # safetensors writes for the owner only
    config = json.loads((ASSETS / "miniclip.json").read_text()) | {"vision_cfg": VISION}
    (folder / "miniclip_vit.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
