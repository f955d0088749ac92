"""IconNet, its four variants and the ten small tasks: drawings shipped as one archive, unpacked on first use.

The folder name in the cache contains the archive's checksum, and the folder gets that name only when it is complete.
So a folder that exists is verified, even if two processes unpack at once or one is killed.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from coop_edu import files
from coop_edu.data.dataset import Dataset
from coop_edu.data.split_file import SplitFileError, classnames_of, read_split
from coop_edu.files import cache_folder, read_asset, sha256


@cache
def iconnet_cards() -> dict[str, dict]:
    """What assets/iconnet.json says about each dataset: {name: {"template", "role", ...}}."""
    return read_asset("iconnet.json")


def load_iconnet(name: str, root: str | Path | None = None) -> Dataset:
    """IconNet, a variant or a small task.  root: a folder with the unpacked archive (default: unpack into the cache).

    Raises ValueError for a damaged archive or cache, OSError for a cache folder that cannot be written.
    """
    root_argument = root
    if root is None:
        checksum = read_asset("checksums.json")["iconnet.zip"]
        root = unpack(files.ASSETS / "iconnet.zip", checksum, cache_folder())
    folder, facts = Path(root).expanduser() / name, iconnet_cards()[name]
    try:
        splits = read_split(folder / f"split_zhou_{name}.json", folder / "images")
    except (SplitFileError, FileNotFoundError) as error:
        # Only the folder in the cache is ours. A folder that was given may hold anything, so never advise deleting it.
        advice = (
            f"Delete {root}, which holds only the unpacked drawings, and load again."
            if root_argument is None
            else f"{name} comes with the package: leave root out, unless you unpacked the drawings into {folder}."
        )
        raise ValueError(f"{error}\n{advice}") from error
    card = {"role": facts["role"], "about": facts["about"], "stands for": facts["models"]}
    return Dataset(name, classnames_of(splits), **splits, template=facts["template"], card=card)


def unpack(archive: Path, checksum: str, cache: Path) -> Path:
    """Unpack a zip archive into `cache/<archive's name>-<checksum>`, once, and return that folder.

    checksum: the archive's SHA-256, 64 hexadecimal digits.  Several processes may do it at once.
    Raises FileNotFoundError without the archive; ValueError if its checksum differs; OSError (PermissionError ...) if
    the cache folder is read-only or full.  A failure leaves nothing behind.
    """
    target = cache / f"{archive.stem}-{checksum[:16]}"
    if target.is_dir():
        return target
    if (actual := sha256(archive)) != checksum:
        raise ValueError(
            f"{archive} is damaged or was changed: expected SHA-256 {checksum[:16]}..., got {actual[:16]}.... "
            "Reinstall coop_edu."
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unpacking-", dir=cache) as scratch, zipfile.ZipFile(archive) as file:
            file.extractall(Path(scratch) / "whole")
            try:
                os.replace(Path(scratch) / "whole", target)
            except OSError:
                if not target.is_dir():  # otherwise another process was first, with the same files
                    raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not unpack {archive.name} into {cache}: {error.strerror or error}. Free some space, or set the "
            "environment variable COOP_EDU_CACHE to another folder.",
        ) from error
    return target
