"""The reference classifier of IconNet-A: a small convolutional network, trained on labelled drawings from scratch.

    python scripts/reference_classifier.py --package node_modules/@iconify/json --work build/

ImageNet-A (Hendrycks et al. 2021) holds real photographs that a ResNet-50 gets wrong. In the same way IconNet-A holds
real drawings, unmodified, that this network gets wrong: it is no CLIP, has never seen a caption, and shares no
weights with MiniCLIP. It learns from IconNet's training split and from the pretraining drawings that carry the name of
a class; the candidates come from families that are in neither.
"""

import argparse
import json
from pathlib import Path

import build_iconnet
import iconnet_classes
import numpy as np
import torch
import torch.nn.functional as F
from pretrain_miniclip import augment, normalise
from torch import nn

EPOCHS, BATCH, MOST, LEAST = 15, 128, 16, 3
CONFIDENT = 0.15  # as for ImageNet-A: the right class gets less than this probability
# Looked at, one by one: drawings whose name means another thing than the class, or that show nothing recognisable.
REJECTED = Path(__file__).parent / "iconnet_a_rejected.txt"


def gray(images: np.ndarray) -> torch.Tensor:
    """(N, 1, 32, 32): half the size and without colour is enough to name a glyph."""
    return F.avg_pool2d(normalise(torch.from_numpy(images)).mean(1, keepdim=True), 2)


def network(classes: int) -> nn.Sequential:
    layers, width = [], 1
    for wider in (32, 64, 128):
        layers += [nn.Conv2d(width, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU(), nn.MaxPool2d(2)]
        width = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * width, classes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    c = build_iconnet.Collection(arguments.package, arguments.work)
    selection = json.loads((arguments.work / "selection.json").read_text())
    classes = sorted(selection["tasks"]["IconNet"])
    number = {name: n for n, name in enumerate(classes)}
    synonyms = iconnet_classes.parse(iconnet_classes.ICONNET)
    of = {s: number[name] for name in classes for s in synonyms[name]}
    train = [(i, number[name]) for name in classes for i in selection["tasks"]["IconNet"][name]["train"]]
    train += [(i, of[c.words[i]]) for i in selection["pretraining"] if c.words[i] in of]
    images, labels = gray(c.images[[i for i, _ in train]]), torch.tensor([y for _, y in train])

    torch.manual_seed(0)
    model = network(len(classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=EPOCHS * (len(train) // BATCH))
    generator = torch.Generator().manual_seed(0)
    for epoch in range(EPOCHS):
        order, total = torch.randperm(len(train), generator=generator), 0.0
        for step in range(len(train) // BATCH):
            batch = order[step * BATCH : (step + 1) * BATCH]
            loss = F.cross_entropy(model(augment(images[batch], generator)), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {total / (len(train) // BATCH):.3f}", flush=True)

    model.eval()

    @torch.no_grad()
    def probabilities(drawings: list[int]) -> np.ndarray:
        return model(gray(c.images[drawings])).softmax(1).numpy()

    report = {"trained_on": len(train)}
    for name in ("IconNet", "IconNetV2", "IconNet-Sketch", "IconNet-R"):
        pairs = [(i, number[label]) for label, parts in selection["tasks"][name].items() for i in parts["test"]]
        right = probabilities([i for i, _ in pairs]).argmax(1) == np.array([y for _, y in pairs])
        report[name] = round(100 * float(right.mean()), 1)
    rejected = set(REJECTED.read_text().split()) if REJECTED.exists() else set()
    adversarial, candidates, correct = {}, 0, 0
    for label, pool in selection["candidates"].items():
        if not pool:
            continue
        p = probabilities(pool)
        candidates, correct = candidates + len(pool), correct + int((p.argmax(1) == number[label]).sum())
        wrong = [i for i, row in zip(pool, p) if row.argmax() != number[label] and row[number[label]] < CONFIDENT]
        wrong = sorted(wrong, key=lambda i: build_iconnet.digest("A", c.drawings[i].key))
        kept = [i for i in wrong[:MOST] if c.drawings[i].key not in rejected]
        if len(kept) >= LEAST:
            adversarial[label] = kept
    report["candidates"], report["candidates_right_percent"] = (
        candidates,
        round(100 * correct / candidates, 1),
    )
    report["IconNet-A"] = {"classes": len(adversarial), "drawings": sum(map(len, adversarial.values()))}
    print(json.dumps(report))
    (arguments.work / "adversarial.json").write_text(json.dumps({"classes": adversarial, "report": report}))


if __name__ == "__main__":
    main()
