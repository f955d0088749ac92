"""Takes README's figures out of the executed notebooks: docs/wordings.png of 00, docs/walkthrough.png of 07.

    python scripts/draw_walkthrough.py        # after `make outputs`

Leaves out: drawing; what is shown is what the notebooks stored.
"""

from __future__ import annotations

from pathlib import Path

from five_minutes import stored_figure

ROOT = Path(__file__).parent.parent
FIGURES = {
    "wordings.png": ("00_start_here", "plots.compare_wordings"),
    "walkthrough.png": ("07_eleven_tasks", "paper_mean}"),
}


def main() -> None:
    for name, (notebook, code) in FIGURES.items():
        image, _, _ = stored_figure(notebook, code)
        (ROOT / "docs" / name).write_bytes(image)


if __name__ == "__main__":
    main()
