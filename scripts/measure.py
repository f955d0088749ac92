"""Measures what the cards, the notebooks and the README state of the miniature.

    python scripts/measure.py       # on two cores with AVX2 about half an hour; resumed where it was stopped

Three things, in this order: coop_edu/assets/mini_results.jsonl, the grid of notebook 07 and what it has no time for
(class-specific contexts, four context vectors, a start from words, the name in the middle, the shift, new classes);
measured.json, zero-shot accuracy by wording, and accuracy behind random vectors; and the tables of the model card.
Leaves out: how anything is computed; this only calls the library.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from coop_edu import PromptLearner, ZeroShot, accuracy, extract_features, load_clip, load_dataset
from coop_edu.grid.agreement import agreement
from coop_edu.grid.frame import few_shot, read_results
from coop_edu.grid.methods import find_method, register_method
from coop_edu.grid.run import make_grid, run_grid
from coop_edu.scales import SCALES

ASSETS = Path(__file__).parent.parent / "coop_edu" / "assets"
RESULTS = ASSETS / "mini_results.jsonl"
METHODS = ("zero_shot", "linear_probe", "M16_end", "M16_end_CSC")
SEEDS = (1, 2, 3, 4, 5)  # with three, a difference has to be very large before it can be told from chance
LENGTHS = (2, 4, 8, 16)  # M of random contexts
SHORT = ("M4_end", "init_end")  # at the numbers of shots where they are spoken of
# KgCoOp's own weight is 8.
KGCOOPS = [register_method(find_method("KgCoOp_init_end").with_options(weight=weight)) for weight in (1, 32)]
# those of notebook 11
SUCCESSORS = ("zero_shot", "init_end", "CoCoOp_init_end", "KgCoOp_init_end", *(method.name for method in KGCOOPS))
WORDINGS = (
    "{}", "{} icon", "an icon of a {}.", "a glyph of a {}.", "a drawing of a {}.", "a line drawing of a {}.",
    "an emoji of a {}.", "a photo of a {}.", "a bad photo of the {}.", "itap of a {}.", "{}, interface by somebody",
)  # fmt: skip


def main() -> None:
    cells = [
        *make_grid("mini", methods=METHODS, seeds=SEEDS),
        *make_grid("mini", methods=SHORT, seeds=SEEDS, shots=[1, 2, 16]),
        *make_grid("mini", methods=["M16_mid"], seeds=SEEDS, shots=[16]),
        *make_grid("mini", methods=[*METHODS, "M4_end"], seeds=SEEDS, shots=[16], protocol="domains"),
        *make_grid("mini", methods=SUCCESSORS, seeds=SEEDS, shots=[16], protocol="base-to-new"),
    ]
    run_grid(cells, RESULTS)
    for beside in ("mini_results.seconds.jsonl", ".mini_results.jsonl.lock"):
        RESULTS.with_name(beside).unlink(missing_ok=True)
    wordings = measure_wordings()
    behind = measure_random_contexts()
    (ASSETS / "measured.json").write_text(
        json.dumps({"zero_shot": wordings, "random_context": behind}, indent=1) + "\n"
    )
    tables = wording_table(wordings), random_table(behind), learned_tables(), agreement_table()
    fill_card("measured", [line for table in tables for line in (*table, "")][:-1])


def measure_wordings() -> dict[str, dict[str, float]]:
    """{wording: {"validation" or a test set of the source and its variants: accuracy}}."""
    scale = SCALES["mini"]
    clip, source = load_clip(scale.clip), load_dataset(scale.source)
    sets = {"validation": (source, source.val), source.name: (source, source.test)}
    sets |= {name: (dataset, dataset.test) for name in scale.variants for dataset in [load_dataset(name)]}
    features = {name: extract_features(clip, examples) for name, (_, examples) in sets.items()}
    return {
        wording: {
            name: accuracy(ZeroShot(clip, dataset.classnames, wording), features[name])
            for name, (dataset, _) in sets.items()
        }
        for wording in WORDINGS
    }


def measure_random_contexts() -> dict[str, dict]:
    """{task: hand-written accuracy, chance, and {M: accuracy behind M random vectors for each seed}}, test images."""
    clip, found = load_clip(SCALES["mini"].clip), {}
    for name in SCALES["mini"].tasks:
        data = load_dataset(name)
        test, names = extract_features(clip, data.test), data.classnames
        found[name] = {
            "hand-written": accuracy(ZeroShot(clip, names, data.template), test),
            "chance": 100 / len(names),
            "unified": {M: [accuracy(PromptLearner(clip, names, n_ctx=M, seed=seed), test) for seed in SEEDS]
                        for M in LENGTHS},
        }  # fmt: skip
    return found


def random_table(found: dict[str, dict]) -> Iterator[str]:
    """Accuracy behind random vectors, and the share of the accuracy above chance that is left."""
    rows = [
        [name, f"{one['hand-written']:.1f}", *(f"{sum(one['unified'][M]) / len(SEEDS):.1f}" for M in LENGTHS)]
        for name, one in found.items()
    ]
    written, chance = (sum(one[key] for one in found.values()) for key in ("hand-written", "chance"))
    left = [sum(sum(one["unified"][M]) / len(SEEDS) for one in found.values()) for M in LENGTHS]
    rows.append(["kept above chance, %", "100", *(f"{100 * (x - chance) / (written - chance):.0f}" for x in left)])
    yield from markdown(["behind random vectors", "hand-written", *(f"M = {M}" for M in LENGTHS)], rows)


def wording_table(wordings: dict) -> list[str]:
    names = list(next(iter(wordings.values())))
    rows = sorted(wordings.items(), key=lambda item: -item[1]["validation"])
    return list(markdown(["wording", *names], ([f"`{w}`", *(f"{row[n]:.1f}" for n in names)] for w, row in rows)))


def learned_tables() -> Iterator[str]:
    """The average over the eleven tasks by shots, and the shift at 16 shots: mean (std) over seeds."""
    results = read_results(RESULTS)
    by_seed = few_shot(results).groupby(["method", "shots", "seed"])["percent"].mean()
    cells = by_seed.groupby(["method", "shots"]).agg(lambda x: f"{x.mean():.1f} ({x.std(ddof=0):.1f})")
    shots = (1, 2, 4, 8, 16)
    yield from markdown(
        ["average of eleven tasks, mean (std) of five seeds", *(f"{k} shots" for k in shots)],
        ([find_method(v).label, *(cells.get((v, k), "") for k in shots)] for v in (*METHODS[1:], *SHORT)),
    )
    yield f"\nThe hand-written prompts have {by_seed['zero_shot'].mean():.1f}.\n"
    means = results[results["protocol"] == "domains"].pivot_table("percent", "method", "metric")
    rows = ([find_method(v).label, *(f"{x:.1f}" for x in row)] for v, row in zip(means.index, means.to_numpy()))
    yield from markdown(["learned on IconNet, 16 shots", *means.columns], rows)


def agreement_table() -> Iterator[str]:
    table = agreement(read_results(RESULTS))
    rows = ([letter, *(x if isinstance(x, str) else number(x) for x in row)] for letter, row in table.iterrows())
    yield from markdown(["", *table.columns], rows)


def number(x: float) -> str:
    return "–" if x != x else f"{x:+.2f}"


def markdown(header: list[str], rows) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|---|" + "---:|" * (len(header) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def fill_card(name: str, lines: list[str]) -> None:
    """Between two comments of the model card."""
    card = ASSETS / "MINICLIP.md"
    text, start, end = card.read_text(), f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    card.write_text(text[: text.index(start) + len(start)] + "\n" + "\n".join(lines) + "\n" + text[text.index(end) :])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
