"""Datasets by name: the drawings that the package ships, and the paper's datasets on your disk."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from coop_edu.data.dataset import Dataset
from coop_edu.data.iconnet import iconnet_cards, load_iconnet
from coop_edu.data.imagenet import load_imagenet
from coop_edu.data.paper import load_paper
from coop_edu.data.paper_places import IMAGENET, PAPER_DATASETS

# The names that load_dataset knows, the shipped ones first.
DATASETS: tuple[str, ...] = (*iconnet_cards(), *IMAGENET, *PAPER_DATASETS)


def load_dataset(
    name: str, root: str | Path | None = None, *, download: bool = False, split_seed: int | None = None
) -> Dataset:
    """Load a dataset by name: one that the package ships, or one of the paper's from your disk.

    root: the folder that holds the datasets' folders, in the authors' layout; None: the environment variable
    COOP_EDU_DATA.  Leave it None for the shipped drawings: they are unpacked into the user's cache folder on first use.
    download: fetch missing images of the paper's datasets through torchvision, where it can.
    split_seed: if the authors' split file is missing, make a split by their rule from this seed, and write it beside
    the images.  The dataset's card then says that the split is not the authors'.  Nothing else is ever written there.
    Raises ValueError for an unknown name, and lists the known ones; FileNotFoundError for missing images or files,
    with the tree that is expected.

        pets = load_dataset("OxfordPets", root="data")
    """
    if name in PAPER_DATASETS:
        return load_paper(name, root, download=download, split_seed=split_seed)
    if name in IMAGENET:
        return load_imagenet(name, root)
    if name in iconnet_cards():
        return load_iconnet(name, root)
    close = get_close_matches(str(name), DATASETS, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"unknown dataset {name!r}. {hint}Known: {', '.join(DATASETS)}. "
        "For your own images: from_folder(path), or from_split_file(path)."
    )
