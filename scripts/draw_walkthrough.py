"""Puts four figures of the executed notebooks into one image for the README: docs/walkthrough.png.

    python scripts/draw_walkthrough.py        # after `make outputs`

Each figure stands under the question its notebook answers, and above its message. Leaves out: drawing figures; what is
shown is what the notebooks stored.
"""

from __future__ import annotations

import base64
import io
import json
import textwrap
from pathlib import Path

from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from coop_edu.plots import NOTEBOOKS

ROOT = Path(__file__).parent.parent
# notebook, and a word of the code cell whose figure is taken
FIGURES = [
    ("00_start_here", "plots.compare_wordings"),
    ("01_clip_probability", "plots.similarity_matrix(frames"),
    ("06_domain_generalisation", "plots.domain_table"),
    ("07_eleven_tasks", "plots.accuracy_curves"),
]
MARGIN = 48  # pixels; the notebooks store two for each one they show
FONTS = Path(get_data_path()) / "fonts" / "ttf"
HEADING = ImageFont.truetype(FONTS / "DejaVuSans-Bold.ttf", 34)
TEXT = ImageFont.truetype(FONTS / "DejaVuSans.ttf", 26)


def figure(notebook: str, word: str) -> tuple[Image.Image, str]:
    """The stored image of the first executed cell that has `word`, and its message."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code" and word in "".join(cell["source"]):
            for output in cell["outputs"]:
                if png := output.get("data", {}).get("image/png"):
                    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
                    return image, "".join(output["data"]["text/plain"])
    raise SystemExit(f"{notebook} has no executed cell with {word!r} that shows a figure: run `make outputs` first")


def main() -> None:
    blocks = []  # (what is drawn, its height), from top to bottom
    questions = {file: f"{file[:2]}  {question}" for file, _, question in NOTEBOOKS}
    for notebook, word in FIGURES:
        image, message = figure(notebook, word)
        lines = textwrap.fill(message, 92)
        blocks += [
            (questions[notebook], 64),
            (image, image.height),
            (lines, 36 * (lines.count("\n") + 1) + 50),
        ]
    width = max(block.width for block, _ in blocks if isinstance(block, Image.Image))
    sheet = Image.new("RGB", (width + 2 * MARGIN, sum(height for _, height in blocks) + 2 * MARGIN), "white")
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for block, height in blocks:
        if isinstance(block, Image.Image):
            sheet.paste(block, (MARGIN, top))
        else:
            draw.text((MARGIN, top), block, "black", HEADING if block in questions.values() else TEXT, spacing=8)
        top += height
    (ROOT / "docs").mkdir(exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.NONE).save(ROOT / "docs" / "walkthrough.png", optimize=True)


if __name__ == "__main__":
    main()
