"""The page "CoOp in five minutes" for Sphinx: docs/five_minutes.md with its figures and its live parts in place.

In docs/five_minutes.md a line that is only a link stands for a figure, and its text is the alt text.  A link to a
notebook becomes the figure that one of its cells has stored, with the stored sentence under it; the link's title is a
word of that cell.  A link to the paper's numbers becomes the paper's curve beside ours.  A comment
`live: explorer.html` becomes that live part.  So no number of this page is typed.
"""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

from PIL import Image

from coop_edu.files import read_asset
from coop_edu.grid.report import Curves, average, published
from coop_edu.plots import accuracy_panels
from coop_edu.plots.style import PAPER, SCREEN, STYLES, png, shown_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = "docs/five_minutes.md"
FIGURE = re.compile(r'(?m)^\[([^\]]*)\]\(\.\./notebooks/(\w+)\.ipynb "([^"]*)"\)$')
PAPERS = re.compile(r"(?m)^\[([^\]]*)\]\(\.\./coop_edu/assets/paper_results\.json\)$")
LIVE = re.compile(r"<!-- live: ([\w.]+) -->")
METHODS = ("zero_shot", "linear_probe", "M16_end", "M16_end_CSC")


def lay_out(sources: Path, live: Path | None) -> None:
    """Write the page and its figures into `sources`; `live`: the folder of the live parts, if they will be there."""
    target = sources / PAGE
    figures = target.with_suffix("")  # a folder
    figures.mkdir(parents=True)

    def stored(link: re.Match[str]) -> str:
        alt, notebook, word = link.groups()
        image, width, sentence = stored_figure(notebook, word)
        return figure(f"{notebook}.png", image, width, alt, sentence)

    def compared(link: re.Match[str]) -> str:
        return figure("paper.png", *ours_and_the_papers(), link[1], sentence_of_both())

    def figure(name: str, image: bytes, width: int, alt: str, sentence: str) -> str:
        (figures / name).write_bytes(image)
        lines = [f"```{{figure}} five_minutes/{name}", f":alt: {alt}", f":width: {width}px", "", sentence, "```"]
        return "\n".join(lines)

    def lively(mark: re.Match[str]) -> str:
        return live_part(live, mark[1], "../") if live else ""

    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for pattern, made in ((FIGURE, stored), (PAPERS, compared), (LIVE, lively)):
        text = pattern.sub(made, text)
    target.write_text(text.replace("(../README.md", "(../index.md"), encoding="utf-8")


def live_part(folder: Path, name: str, up: str = "") -> str:
    """A part of the page that needs JavaScript, as Markdown; `up`: the way to the site's first page, as in `../`."""
    html = re.sub(r'\b(href|src)="', rf'\1="{up}', (folder / name).read_text(encoding="utf-8"))
    return f"```{{raw}} html\n{html}```\n"


def stored_figure(notebook: str, word: str) -> tuple[bytes, int, str]:
    """(PNG, width in pixels of the page, sentence) of the first executed cell with a word and a figure."""
    for cell in cells_of(notebook):
        found = [output for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]
        if word in "".join(cell["source"]) and found:
            shown = found[0]["metadata"]["image/png"]
            texts = ["".join(output.get("data", {}).get("text/markdown", "")) for output in cell["outputs"]]
            (sentence,) = (text.removeprefix("*Figure.* ") for text in texts if text.startswith("*Figure.* "))
            return base64.b64decode(found[0]["data"]["image/png"]), shown["width"], sentence
    raise SystemExit(f"{notebook} shows no figure of {word!r}: run `make outputs` first")


def cells_of(notebook: str) -> list[dict]:
    return json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]


def ours() -> dict[str, dict[int, list[float]]]:
    """method -> {shots: [mean - std, mean + std]} over the tasks, as notebook 07 has printed it.

    Two such numbers have the printed mean and standard deviation, and so the figure has its band.
    """
    start = "zero-shot, mean of the hand-written prompts: "
    printed = [
        "".join(output.get("text", "")) for cell in cells_of("07_eleven_tasks") for output in cell.get("outputs", ())
    ]
    (table,) = (text[text.index("shots ") :].splitlines() for text in printed if start in text)
    labels = {shown_name(label): label for label in STYLES}
    methods = [labels.get(name, name) for name in re.split(r"\s{2,}", table[0].strip())[1:]]
    curves: dict[str, dict[int, list[float]]] = {method: {} for method in methods}
    for line in table[1:-1]:
        shots, *row = re.findall(r"[\d.]+", line)
        for method, mean, std in zip(methods, map(float, row[::2]), map(float, row[1::2]), strict=True):
            curves[method][int(shots)] = [mean - std, mean + std]
    return {"zero-shot": {0: [float(table[-1].removeprefix(start))]}, **curves}


def papers() -> dict[str, dict[int, list[float]]]:
    """method -> {shots: [accuracy]}, the mean over the paper's eleven data sets, with RN50."""
    names = read_asset("paper_results.json")["few_shot"]["zero_shot"]
    panels: Curves = {name: published(name, METHODS) for name in names}
    return {method.removesuffix(PAPER): points for method, points in average(panels).items()}


def ours_and_the_papers() -> tuple[bytes, int]:
    """(PNG, width in pixels of the page) of the two as panels of one figure, on one axis."""
    data = png(accuracy_panels({"here: MiniCLIP": ours(), "the paper: RN50": papers()}, columns=2), dpi=2 * SCREEN)
    return data, Image.open(io.BytesIO(data)).width // 2


def sentence_of_both() -> str:
    def gain(curves: dict[str, dict[int, list[float]]], shots: int) -> str:
        learned = curves["CoOp"][shots]
        return f"{sum(learned) / len(learned) - curves['zero-shot'][0][0]:+.1f}"

    two, sixteen = ([gain(curves, shots) for curves in (ours(), papers())] for shots in (2, 16))
    return (
        "Average over eleven tasks; the band is one std over seeds. CoOp minus the hand-written prompts, "
        f"in points: {two[0]} with two images per class ({two[1]} in the paper), {sixteen[0]} with sixteen "
        f"({sixteen[1]})."
    )
