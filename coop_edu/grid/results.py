"""Results of experiments on disk: one JSON line a cell, whole whenever the process is killed.

A line is added at the end and on the disk before the next cell is waited for; a line that a crash has cut is the last
one, and is left out when the file is read.

Leaves out: what a cell does (run.py), tables and curves (report.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coop_edu.files import atomically

PARTS = ("cell", "figures", "recipe", "versions", "too few")
BEGINNING = b'{"cell": {'  # of every line


@dataclass(frozen=True, order=True)
class Cell:
    """One experiment.  shots and seed are 0 where nothing is trained.

    variant: "zero_shot", "ensemble_7", "ensemble_80", "linear_probe", or a prompt: "M16_end", "M4_mid_CSC", "init_end".
    """

    scale: str
    clip: str
    protocol: str
    dataset: str
    variant: str
    shots: int = 0
    seed: int = 0


def read_results(results: str | Path) -> dict[Cell, dict]:
    """{cell: its line}.  A last line that a crash has cut is left out; its cell can be run again.

    Raises ValueError, and leaves the file alone, for any other line that is not a result.
    """
    path = Path(results)
    if not path.is_file():
        return {}
    lines = path.read_bytes().split(b"\n")
    found = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            found[Cell(**line["cell"])] = {key: line[key] for key in PARTS}
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines) and text[: len(BEGINNING)] == BEGINNING[: len(text)]:
                continue  # no line end: it was being written
            raise ValueError(
                f"line {number} of {path} is not a result ({type(error).__name__}: {error}): {text[:80]!r}. Is it "
                "another file? If it is damaged, take that line out; its cell will be run again."
            ) from error
    return found


def _text(line: dict) -> str:
    return json.dumps(line, sort_keys=True) + "\n"


def append(path: Path, line: dict) -> None:
    """Add a line and wait until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(_text(line))
        file.flush()
        os.fsync(file.fileno())


def write(path: Path, lines: Mapping[Cell, dict]) -> None:
    """The whole file anew, sorted, in one step."""
    with atomically(path) as scratch:
        scratch.write_text("".join(_text(lines[cell]) for cell in sorted(lines)), encoding="utf-8")
