"""Puts three figures of the executed notebooks into one picture for the README: docs/walkthrough.png.

    python scripts/draw_walkthrough.py        # after `make outputs`

Leaves out: drawing anything; what is shown is what the notebooks stored.
"""

import base64
import io
import json
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
# notebook, and a word of the code cell whose figure is taken
FIGURES = [
    ("00_start_here", "plots.compare_wordings"),
    ("04_few_shot_training", "plots.accuracy_curves"),
    ("06_domain_generalisation", "plots.domain_table"),
]
WIDTH, MARGIN = 1000, 24


def figure(notebook: str, word: str) -> Image.Image:
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code" and word in "".join(cell["source"]):
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB")
    raise SystemExit(f"{notebook} has no executed cell with {word!r} that shows a figure: run `make outputs` first")


def main() -> None:
    pictures = [figure(*place) for place in FIGURES]
    pictures = [p.resize((WIDTH, round(p.height * WIDTH / p.width)), Image.Resampling.LANCZOS) for p in pictures]
    height = sum(p.height + MARGIN for p in pictures) + MARGIN
    sheet = Image.new("RGB", (WIDTH + 2 * MARGIN, height), "white")
    top = MARGIN
    for picture in pictures:
        sheet.paste(picture, (MARGIN, top))
        top += picture.height + MARGIN
    (ROOT / "docs").mkdir(exist_ok=True)
    sheet.save(ROOT / "docs" / "walkthrough.png", optimize=True)


if __name__ == "__main__":
    main()
