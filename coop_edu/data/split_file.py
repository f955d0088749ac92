"""Split files in the authors' JSON schema: {"train": [[path, label, class name], ...], "val": [...], "test": [...]}.

Paths are relative to the image folder, labels count from 0, and the order of the lists matters, because the few-shot
sampler draws by position.  All problems of a file are listed at once, before any image is opened.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from coop_edu.data.dataset import Example
from coop_edu.files import atomically

SPLITS = ("train", "val", "test")
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


class SplitFileError(ValueError):
    """A split file with problems: `problems` has all of them, the message the first thirty."""

    def __init__(self, path: Path, problems: Sequence[str], advice: str) -> None:
        self.problems = tuple(problems)
        more = [f"... and {len(problems) - 30} more (all in the error's .problems)"] if len(problems) > 30 else []
        lines = "\n  ".join([*problems[:30], *more])
        super().__init__(f"{path} has {len(problems)} problem(s):\n  {lines}\n{advice}")


def read_split(path: str | Path, image_dir: str | Path) -> dict[str, tuple[Example, ...]]:
    """Read a split file: {"train": ..., "val": ..., "test": ...}, each a tuple of Examples in file order.

    path: the JSON file; image_dir: the folder that its paths are relative to.
    Raises FileNotFoundError without the file, and SplitFileError (a ValueError), which lists all of: a truncated file,
    malformed entries, paths outside the image folder, labels that contradict class names, missing images.
    """
    path = Path(path).expanduser()
    text = path.read_bytes()
    try:
        rows = json.loads(text.decode("utf-8-sig"))
    except ValueError as error:  # not JSON, or not UTF-8
        advice = "Expected the authors' .json, or a table .csv or .tsv. If it is one, it is damaged: copy it again."
        raise SplitFileError(path, [str(error)], advice) from error
    if not isinstance(rows, dict) or set(rows) != set(SPLITS) or not all(isinstance(r, list) for r in rows.values()):
        got = sorted(rows) if isinstance(rows, dict) else type(rows).__name__
        raise SplitFileError(path, [f"expected three lists {list(SPLITS)}, got {got}"], "Is this a split file?")
    return check_rows(rows, image_dir, path)


def check_rows(rows: Mapping[str, list], image_dir: str | Path, origin: Path) -> dict[str, tuple[Example, ...]]:
    """The Examples of {"train": [[path, label, class name], ...], "val": ..., "test": ...}.

    origin: the file or folder that the rows come from, for the error.  Raises SplitFileError as `read_split` does.
    """
    image_dir = Path(image_dir).expanduser()
    rows = {split: [_with_relative_path(row, image_dir) for row in rows[split]] for split in SPLITS}
    if problems := _malformed_entries(rows):
        raise SplitFileError(
            origin, problems, "Expected entries [path, label, class name] as in the authors' split files."
        )
    if problems := _contradictions(rows):
        raise SplitFileError(origin, problems, "Each label must have one class name, and each class name one label.")
    splits = {
        split: tuple(Example(image_dir / image, label, name) for image, label, name in rows[split]) for split in SPLITS
    }
    images = dict.fromkeys(example.image for examples in splits.values() for example in examples)
    missing = [image for image in images if not image.is_file()]
    # An accented letter is one character on some systems and two on others, in file names too.
    on_disk = {image: other for image in missing for form in FORMS if (other := _in_form(image, form)).is_file()}
    if problems := [f"missing image {image}" for image in missing if image not in on_disk]:
        raise SplitFileError(origin, problems, f"Is {image_dir} the image folder, and is it complete?")
    return {
        split: tuple(replace(example, image=on_disk.get(example.image, example.image)) for example in examples)
        for split, examples in splits.items()
    }


def _in_form(path: Path, form: Literal["NFC", "NFD"]) -> Path:
    return Path(unicodedata.normalize(form, str(path)))


def write_split(path: str | Path, splits: Mapping[str, Iterable[Example]], image_dir: str | Path) -> None:
    """Write a split file that `read_split` and the authors' code read.  A split that is not given is empty.

    Raises ValueError for an image that is not inside `image_dir`.
    """
    rows = {
        split: [
            [example.image.relative_to(Path(image_dir).expanduser()).as_posix(), example.label, example.classname]
            for example in splits.get(split, ())
        ]
        for split in SPLITS
    }
    with atomically(path) as scratch:
        scratch.write_text(json.dumps(rows, indent=4, ensure_ascii=False), encoding="utf-8")


def classnames_of(splits: Mapping[str, Iterable[Example]]) -> tuple[str, ...]:
    """The K class names in the order of their labels."""
    names = {example.label: example.classname for examples in splits.values() for example in examples}
    return tuple(names[label] for label in sorted(names))


# ------------------------------------------------------------------------------------------------- the checks
def _with_relative_path(row: Any, image_dir: Path) -> Any:
    """The entry with its path below the image folder and with slashes, as the authors write it.

    A file made on Windows has backslashes, and some files have absolute paths.
    """
    if not (isinstance(row, list) and row and isinstance(row[0], str) and row[0]):
        return row
    path = PurePosixPath(row[0].replace("\\", "/"))
    if path.is_absolute() and path.is_relative_to(image_dir.absolute().as_posix()):
        path = path.relative_to(image_dir.absolute().as_posix())
    return [str(path), *row[1:]]


def _malformed_entries(rows: Mapping[str, list]) -> list[str]:
    problems = []
    for split, number, row in ((s, i, row) for s in SPLITS for i, row in enumerate(rows[s])):
        where = f"{split}[{number}]"
        if not (isinstance(row, list) and [type(item) for item in row] == [str, int, str]):
            problems.append(f"{where}: expected [path, label, class name], got {row!r}")
        elif row[1] < 0 or not row[0] or not row[2].strip():
            problems.append(f"{where}: a negative label, an empty path or an empty class name: {row!r}")
        elif _is_outside(row[0]):
            problems.append(f"{where}: the path leads out of the image folder: {row[0]!r}")
    return problems


def _is_outside(path: str) -> bool:
    """True if a path may leave its folder, on any system: it is absolute, or has a drive letter or "..".

    >>> _is_outside("cat/1.png"), _is_outside("C:/cat/1.png")
    (False, True)
    """
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    return bool(posix.root or windows.root or windows.drive) or ".." in posix.parts or ".." in windows.parts


def _contradictions(rows: Mapping[str, list]) -> list[str]:
    names: dict[int, dict[str, None]] = {}  # a dict keeps the order, and finds a name at once
    labels: dict[str, dict[int, None]] = {}
    for _, label, name in (row for split in SPLITS for row in rows[split]):
        names.setdefault(label, {})[name] = None
        labels.setdefault(name, {})[label] = None
    problems = [
        f"label {label} has several class names: {list(all_)[:9]}" for label, all_ in names.items() if len(all_) > 1
    ]
    problems += [
        f"class name {name!r} has several labels: {list(all_)[:9]}" for name, all_ in labels.items() if len(all_) > 1
    ]
    if names and max(names) >= len(names):
        problems.append(f"labels must be 0 to K-1 without gaps, but {len(names)} labels go up to {max(names)}")
    return problems if names else ["the file lists no images at all"]
