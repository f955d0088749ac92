"""Which text encoder is shipped? The candidates of pretrain_text.py, compared by one rule on validation images alone.

    python scripts/judge_text.py --work build/ half third most        # "first_stage" is the encoder before this stage

The rule was fixed before the candidates were compared. A candidate is fit if

    a  its hand-written prompts lose at most a point of accuracy, on average over the eleven tasks;
    b  a random context (M = 16) keeps 25 to 90 % of the hand-written accuracy above chance: real CLIPs keep a third to
       two thirds (assets/MINICLIP.md);
    c  the wording still matters: over IconNet's images, five wordings give at least 1.25 different answers on average,
       and the accuracies of the card's wordings spread over at least 5 points.

Of the fit ones, that with the largest gain of CoOp (unified, M = 16) on the hand-written prompts is taken, averaged
over 1, 2 and 16 shots, eleven tasks and three seeds. Test images are never read here.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from measure import WORDINGS

from coop_edu import FeatureBank, PromptLearner, Trainer, ZeroShot, accuracy, load_clip, load_dataset, sample_few_shot
from coop_edu.coop.together import train_together
from coop_edu.scales import SCALES

from web_captions import CANDIDATES

SEEDS, SHOTS = (1, 2, 3), (1, 2, 16)
FIVE = ("{}", "a photo of a {}.", "an icon of a {}.", "a cheerful drawing of a {}.", "a bad photo of the {}.")
NOISY = ("asdf qwer zxcv poiu {}", "one two three four five six seven eight nine ten eleven {}")


def judge(weights: Path, steps: int | None = None, shots: tuple[int, ...] = SHOTS) -> dict:
    """All that the rule asks for, and what it does not ask for but the card tells."""
    scale, clip = SCALES["mini"], load_clip("mini", pretrained=weights)
    data = {name: load_dataset(name) for name in scale.tasks}
    val = {name: FeatureBank(clip, some.val, progress=False)(some.val) for name, some in data.items()}
    train = {name: FeatureBank(clip, some.train, progress=False) for name, some in data.items()}
    chance = np.mean([100 / len(some.classnames) for some in data.values()])

    def on_all(classifier_of) -> dict[str, float]:
        return {name: accuracy(classifier_of(some), val[name]) for name, some in data.items()}

    by_task = on_all(lambda some: ZeroShot(clip, some.classnames, some.template))
    written = np.mean(list(by_task.values()))
    found: dict = {"written": written, "written by task": by_task, "random": {}, "kept": {}}
    for M in (2, 4, 8, 16):
        at_random = [accuracy(PromptLearner(clip, some.classnames, n_ctx=M, seed=seed), val[name])
                     for name, some in data.items() for seed in SEEDS]  # fmt: skip
        found["random"][M] = np.mean(at_random)
        found["kept"][M] = 100 * (np.mean(at_random) - chance) / (written - chance)
    source = data[scale.source]

    def answers(wording: str) -> torch.Tensor:
        return ZeroShot(clip, source.classnames, wording).logits(val[scale.source].image_features).argmax(1)

    five = torch.stack([answers(wording) for wording in FIVE], dim=1).tolist()
    found["different answers"] = np.mean([len(set(row)) for row in five])
    wordings = {w: accuracy(ZeroShot(clip, source.classnames, w), val[scale.source]) for w in WORDINGS + NOISY}
    card = [wordings[w] for w in WORDINGS]
    found |= {"wordings": wordings, "spread": max(card) - min(card), "gain": {}, "learned by task": {}}
    for k in shots:
        learned = {}
        for name, some in data.items():
            recipe = scale.recipe(k, name)
            recipe = recipe if steps is None else replace(recipe, min_steps=steps)
            learners = [PromptLearner(clip, some.classnames, n_ctx=16, seed=seed) for seed in SEEDS]
            trainers = [Trainer(one, replace(recipe, seed=s), progress=False) for one, s in zip(learners, SEEDS)]
            train_together(trainers, [train[name](sample_few_shot(some.train, k=k, seed=seed)) for seed in SEEDS])
            learned[name] = np.mean([accuracy(one, val[name]) for one in learners])
        found["gain"][k] = np.mean(list(learned.values())) - written
        found["learned by task"][k] = learned
    found["mean gain"] = np.mean(list(found["gain"].values()))
    return found


def is_fit(found: dict, before: dict) -> bool:
    """Points a, b and c of the rule."""
    kept = found["kept"]["16"]
    return (
        found["written"] >= before["written"] - 1
        and 25 <= kept <= 90
        and found["different answers"] >= 1.25
        and found["spread"] >= 5
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("candidates", nargs="*", default=list(CANDIDATES))
    arguments = parser.parse_args()
    log = arguments.work / "text" / "judged.jsonl"
    log.parent.mkdir(exist_ok=True)
    judged = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for name in ("first_stage", *arguments.candidates):
        weights = arguments.work / "text" / name / "miniclip.safetensors"
        weights = arguments.work / "first_stage.safetensors" if name == "first_stage" else weights
        if name in (one["name"] for one in judged) or not weights.exists():
            continue
        started = time.time()
        web = asdict(CANDIDATES[name]) if name in CANDIDATES else None
        entry = {"name": name, "levers": web, **judge(weights), "seconds": round(time.time() - started)}
        line = json.dumps(entry, default=float)
        with log.open("a") as file:
            file.write(line + "\n")
        judged.append(json.loads(line))
    before = next(one for one in judged if one["name"] == "first_stage")
    print("candidate     written  kept M4 M16  answers  spread | gain 1, 2, 16 shots, mean | IconStyles 16 shots | fit")
    for one in judged:
        gains = " ".join(f"{gain:+6.1f}" for gain in one["gain"].values())
        print(
            f"{one['name']:12} {one['written']:8.1f} {one['kept']['4']:7.0f} {one['kept']['16']:4.0f} "
            f"{one['different answers']:8.2f} {one['spread']:7.1f} | {gains} {one['mean gain']:+6.2f} | "
            f"{one['learned by task']['16']['IconStyles']:5.1f} | {'fit' if is_fit(one, before) else '-'}"
        )
    fit = [one for one in judged if is_fit(one, before)]
    print("taken:", max(fit, key=lambda one: one["mean gain"])["name"] if fit else "none is fit")


if __name__ == "__main__":
    main()
