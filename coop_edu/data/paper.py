"""The paper's eleven data sets (Section 4.1), read from the authors' folders and split files.

One table says where each of them is and what must be there; one function reads them all.  The folder tree is that of
the CoOp repository's DATASETS.md: every data set is a folder below one root, with the authors' `split_zhou_<name>.json`
in it, which fixes the same images for everybody.

Leaves out: ImageNet and its variants (imagenet.py), class names and splits without a split file (paper_splits.py),
what can be wrong with a split file (split_file.py).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from coop_edu.data.dataset import Dataset, Example
from coop_edu.data.paper_splits import aircraft, build_rows
from coop_edu.data.split_file import check_rows, classnames_of, read_split, write_split

VARIABLE = "COOP_EDU_DATA"
GUIDE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
SEE_PAGE = "see the data set's page"
AIRCRAFT_LISTS = ("variants.txt", *(f"images_variant_{split}.txt" for split in ("train", "val", "test")))


@dataclass(frozen=True)
class Place:
    """Where a data set is below the root, what must be there, and the facts of its card.

    published: sizes, counted in the authors' split file, or "as usually given" where there was none to count in;
    licence: what was read and where, for nobody here has asked the owners: the source's page decides.
    images: the folder that a split file's paths start from; needs: what there must be besides the split file;
    builds_from: what a split is made of where that is missing; torchvision: the class that can download it, and what
    goes where (from torchvision's folders to the authors').
    """

    folder: str
    images: str
    template: str
    published: str
    licence: str
    source: str
    needs: tuple[str, ...] = ()
    builds_from: tuple[str, ...] = ()
    torchvision: str | None = None
    moves: dict[str, str] = field(default_factory=dict)


PAPER_DATASETS: dict[str, Place] = {
    "Caltech101": Place(
        folder="caltech-101",
        images="101_ObjectCategories",
        template="a photo of a {}.",
        published="100 classes: 4,128 train, 1,649 val, 2,465 test",
        licence=f"{SEE_PAGE}; copies on the Hugging Face hub say CC BY 4.0",
        source="https://data.caltech.edu/records/mzrjq-6wc02",
        torchvision="Caltech101",
        moves={"caltech101/101_ObjectCategories": "101_ObjectCategories"},
    ),
    "OxfordPets": Place(
        folder="oxford_pets",
        images="images",
        template="a photo of a {}, a type of pet.",
        published="37 classes: 2,944 train, 736 val, 3,669 test",
        licence=f"{SEE_PAGE}; copies on the Hugging Face hub say CC BY-SA 4.0",
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        builds_from=("annotations/trainval.txt", "annotations/test.txt"),
        torchvision="OxfordIIITPet",
        moves={"oxford-iiit-pet/images": "images", "oxford-iiit-pet/annotations": "annotations"},
    ),
    "StanfordCars": Place(
        folder="stanford_cars",
        images="",
        template="a photo of a {}.",
        published="196 classes: 6,509 train, 1,635 val, 8,041 test",
        licence="none found: its page is no longer online",
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (no longer online)",
        needs=("cars_train", "cars_test"),
        builds_from=(
            "devkit/cars_meta.mat",
            "devkit/cars_train_annos.mat",
            "cars_test_annos_withlabels.mat",
        ),
    ),
    "OxfordFlowers": Place(
        folder="oxford_flowers",
        images="jpg",
        template="a photo of a {}, a type of flower.",
        published="102 classes: 4,093 train, 1,633 val, 2,463 test",
        licence=SEE_PAGE,
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        builds_from=("imagelabels.mat", "cat_to_name.json"),
        torchvision="Flowers102",
        moves={"flowers-102/jpg": "jpg", "flowers-102/imagelabels.mat": "imagelabels.mat"},
    ),
    "Food101": Place(
        folder="food-101",
        images="images",
        template="a photo of {}, a type of food.",
        published="101 classes, as usually given: 50,500 train, 20,200 val, 30,300 test",
        licence="scientific fair use; for more, ask the images' owners (its README, as copies quote it)",
        source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        torchvision="Food101",
        moves={"food-101/images": "images", "food-101/meta": "meta"},
    ),
    "FGVCAircraft": Place(
        folder="fgvc_aircraft",
        images="images",
        template="a photo of a {}, a type of aircraft.",
        published="100 classes, as usually given: 3,334 train, 3,333 val, 3,333 test",
        licence="non-commercial research; the photographers keep their copyright (the README in its archive)",
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        needs=AIRCRAFT_LISTS,
        torchvision="FGVCAircraft",
        moves={f"fgvc-aircraft-2013b/data/{item}": item for item in ("images", *AIRCRAFT_LISTS)},
    ),
    "SUN397": Place(
        folder="sun397",
        images="SUN397",
        template="a photo of a {}.",
        published="397 classes, as usually given: 15,880 train, 3,970 val, 19,850 test",
        licence=SEE_PAGE,
        source="https://vision.princeton.edu/projects/2010/SUN/",
        builds_from=("ClassName.txt", "Training_01.txt", "Testing_01.txt"),
        torchvision="SUN397",
        moves={"SUN397": "SUN397"},
    ),
    "DescribableTextures": Place(
        folder="dtd",
        images="images",
        template="{} texture.",
        published="47 classes: 2,820 train, 1,128 val, 1,692 test",
        licence="for research (its page, as copies on the Hugging Face hub quote it)",
        source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        torchvision="DTD",
        moves={"dtd/dtd/images": "images", "dtd/dtd/imdb": "imdb", "dtd/dtd/labels": "labels"},
    ),
    "EuroSAT": Place(
        folder="eurosat",
        images="2750",
        template="a centered satellite photo of {}.",
        published="10 classes: 13,500 train, 5,400 val, 8,100 test",
        licence="MIT (the LICENSE file of its repository)",
        source="https://github.com/phelber/EuroSAT",
        torchvision="EuroSAT",
        moves={"eurosat/2750": "2750"},
    ),
    "UCF101": Place(
        folder="ucf101",
        images="UCF-101-midframes",
        template="a photo of a person doing {}.",
        published="101 classes: 7,639 train, 1,898 val, 3,783 test",
        licence=SEE_PAGE,
        source=f"https://www.crcv.ucf.edu/data/UCF101.php; the middle frames: {GUIDE}",
        builds_from=tuple(f"ucfTrainTestlist/{file}.txt" for file in ("classInd", "trainlist01", "testlist01")),
    ),
}


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
    return Path(chosen).expanduser() if chosen else None


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
