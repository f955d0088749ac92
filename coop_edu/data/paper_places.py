"""Where the paper's datasets are below one root, which files they need, and the facts of their cards: the entries of
assets/paper_datasets.json.

The folder tree is that of the CoOp repository's DATASETS.md.  Every dataset's folder has the authors'
`split_zhou_<name>.json`, which fixes the same images for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from coop_edu.files import read_asset
from coop_edu.records import record

GUIDE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"


@dataclass(frozen=True)
class Place:
    """Where a dataset is below the root, which files it needs, and the facts of its card.

    published: sizes, counted in the authors' split file; "as usually given" if we did not have that file.
    licence: what we read, and where.  We did not ask the owners: the source's page decides.
    images: the folder that a split file's paths start from.  needs: the files it needs besides the split file.
    builds_from: the files that a split is made from if the split file is missing.
    names: {class folder: class name}, where they differ.  ignored: folders that are not classes.
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
    names: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    torchvision: str | None = None
    moves: dict[str, str] = field(default_factory=dict)


def _places(group: str) -> dict[str, Place]:
    places = read_asset("paper_datasets.json")[group]
    return {name: record(Place, facts, f"{name} in paper_datasets.json") for name, facts in places.items()}


PAPER_DATASETS = _places("datasets")
IMAGENET = _places("imagenet")
