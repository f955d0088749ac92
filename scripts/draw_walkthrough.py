"""Takes README's figure, docs/walkthrough.png, out of the executed notebook 07.

    python scripts/draw_walkthrough.py        # after `make outputs`

Leaves out: drawing; what is shown is what the notebook stored.
"""

from __future__ import annotations

from pathlib import Path

from five_minutes import stored_figure

ROOT = Path(__file__).parent.parent


def main() -> None:
    image, _, _ = stored_figure("07_eleven_tasks", "plots.accuracy_curves")
    (ROOT / "docs" / "walkthrough.png").write_bytes(image)


if __name__ == "__main__":
    main()
