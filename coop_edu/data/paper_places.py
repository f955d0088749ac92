"""Where the paper's datasets are below one root, which files they need, and the facts of their cards.

The folder tree is that of the CoOp repository's DATASETS.md.  Every dataset's folder has the authors'
`split_zhou_<name>.json`, which fixes the same images for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GUIDE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
SEE_PAGE = "see the dataset's page"
AIRCRAFT_LISTS = ("variants.txt", *(f"images_variant_{split}.txt" for split in ("train", "val", "test")))


@dataclass(frozen=True)
class Place:
    """Where a dataset is below the root, which files it needs, and the facts of its card.

    published: sizes, counted in the authors' split file; "as usually given" if we did not have that file.
    licence: what we read, and where.  We did not ask the owners: the source's page decides.
    images: the folder that a split file's paths start from.  needs: the files it needs besides the split file.
    builds_from: the files that a split is made from if the split file is missing.
    torchvision: the class that can download it.  moves: {torchvision's folder: the authors' folder}.
    """

    folder: str
    images: str
    published: str
    licence: str
    source: str
    template: str = "a photo of a {}."
    needs: tuple[str, ...] = ()
    builds_from: tuple[str, ...] = ()
    torchvision: str | None = None
    moves: dict[str, str] = field(default_factory=dict)


PAPER_DATASETS: dict[str, Place] = {
    "Caltech101": Place(
        folder="caltech-101",
        images="101_ObjectCategories",
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
        published="196 classes: 6,509 train, 1,635 val, 8,041 test",
        licence="none found: its page is no longer online",
        source="https://ai.stanford.edu/~jkrause/cars/car_dataset.html (no longer online)",
        needs=("cars_train", "cars_test"),
        builds_from=("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"),
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
