"""The commands `python -m coop_edu run`, `report` and `predict`: grids of experiments, and a saved prompt's answers."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

PRETRAINED = "the CLIP's weights: a file, or a tag of open_clip such as laion2b_s34b_b79k"
INTERRUPTED = 130  # exit status after Ctrl-C: 128 + signal number 2


def main(arguments: Sequence[str]) -> int:
    """Run a command; the exit status is 0 when it is done, 1 when an error was printed, INTERRUPTED after Ctrl-C."""
    chosen = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console without "±", or without Chinese, shows "?"
    try:
        return {"run": run, "report": report, "predict": predict}[chosen.command](chosen)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


class WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Help texts that end in the default, if there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default else action.help


def shots(text: str) -> int:
    """A number of shots on the command line."""
    from coop_edu.data.few_shot import ALL  # not at the top: the environment check runs without its packages

    return ALL if text == "all" else int(text)


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    all_ = argparse.ArgumentParser(prog="python -m coop_edu")
    commands = all_.add_subparsers(dest="command", required=True)
    run_options = commands.add_parser(
        "run",
        formatter_class=WithDefaults,
        help="run one experiment or a grid; finished cells are skipped",
        epilog="Example: python -m coop_edu run --datasets IconFood --shots 1 4 16 --results runs/food.jsonl",
    )
    run_options.add_argument("--results", type=Path, required=True, help="a file, one JSON line for each finished cell")
    run_options.add_argument("--scale", default="mini", help="mini or paper")
    run_options.add_argument("--clip", help="another CLIP than the scale's, such as RN101 or ViT-B/16")
    run_options.add_argument("--protocol", default="few-shot", help="few-shot, domains or base-to-new")
    run_options.add_argument(
        "--datasets", nargs="+", help="your own: a folder or split file; without: all eleven tasks"
    )
    run_options.add_argument(
        "--names", type=Path, help="class names: a CSV file with a line folder,name for each class"
    )
    run_options.add_argument(
        "--template",
        nargs="+",
        default=[],
        metavar="TEXT",
        help='hand-written prompts such as "an icon of a {}."; of several, the best on validation images is taken',
    )
    run_options.add_argument(
        "--shots", nargs="+", type=shots, default=[1, 2, 4, 8, 16], help='training images per class, or "all"'
    )
    run_options.add_argument("--seeds", nargs="+", type=int, help="without: 1 to 5, and at scale paper 1 to 3")
    run_options.add_argument(
        "--methods",
        nargs="+",
        default=["zero_shot", "M16_end"],
        help="zero_shot ensemble_7 ensemble_80 linear_probe M16_end M4_mid M16_end_CSC init_end KgCoOp_init_end ..., "
        "or your own: my_file.py:my_method",
    )
    run_options.add_argument("--epochs", type=int, help="instead of the recipe's")
    run_options.add_argument("--root", help="the folder of the paper's datasets; without: $COOP_EDU_DATA")
    run_options.add_argument("--pretrained", help=PRETRAINED)
    run_options.add_argument("--jobs", type=int, default=1, help="processes; more than one needs joblib")
    report_options = commands.add_parser(
        "report", help="print the table of a results file, and draw its curves", formatter_class=WithDefaults
    )
    report_options.add_argument("results", type=Path, nargs="+")
    report_options.add_argument("--figure", type=Path, help="a file to draw into, such as curves.png")
    report_options.add_argument("--metric", default="accuracy", help="of the protocol few-shot")
    report_options.add_argument(
        "--methods", nargs="+", default=[], help="your own methods, as my_file.py:my_method, for labels and colours"
    )
    predict_options = commands.add_parser(
        "predict", help="ask a saved prompt about the images of a folder", formatter_class=WithDefaults
    )
    predict_options.add_argument("prompt", type=Path, help="a file that save_prompt or a checkpoint wrote")
    predict_options.add_argument("folder", type=Path, help="a folder of images, searched recursively")
    predict_options.add_argument("--top", type=int, default=1, help="answers per image")
    predict_options.add_argument("--csv", type=Path, help="a file for the table, instead of printing it")
    predict_options.add_argument("--pretrained", help=PRETRAINED)
    return all_


def run(chosen: argparse.Namespace) -> int:
    """Run the grid, print how many cells there are and the table."""
    from coop_edu.files import read_lines
    from coop_edu.grid.frame import as_frame
    from coop_edu.grid.report import table
    from coop_edu.grid.results import read_results_file
    from coop_edu.grid.run import make_grid, run_grid

    cells = make_grid(
        chosen.scale,
        datasets=chosen.datasets,
        shots=chosen.shots,
        seeds=chosen.seeds,
        methods=chosen.methods,
        protocol=chosen.protocol,
        clip=chosen.clip,
    )
    finished_before = set(read_results_file(chosen.results))
    print(f"{len(cells)} cells, {sum(cell in finished_before for cell in cells)} of them in {chosen.results} already")
    try:
        run_grid(
            cells,
            chosen.results,
            root=chosen.root,
            epochs=chosen.epochs,
            pretrained=chosen.pretrained,
            templates=chosen.template,
            names=dict(csv.reader(read_lines(chosen.names))) if chosen.names else None,
            jobs=chosen.jobs,
        )
    except KeyboardInterrupt:
        finished = len(read_results_file(chosen.results).keys() & set(cells))
        print(
            f"stopped: {finished} of {len(cells)} cells are in {chosen.results}; the same command goes on from there",
            file=sys.stderr,
        )
        return INTERRUPTED
    lines = read_results_file(chosen.results)
    print(table(as_frame({cell: lines[cell] for cell in cells})))
    if len(chosen.template) > 1:
        made_of = {cell.dataset: lines[cell].get("made of", {}) for cell in cells if not cell.shots}
        best = {(name, of["template"]) for name, of in made_of.items() if "template" in of}
        print("\n".join(f"{name}: the best template on validation images is {text!r}" for name, text in sorted(best)))
    return 0


def predict(chosen: argparse.Namespace) -> int:
    """Print what a saved prompt says of each image of a folder, or write it as CSV."""
    from coop_edu.clip.models import load_clip
    from coop_edu.coop.checkpoints import load_prompt
    from coop_edu.coop.cocoop import CoCoOp
    from coop_edu.coop.kgcoop import KgCoOp
    from coop_edu.coop.prompt_file import read_prompt
    from coop_edu.coop.prompt_learner import PromptLearner
    from coop_edu.evaluate.tables import predict_table

    header, _ = read_prompt(chosen.prompt)
    clip = load_clip(header["model"], pretrained=chosen.pretrained)
    method = {"CoCoOp": CoCoOp, "KgCoOp": KgCoOp}.get(header["method"], PromptLearner)
    table = predict_table(load_prompt(chosen.prompt, clip, method=method), chosen.folder, top=chosen.top)
    if chosen.csv:
        table.to_csv(chosen.csv, index=False)
        print(f"{len(table)} images: {chosen.csv}")
    else:
        print(table.to_string(index=False, float_format="{:.3f}".format))
    return 0


def report(chosen: argparse.Namespace) -> int:
    """Print the table of one or more results files; with --figure, draw them too."""
    from coop_edu.grid.frame import read_results
    from coop_edu.grid.methods import method_from
    from coop_edu.grid.report import figure, table
    from coop_edu.grid.results import read_results_file
    from coop_edu.grid.run import warn_of_too_few

    for text in chosen.methods:
        method_from(text)
    results = read_results(*chosen.results)
    if results.empty:
        raise ValueError(f"no finished cell in {', '.join(map(str, chosen.results))}")
    print(table(results, chosen.metric))
    # Else 8 and 16 shots of the same images would look like two results.
    warn_of_too_few(read_results_file(*chosen.results).values())
    if chosen.figure:
        figure(results, chosen.metric).savefig(chosen.figure)
        print(f"drawn: {chosen.figure}")
    return 0
