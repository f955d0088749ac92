"""What the miniature's few epochs cost: the eleven tasks with 16 shots, trained as long as the paper does.

    python scripts/measure_long_training.py            # writes coop_edu/assets/long_training.json, nine minutes on two cores

200 epochs, 50 on the source, as in the paper, on the plain pictures; three seeds; unified and class-specific.
Leaves out: the miniature's own recipe, which notebook 07 runs.
"""

import json
import warnings
from dataclasses import replace
from pathlib import Path

from coop_edu import (
    FeatureBank,
    PromptLearner,
    Trainer,
    accuracy,
    extract_features,
    load_clip,
    load_dataset,
    sample_few_shot,
    side_by_side,
    train_together,
)
from coop_edu.coop.recipe import Recipe
from coop_edu.scales import SCALES

SHOTS, SEEDS = 16, (1, 2, 3)
METHODS = {"CoOp": False, "CoOp, class-specific": True}


def main() -> None:
    scale = SCALES["mini"]
    clip = load_clip(scale.clip)
    data = {name: load_dataset(name) for name in scale.tasks}

    def measure(job: tuple[str, str]) -> list[float]:
        name, method = job
        dataset = data[name]
        recipe = replace(Recipe.paper(SHOTS, "ImageNet" if name == scale.source else None), views=None)
        shots = [sample_few_shot(dataset.train, SHOTS, seed) for seed in SEEDS]
        bank = FeatureBank(clip, [example for some in shots for example in some], progress=False)
        options = {"n_ctx": scale.n_ctx, "class_specific": METHODS[method]}
        learners = [PromptLearner(clip, dataset.classnames, seed=seed, **options) for seed in SEEDS]
        trainers = [
            Trainer(own, replace(recipe, seed=seed), progress=False) for own, seed in zip(learners, SEEDS)
        ]
        train_together(trainers, [bank(some) for some in shots])
        test = extract_features(clip, dataset.test, progress=False)
        percents = [round(accuracy(own, test), 2) for own in learners]
        print(f"{name}, {method}, {recipe.epochs} epochs: {percents}", flush=True)
        return percents

    jobs = [(name, method) for method in reversed(METHODS) for name in data]  # what takes longest comes first
    found = dict(zip(jobs, side_by_side(measure, jobs)))
    results = {name: {method: found[name, method] for method in METHODS} for name in data}
    about = (
        f"test accuracy in percent with {SHOTS} shots, one number a seed; scripts/measure_long_training.py"
    )
    path = Path(__file__).parent.parent / "coop_edu" / "assets" / "long_training.json"
    path.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)  # classes with few pictures give all they have
    main()
