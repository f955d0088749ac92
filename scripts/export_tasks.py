"""The tasks on which a prompt is learned in the page: image features, what the library's baselines reach, a map.

The page draws the same random numbers as torch, so a training in it is the library's own, with the seed SEED.  What a
visitor's prompt is compared with is computed here, from the same images.

Leaves out: the training (docs/explorer/learning.js), its gradient (gradient_graph.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from coop_edu import (
    Features,
    LinearProbe,
    PromptLearner,
    Recipe,
    accuracy,
    clean_classnames,
    sample_train_val,
)
from coop_edu.clip.models import Clip
from coop_edu.clip.probability import normalize
from coop_edu.coop.checkpoints import header_of
from coop_edu.coop.prompt_file import FORMAT
from coop_edu.data.batches import seeded
from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.features import FeatureBank

SEED = 1
SHOTS = (1, 2, 4, 8, 16)
RECIPE = ("epochs", "lr", "momentum", "weight_decay", "batch_size", "warmup_epochs", "warmup_lr")
EVERY = 4  # of IconNet's 77 classes; the graph is meant for at most 20
SIDE, COLUMNS = 64, 20  # of the sheet that shows the images: pixels of an image, images in a row


@dataclass(frozen=True)
class Task:
    """A task, what the page says of it, and the lines of Python that make it."""

    title: str
    about: str
    python: str

    def load(self) -> Dataset:
        """What the lines call `task`: the page shows them, and they are run here."""
        names: dict[str, Dataset] = {}
        exec(f"from coop_edu import load_dataset\n{self.python}", names)
        return names["task"]


TASKS = {
    "styles": Task(
        "Name the style of a drawing",
        "Words describe a style badly. Can you write a sentence that does better than the learned prompt?",
        'task = load_dataset("IconStyles")',
    ),
    "things": Task(
        "Name the thing in a drawing",
        "Words describe things well, and a sentence is good already. How much is left to learn?",
        f"""from dataclasses import replace
task = load_dataset("IconNet")
names = task.classnames[::{EVERY}]
parts = {{
    part: [replace(e, label=names.index(e.classname)) for e in examples if e.classname in names]
    for part, examples in task.splits.items()
}}
task = replace(task, classnames=names, **parts)""",
    ),
}


def export_tasks(clip: Clip, folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """Write the sheets of images into `folder`; returns what learn.json says, and {task: features of its images}."""
    described, features = {}, {}
    for name, task in TASKS.items():
        described[name], features[name] = _export_task(clip, folder, name, task)
    recipe = Recipe.mini()
    longest = max(Recipe.mini(k).for_images(1).epochs for k in SHOTS)  # of images that fill no batch
    learn = {
        "tasks": described,
        "seed": SEED,
        "recipe": {
            **{name: getattr(recipe, name) for name in RECIPE},
            "min_steps": [Recipe.mini(k).min_steps for k in range(1, max(SHOTS) + 1)],
        },
        # The generator that shuffles the images of an epoch, as coop/training_data.py seeds it.
        "orders": [seeded(SEED, epoch, 0).initial_seed() for epoch in range(longest)],
        "positions": clip.tokenizer.context_length,
        "scale": clip.logit_scale.item(),
        "header": {"format": FORMAT, **header_of(PromptLearner(clip, ["a class"], n_ctx=1))},
    }
    return learn, features


def _export_task(clip: Clip, folder: Path, name: str, task: Task) -> tuple[dict, Tensor]:
    dataset = task.load()
    drawn = {k: sample_train_val(dataset, k, SEED) for k in SHOTS}
    images = list(dict.fromkeys(e for train, _ in drawn.values() for e in train))  # of all shots together
    validation = [e for _, val in drawn.values() for e in val]
    bank = FeatureBank(clip, [*images, *validation, *dataset.test], progress=False)
    train, test = bank(images), bank(dataset.test)
    shots = {}
    for k, (some, val) in drawn.items():
        probe = LinearProbe(clip, dataset.classnames, bank(some), bank(val))
        shots[k] = {
            "images": [images.index(e) for e in some],
            "epochs": Recipe.mini(k).for_images(len(some)).epochs,
            "probe": accuracy(probe, test),
        }
    sheet(dataset.test).save(folder / f"{name}.png", optimize=True)
    described = {
        "dataset": dataset.name,
        "title": task.title,
        "about": task.about,
        "python": task.python,
        "classnames": dataset.classnames,
        "names": clean_classnames(dataset.classnames),
        "template": dataset.template,
        "train": train.labels.tolist(),
        "test": test.labels.tolist(),
        "shots": shots,
        "axes": [[round(x, 6) for x in axis] for axis in axes(train).tolist()],
        "sheet": {"side": SIDE, "columns": COLUMNS},
    }
    return described, torch.cat([normalize(train.image_features), normalize(test.image_features)])


def axes(train: Features) -> Tensor:
    """(2, E): the two directions in which the classes' mean images differ most."""
    f = normalize(train.image_features)
    means = torch.stack([f[train.labels == label].mean(dim=0) for label in range(len(train.classnames))])
    return torch.linalg.svd(means - means.mean(dim=0), full_matrices=False).Vh[:2]


def sheet(examples: Sequence[Example]) -> Image.Image:
    """All images on one, row by row, in grey or colour as they are."""
    rows = -(-len(examples) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE), "white")
    for i, example in enumerate(examples):
        with Image.open(example.image) as image:
            whole.paste(image.convert("RGB").resize((SIDE, SIDE)), (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    return whole.quantize(64)
