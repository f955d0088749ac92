"""Puts two figures of the executed notebooks side by side into one image for the README: docs/walkthrough.png.

    python scripts/draw_walkthrough.py        # after `make outputs`

Leaves out: drawing figures; what is shown is what the notebooks stored.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
# notebook, and a word of the code cell whose figure is taken
FIGURES = [("04_few_shot_training", "plots.accuracy_curves(own"), ("07_eleven_tasks", "plots.accuracy_curves")]


def figure(notebook: str, word: str) -> Image.Image:
    """The stored image of the first executed cell that has `word`."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code" and word in "".join(cell["source"]):
            for output in cell["outputs"]:
                if png := output.get("data", {}).get("image/png"):
                    return Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    raise SystemExit(f"{notebook} has no executed cell with {word!r} that shows a figure: run `make outputs` first")


def main() -> None:
    images = [figure(*place) for place in FIGURES]
    sheet = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    sheet.quantize(256, dither=Image.Dither.NONE).save(ROOT / "docs" / "walkthrough.png", optimize=True)


if __name__ == "__main__":
    main()
