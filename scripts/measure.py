"""Measures what the cards and the README state: MiniCLIP's zero-shot accuracy by wording, and the IconNet results.

    python scripts/measure.py            # writes coop_edu/assets/measured.json and the tables of the model card

Every number in the model card comes from here. Leaves out: how anything is computed; this only calls the library.
"""

import json
from dataclasses import replace
from pathlib import Path

from coop_edu import (  # fmt: skip
    FeatureBank,
    LinearProbe,
    PromptLearner,
    Trainer,
    ZeroShot,
    accuracy,
    extract_features,
    load_clip,
    load_dataset,
    mean_and_std,
    sample_train_val,
    train_together,
)
from coop_edu.scales import SCALES

ASSETS = Path(__file__).parent.parent / "coop_edu" / "assets"
SHOTS, SEEDS = (1, 2, 4, 8, 16), (1, 2, 3)
WORDINGS = (
    "{}", "{} icon", "an icon of a {}.", "a glyph of a {}.", "a drawing of a {}.", "a line drawing of a {}.",
    "an emoji of a {}.", "a photo of a {}.", "a bad photo of the {}.", "itap of a {}.", "{}, interface by somebody",
)  # fmt: skip
LEARNERS = {
    "CoOp, unified, M=16": dict(n_ctx=16),
    "CoOp, unified, M=4": dict(n_ctx=4),
    "CoOp, class-specific, M=16": dict(n_ctx=16, class_specific=True),
}


def main() -> None:
    scale = SCALES["mini"]
    clip = load_clip(scale.clip)
    source = load_dataset(scale.source)
    sets = {source.name: source, **{name: load_dataset(name) for name in scale.variants}}
    tests = {name: extract_features(clip, dataset.test) for name, dataset in sets.items()}
    bank = FeatureBank(clip, [*source.train, *source.val])
    val = bank(source.val)

    zero_shot = {}
    for wording in WORDINGS:
        classifier = ZeroShot(clip, source.classnames, wording)
        zero_shot[wording] = {"validation": accuracy(classifier, val)}
        for name, dataset in sets.items():
            zero_shot[wording][name] = accuracy(classifier.with_classnames(dataset.classnames), tests[name])

    results: dict[str, dict[int, dict[str, list[float]]]] = {}

    def score(row: str, shots: int, classifier) -> None:
        cell = results.setdefault(row, {}).setdefault(shots, {name: [] for name in sets})
        for name, dataset in sets.items():
            own = classifier if dataset is source else classifier.with_classnames(dataset.classnames)
            cell[name].append(accuracy(own, tests[name]))

    for shots in SHOTS:
        drawn = [[bank(part) for part in sample_train_val(source, shots, seed)] for seed in SEEDS]
        recipes = [replace(scale.recipe(shots, source.name), seed=seed) for seed in SEEDS]
        for row, options in LEARNERS.items():
            learners = [PromptLearner(clip, source.classnames, seed=seed, **options) for seed in SEEDS]
            trainers = [
                Trainer(learner, recipe, progress=False) for learner, recipe in zip(learners, recipes)
            ]
            train_together(trainers, [train for train, _ in drawn])
            for learner in learners:
                score(row, shots, learner)
        for train, few_val in drawn:
            score("linear probe", shots, LinearProbe(clip, source.classnames, train, few_val))
        print(
            f"{shots} shots: "
            + ", ".join(
                f"{row} {mean_and_std(cells[shots][source.name])[0]:.1f}" for row, cells in results.items()
            ),
            flush=True,
        )

    summary = {row: {shots: {name: [round(x, 2) for x in mean_and_std(values)] for name, values in cell.items()}
                     for shots, cell in cells.items()} for row, cells in results.items()}  # fmt: skip
    (ASSETS / "measured.json").write_text(
        json.dumps({"zero_shot": zero_shot, "few_shot": summary}, indent=1) + "\n"
    )
    write_tables(zero_shot, summary, list(sets))


def write_tables(zero_shot: dict, summary: dict, names: list[str]) -> None:
    lines = ["| wording | validation | " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for wording, row in sorted(zero_shot.items(), key=lambda item: -item[1]["validation"]):
        lines.append(
            f"| `{wording}` | " + " | ".join(f"{row[name]:.1f}" for name in ["validation", *names]) + " |"
        )
    lines += [
        "",
        "| learned, mean (std) of three seeds | shots | " + " | ".join(names) + " |",
        "|---|---:|" + "---:|" * len(names),
    ]
    for row, cells in summary.items():
        for shots, cell in cells.items():
            lines.append(
                f"| {row} | {shots} | "
                + " | ".join("{:.1f} ({:.1f})".format(*cell[name]) for name in names)
                + " |"
            )
    card = ASSETS / "MINICLIP.md"
    text = card.read_text()
    start, end = "<!-- measured: begin -->", "<!-- measured: end -->"
    card.write_text(
        text[: text.index(start) + len(start)] + "\n" + "\n".join(lines) + "\n" + text[text.index(end) :]
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
