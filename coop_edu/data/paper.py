"""Ten of the paper's eleven data sets (Section 4.1), read from the authors' folders and split files.

One table says where each of them is and what must be there (paper_places.py); one function reads them all.

Leaves out: ImageNet and its variants (imagenet.py), class names and splits without a split file (paper_splits.py),
what can be wrong with a split file (split_file.py).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.paper_places import GUIDE, PAPER_DATASETS, Place
from coop_edu.data.paper_splits import aircraft, build_rows
from coop_edu.data.split_file import check_rows, classnames_of, read_split, write_split
from coop_edu.files import user_path

VARIABLE = "COOP_EDU_DATA"


def load_paper(
    name: str, root: str | Path | None = None, *, download: bool = False, split_seed: int | None = None
) -> Dataset:
    """One of the ten data sets beside ImageNet; see `load_dataset` for root, download and split_seed.

    Raises FileNotFoundError, with what was looked for and the tree that is expected; SplitFileError for a split that
    does not fit the images; OSError for a download that failed.
    """
    place, root = PAPER_DATASETS[name], data_root(root)
    if download and root is not None and not is_whole(place, root):
        fetch(name, place, root)
    if name == "FGVCAircraft":
        folder = find(name, place, root)
        splits = check_rows(aircraft(folder), folder / place.images, folder / "variants.txt")
        made = "the official one"
    else:
        splits, made = _read_or_build(name, place, root, split_seed)
    card = card_of(place) | {"split": made}
    return Dataset(name, classnames_of(splits), **splits, template=place.template, card=card)


def _read_or_build(
    name: str, place: Place, root: Path | None, seed: int | None
) -> tuple[dict[str, tuple[Example, ...]], str]:
    """The splits, and where they come from: the authors' file, or, if that is missing and a seed given, our own."""
    theirs, own = split_name(name), f"split_seed{seed}_{name}.json"
    if seed is None or (root is not None and (root / place.folder / theirs).is_file()):
        folder = find(name, place, root, theirs)
        return read_split(folder / theirs, folder / place.images), f"read from {theirs}, the authors' file"
    folder = find(name, place, root, *place.builds_from)
    images = folder / place.images
    if not (folder / own).is_file():
        write_split(folder / own, check_rows(build_rows(name, folder, seed), images, folder), images)
    made = f"NOT the authors': made by their rule from seed {seed}, with other images than theirs ({own})"
    return read_split(folder / own, images), made


def split_name(name: str) -> str:
    """The authors' name for a data set's split file."""
    return f"split_zhou_{name}.json"


def card_of(place: Place) -> dict[str, str]:
    """The facts that `describe()` prints."""
    return {"published": place.published, "licence": place.licence, "source": place.source}


def data_root(root: str | Path | None) -> Path | None:
    """The folder that holds the data sets' folders: `root`, else the environment variable COOP_EDU_DATA, else None."""
    chosen = root or os.environ.get(VARIABLE)
    return user_path(chosen) if chosen else None


# -------------------------------------------------------------------------------------- finding, or saying what is not
def is_whole(place: Place, root: Path, *more: str) -> bool:
    """Whether everything is there that a data set needs, and `more`."""
    return all((root / place.folder / need).exists() for need in (place.images, *place.needs, *more))


def find(name: str, place: Place, root: Path | None, *more: str) -> Path:
    """The data set's folder, if what it needs and `more` is in it, else a FileNotFoundError that teaches the tree."""
    if root is None or not is_whole(place, root, *more):
        raise FileNotFoundError(not_found(name, place, root, *more))
    return root / place.folder


def not_found(name: str, place: Place, root: Path | None, *more: str) -> str:
    """One message: the tree that is expected, what of it is there, and how to get the rest."""
    shown = f"<root, or the environment variable {VARIABLE}>" if root is None else str(root)
    lines = [f"{name} is not there, or not whole. Looked for, as in the CoOp repository's DATASETS.md:"]
    lines += [f"  {shown}/", f"    {place.folder}/"]
    for need in filter(None, (place.images, *place.needs, *more)):
        there = root is not None and (root / place.folder / need).exists()
        slash = "" if Path(need).suffix else "/"
        lines.append(f"      {need + slash:44} {'found' if there else 'MISSING'}")
    if root is None:
        lines.append(f"No root was given: load_dataset({name!r}, root=...), or set {VARIABLE}.")
    elif not root.is_dir():
        lines.append(f"There is no folder {root}.")
    elif root.name == place.folder:
        lines.append(f"root is to be the folder that holds {place.folder}/: root={str(root.parent)!r}.")
    lines.append(f"The images: {place.source}")
    if place.torchvision:
        lines.append("  or download=True, which fetches them through torchvision into this tree")
    lines.append(f"The authors' steps, and links to their files: {GUIDE}")
    if split_name(name) in more:
        lines.append(
            f"Without {split_name(name)}, split_seed=1 makes a split by the authors' rule and writes it beside the "
            "images. It is not theirs: figures differ from the paper's for that alone."
        )
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- downloading
def fetch(name: str, place: Place, root: Path) -> None:
    """Download the images through torchvision, and move them into the authors' folder tree; what is there stays.

    Raises FileNotFoundError, with the steps by hand, where torchvision cannot; OSError where it failed.
    """
    if place.torchvision is None:
        raise FileNotFoundError(
            f"torchvision cannot download {name}: it has to be done by hand.\n"
            + not_found(name, place, root, split_name(name))
        )
    import torchvision

    scratch, folder = root / f".{place.folder}.download", root / place.folder
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        getattr(torchvision.datasets, place.torchvision)(scratch, download=True)
    except Exception as error:  # torchvision has no one exception for a download that fails
        raise OSError(
            f"{name} could not be downloaded ({type(error).__name__}: {error}). What has come is kept in {scratch}: "
            f"the same call tries again. By hand: {place.source}, into {folder}/, as in {GUIDE}"
        ) from error
    folder.mkdir(exist_ok=True)
    for source, target in place.moves.items():
        if not (folder / target).exists():
            os.replace(scratch / source, folder / target)
    shutil.rmtree(scratch)
