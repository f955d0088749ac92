"""Results on disk: one JSON line per cell.  A killed process loses no finished line.

Each result line is on the disk before the next result is awaited.  So a crash can cut only the last line, and readers
skip it.  Any other malformed line is an error, because rewriting the file would lose it.  Several processes may write
one file: each locks it, and reads again what is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from coop_edu.files import atomically, check_replaceable, locked
from coop_edu.records import decode, record

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class ResultLine(msgspec.Struct, rename={"too_few": "too few"}):
    """What every line of a results file has; its metrics are called "figures"."""

    cell: dict[str, Any]
    figures: dict[str, Percent]
    recipe: dict[str, Any] | None
    versions: dict[str, Any]
    too_few: dict[str, dict[str, int]]


METRICS_OF = {"few-shot": ("accuracy",), "base-to-new": ("base", "new", "H")}  # what every line of a protocol has
HALVES = ("even", "odd")  # test images by their place: two accuracies without common noise (agreement.py)
BEGINNING = b'{"cell": {'  # of every line


@dataclass(frozen=True, order=True)
class Cell:
    """One experiment.  shots and seed are 0 where nothing is trained.

    method: its name, such as "zero_shot", "M16_end" or "M4_mid_CSC" (methods.py).
    """

    scale: str
    clip: str
    protocol: str
    dataset: str
    method: str
    shots: int = 0
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """The cell as it stands in a results file, where the method is called "variant"."""
        return {"variant" if name == "method" else name: value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Cell:
        """The cell of a line.  Raises ValueError if it is not a valid cell."""
        facts = {"method" if name == "variant" else name: value for name, value in facts.items()}
        if unknown := facts.keys() - cls.__dataclass_fields__.keys():
            raise ValueError(f"its cell has unknown entries: {sorted(unknown)[:5]}")
        return record(cls, facts, "its cell")


def read_results_file(*results: str | Path) -> dict[Cell, dict]:
    """{cell: its line}, of one file or several.  A last line that a crash has cut is left out; its cell can be run
    again.

    Keys that are not known here are kept.
    Raises ValueError, and leaves the file alone, for any other line that is not one result, and where two lines of one
    file differ on a cell, or two files on its metrics or its recipe.
    """
    lines: dict[Cell, dict] = {}
    places: dict[Cell, tuple[Path, int]] = {}  # where each cell was read first
    for path in (Path(path).expanduser() for path in results):
        for number, line in _lines(path):
            cell = Cell.from_json(line["cell"])
            if cell not in lines:
                lines[cell], places[cell] = line, (path, number)
                continue
            first_path, first_number = places[cell]
            # Two machines may have other versions of a package, and the same result.
            keys = ("figures", "recipe") if first_path != path else lines[cell].keys() | line.keys()
            differ = sorted(key for key in keys if lines[cell].get(key) != line.get(key))
            if differ:
                raise ValueError(
                    f"line {first_number} of {first_path} and line {number} of {path} are of one cell, {cell}, and "
                    f"differ in {', '.join(differ)}: which counts? Go on with a copy that has one of the two."
                )
    _check_one_origin(lines)
    return lines


def check_same_origin(cell: Cell, old: dict, new: dict, path: Path | str) -> None:
    """Raises ValueError if two results of a cell had different recipes or were made of different things
    (cells.made_of)."""
    was, now = _origin(old), _origin(new)
    if changed := [what for what in sorted(was.keys() & now.keys()) if was[what] != now[what]]:
        differ = "; ".join(f"{what}: {was[what]} there, {now[what]} here" for what in changed)
        raise ValueError(
            f"{path} has {cell}, made of something else ({differ}). Take another results file, or remove those lines."
        )


def _origin(line: dict) -> dict[str, Any]:
    recipe = {"recipe": line["recipe"]} if "recipe" in line else {}
    return {**recipe, **line.get("made of", {})}


def _check_one_origin(lines: Mapping[Cell, dict]) -> None:
    """Raises ValueError if one name stands for two CLIPs or datasets: a report would average over both."""
    first: dict[tuple, Cell] = {}  # the first cell with this CLIP, or with this dataset
    for cell, line in lines.items():
        for what, name in (("CLIP", cell.clip), ("dataset", f"{cell.protocol}: {cell.dataset}")):
            if what not in line.get("made of", {}):  # a file of version 0.2
                continue
            other = first.setdefault((what, name), cell)
            if lines[other]["made of"][what] != line["made of"][what]:
                raise ValueError(f"{other} and {cell} had different {what}s of one name: keep them in two files")


def _lines(path: Path) -> Iterator[tuple[int, dict]]:
    """The results in a file, none if there is no file, with the numbers of their lines."""
    texts = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            yield number, _result(text)
        except ValueError as error:
            if number == len(texts) and _is_cut(text):  # no line end: it was being written
                continue
            many = text.count(BEGINNING) > 1
            raise ValueError(
                f"line {number} of {path} is not a result ({error}): {text[:80]!r}. "
                + (
                    "Several results stand in that line: put each on a line of its own, ended by a line feed."
                    if many
                    else "Is it another file? If that line is damaged, go on with a copy of the file without it; its "
                    "cell will be run again."
                )
            ) from error


def _result(text: bytes) -> dict:
    """One line of a results file.  ValueError if it is anything else than one whole result."""
    line = decode(text, "the text")
    record(ResultLine, line, "the line")
    cell = Cell.from_json(line["cell"])
    lacking = [name for name in METRICS_OF.get(cell.protocol, ()) if name not in line["figures"]]
    if lacking or not line["figures"]:
        raise ValueError(f"its figures have no {', '.join(lacking) or 'number'}")
    return line


def _is_cut(text: bytes) -> bool:
    """True if this is the beginning of one record, not of another file, and not of several records."""
    if text[: len(BEGINNING)] != BEGINNING[: len(text)] or text.count(BEGINNING) > 1:
        return False
    try:
        decode(text, "a whole record, with parts missing")
    except ValueError:
        return True
    return False


def _text(line: dict) -> str:
    return json.dumps(line, sort_keys=True) + "\n"


def append(path: Path, line: dict) -> None:
    """Add a line and wait until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_text(line))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk's OSError has no file name


def add(results: str | Path, lines: Mapping[Cell, dict]) -> dict[Cell, dict]:
    """Append the lines of cells that the file does not have yet; returns all that the file then has.

    Several processes may add to one file: each waits for the others, and looks again at what is there.
    Raises ValueError as `read_results_file` does, and for a cell that is there with another recipe; OSError as
    `check_replaceable` does.
    """
    with _locked(results) as path:
        old = read_results_file(path)
        new = _missing(old, lines, path)
        if path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n"):
            _write(path, old)  # otherwise the new line would be joined to a cut one
        for line in new.values():
            append(path, line)
    return old | new


def rewrite_sorted(results: str | Path, lines: Mapping[Cell, dict] | None = None) -> dict[Cell, dict]:
    """Write the file anew, in one step: its lines and these, sorted, without a line that a crash has cut.

    Returns them.  Raises as `add` does.
    """
    with _locked(results) as path:
        old = read_results_file(path)
        old |= _missing(old, lines or {}, path)
        _write(path, old)
    return old


@contextmanager
def _locked(results: str | Path) -> Iterator[Path]:
    """The file that results leads to, while no other process writes it."""
    path = check_replaceable(results)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        yield path


def _missing(old: Mapping[Cell, dict], lines: Mapping[Cell, dict], path: Path) -> dict[Cell, dict]:
    """The lines of cells that are not in the file yet.  A line that another process added meanwhile is kept."""
    for cell in lines:
        check_same_origin(cell, old.get(cell, {}), lines[cell], path)
    _check_one_origin({**lines, **old})
    return {cell: line for cell, line in lines.items() if cell not in old}


def _write(path: Path, lines: Mapping[Cell, dict]) -> None:
    with atomically(path) as scratch:
        scratch.write_text("".join(_text(lines[cell]) for cell in sorted(lines)), encoding="utf-8")
