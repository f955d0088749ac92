"""Takes README's figure, docs/walkthrough.png, out of the executed notebook 07.

    python scripts/draw_walkthrough.py        # after `make outputs`

Leaves out: drawing; what is shown is what the notebook stored.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTEBOOK, WORD = "07_eleven_tasks", "plots.accuracy_curves"  # the first executed cell that has this word


def main() -> None:
    cells = json.loads((ROOT / "notebooks" / f"{NOTEBOOK}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells if WORD in "".join(cell["source"]) for output in cell.get("outputs", ())]
    found = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    if not found:
        raise SystemExit(f"{NOTEBOOK} shows no figure of {WORD!r}: run `make outputs` first")
    (ROOT / "docs" / "walkthrough.png").write_bytes(base64.b64decode(found[0]))


if __name__ == "__main__":
    main()
