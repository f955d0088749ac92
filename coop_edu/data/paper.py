"""Ten of the paper's eleven datasets (Section 4.1), read from the authors' folders and split files.

paper_places.py says where each of them is and what must be there.  ImageNet and its variants are in imagenet.py.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.paper_places import GUIDE, PAPER_DATASETS, Place
from coop_edu.data.paper_splits import aircraft, build_rows
from coop_edu.data.split_file import check_rows, classnames_of, read_split, write_split

VARIABLE = "COOP_EDU_DATA"


def load_paper(
    name: str, root: str | Path | None = None, *, download: bool = False, split_seed: int | None = None
) -> Dataset:
    """One of the ten datasets other than ImageNet; see `load_dataset` for root, download and split_seed.

    Raises FileNotFoundError, with the tree that is expected and what of it is missing; SplitFileError for a split that
    does not fit the images; OSError for a failed download.
    """
    place, root = PAPER_DATASETS[name], data_root(root)
    if download and root is not None and not is_complete(place, root):
        fetch(name, place, root)
    if name == "FGVCAircraft":
        folder = find(name, place, root)
        splits = check_rows(aircraft(folder), folder / place.images, folder / "variants.txt")
        origin = "the official one"
    else:
        splits, origin = _read_or_build(name, place, root, split_seed)
    card = card_of(place) | {"split": origin}
    return Dataset(name, classnames_of(splits), **splits, template=place.template, card=card)


def _read_or_build(
    name: str, place: Place, root: Path | None, seed: int | None
) -> tuple[dict[str, tuple[Example, ...]], str]:
    """The splits and a sentence on their origin: the authors' file, or, without it and with a seed, our own split."""
    authors_file, our_file = split_name(name), f"split_seed{seed}_{name}.json"
    if seed is None or (root is not None and (root / place.folder / authors_file).is_file()):
        folder = find(name, place, root, authors_file)
        return read_split(folder / authors_file, folder / place.images), f"read from {authors_file}, the authors' file"
    folder = find(name, place, root, *place.builds_from)
    images = folder / place.images
    if not (folder / our_file).is_file():
        write_split(folder / our_file, check_rows(build_rows(name, folder, seed), images, folder), images)
    origin = f"NOT the authors': made by their rule from seed {seed}, so images differ from theirs ({our_file})"
    return read_split(folder / our_file, images), origin


def split_name(name: str) -> str:
    """The authors' name for a dataset's split file."""
    return f"split_zhou_{name}.json"


def card_of(place: Place) -> dict[str, str]:
    """The facts that `describe()` prints."""
    return {"published": place.published, "licence": place.licence, "source": place.source}


def data_root(root: str | Path | None) -> Path | None:
    """The folder that holds the datasets' folders: `root`, else the environment variable COOP_EDU_DATA, else None."""
    chosen = root or os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else None


# ------------------------------------------------------------------------------------------ finding, or what is missing
def is_complete(place: Place, root: Path, *more: str) -> bool:
    """True if everything that a dataset needs exists, and `more`."""
    return all((root / place.folder / need).exists() for need in (place.images, *place.needs, *more))


def find(name: str, place: Place, root: Path | None, *more: str) -> Path:
    """The dataset's folder.  FileNotFoundError, which shows the expected tree, if something it needs is missing."""
    if root is None or not is_complete(place, root, *more):
        raise FileNotFoundError(not_found(name, place, root, *more))
    return root / place.folder


def not_found(name: str, place: Place, root: Path | None, *more: str) -> str:
    """The expected tree, which parts of it were found, and how to get the others."""
    root_text = f"<root, or the environment variable {VARIABLE}>" if root is None else str(root)
    lines = [f"{name} is missing or incomplete. Expected, as in the CoOp repository's DATASETS.md:"]
    lines += [f"  {root_text}/", f"    {place.folder}/"]
    for need in filter(None, (place.images, *place.needs, *more)):
        there = root is not None and (root / place.folder / need).exists()
        slash = "" if Path(need).suffix else "/"
        lines.append(f"      {need + slash:44} {'found' if there else 'MISSING'}")
    if root is None:
        lines.append(f"No root was given: load_dataset({name!r}, root=...), or set {VARIABLE}.")
    elif not root.is_dir():
        lines.append(f"The folder {root} does not exist.")
    elif root.name == place.folder:
        lines.append(f"root must be the folder that holds {place.folder}/: root={str(root.parent)!r}.")
    lines.append(f"The images: {place.source}")
    if place.torchvision:
        lines.append("  or download=True, which fetches them through torchvision into this tree")
    lines.append(f"The authors' steps, and links to their files: {GUIDE}")
    if split_name(name) in more:
        lines.append(
            f"Without {split_name(name)}, split_seed=1 makes a split by the authors' rule and writes it beside the "
            "images. Its images differ from the authors', so its metrics differ from the paper's."
        )
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- downloading
def fetch(name: str, place: Place, root: Path) -> None:
    """Download the images through torchvision, and move them into the authors' folder tree; existing files stay.

    Raises FileNotFoundError, with the steps by hand, if torchvision does not know the dataset; OSError if it failed.
    """
    if place.torchvision is None:
        raise FileNotFoundError(
            f"torchvision cannot download {name}: download it by hand.\n"
            + not_found(name, place, root, split_name(name))
        )
    import torchvision

    scratch, folder = root / f".{place.folder}.download", root / place.folder
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        getattr(torchvision.datasets, place.torchvision)(scratch, download=True)
    except Exception as error:  # torchvision raises many kinds of exception here
        raise OSError(
            f"{name} could not be downloaded ({type(error).__name__}: {error}). Call again to continue in {scratch}, "
            f"or download by hand: {place.source}, into {folder}/, as in {GUIDE}"
        ) from error
    folder.mkdir(exist_ok=True)
    for source, target in place.moves.items():
        if not (folder / target).exists():
            os.replace(scratch / source, folder / target)
    shutil.rmtree(scratch)
