"""Takes photographs in the authors' folder tree through the paper's models: zero-shot, training, tests, and costs.

    python scripts/photo_sample.py data          # data/caltech-101/: 101_ObjectCategories/, split_zhou_Caltech101.json

The models have their full size and random weights, so the accuracy is chance; what is shown is that everything fits
together, at which speed, and in how much memory. Each model is measured in a process of its own.

Leaves out: OpenAI's weights, without which no accuracy means anything: load_clip("RN50") has them.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from coop_edu import (  # fmt: skip
    PromptLearner,
    Recipe,
    Trainer,
    ZeroShot,
    accuracy,
    extract_features,
    load_clip,
    load_dataset,
    sample_few_shot,
)
from coop_edu.clip.models import PAPER_MODELS, Clip
from coop_edu.plots import text_table

MODELS = ("RN50", "ViT-B/16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="the folder that holds caltech-101/")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=PAPER_MODELS)
    parser.add_argument("--shots", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3, help="in place of the paper's 50 to 200")
    chosen = parser.parse_args()
    jobs = [(model, chosen.root, chosen.shots, chosen.epochs) for model in chosen.models]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = dict(zip(chosen.models, pool.starmap(measure, jobs, chunksize=1)))
    for model, (shapes, _) in rows.items():
        print(f"{model}: " + ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()))
    print(text_table({model: figures for model, (_, figures) in rows.items()}))
    print("Random weights: the accuracies are chance, about one right in as many as there are classes.")


def measure(name: str, root: Path, shots: int, epochs: int) -> tuple[dict[str, tuple], dict[str, float]]:
    """Shapes and figures of one model, on the device that load_clip chooses."""
    dataset = load_dataset("Caltech101", root)
    with tempfile.TemporaryDirectory() as folder:
        clip = load_clip(name, pretrained=random_weights(name, Path(folder)))
    start = time.perf_counter()
    test = extract_features(clip, dataset.test)
    seconds = time.perf_counter() - start
    learner = PromptLearner(clip, dataset.classnames, n_ctx=16, seed=1)
    few = sample_few_shot(dataset.train, shots, seed=1)
    recipe = replace(Recipe.paper(shots), epochs=epochs)
    figures = {
        "images/s": len(test) / seconds,
        "zero-shot %": accuracy(ZeroShot(clip, dataset.classnames, dataset.template), test),
        "s/step": seconds_a_step(learner, few, recipe),
        "learned %": accuracy(learner, test),
        "s/step, cached": seconds_a_step(learner, extract_features(clip, few), replace(recipe, views=None)),
        "peak MB": peak_megabytes(clip),
    }
    shapes = {
        "image features": test.image_features.shape,
        "text features": learner.text_features().shape,
        "ctx": learner.ctx.shape,
    }
    return shapes, figures


def random_weights(name: str, folder: Path) -> Path:
    """A file as load_clip takes it, with the weights that a model of open_clip starts from."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(PAPER_MODELS[name])
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def seconds_a_step(learner: PromptLearner, data, recipe: Recipe) -> float:
    """Train, and return the median epoch's time, for each of its steps."""
    seconds = sorted(Trainer(learner, recipe).fit(data).seconds)
    return seconds[len(seconds) // 2] / recipe.steps_per_epoch(len(data))


def peak_megabytes(clip: Clip) -> float:
    """The most memory that the GPU, or this process, has had in use."""
    if clip.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, kilobytes elsewhere


if __name__ == "__main__":
    main()
