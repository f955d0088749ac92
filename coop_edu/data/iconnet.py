"""IconNet, its four variants and the ten small tasks: real drawings, shipped as one archive, unpacked on first use.

The archive is unpacked into a folder beside the final one and renamed when whole, so the cache is never half full,
even if two processes unpack at once or one is killed.  Its checksum is part of the folder's name: a folder that
exists is verified.

Leaves out: how the drawings were chosen (see scripts/build_iconnet.py and the card in assets/).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path

from coop_edu import files
from coop_edu.data.dataset import Dataset
from coop_edu.data.split_file import SplitFileError, classnames_of, read_split
from coop_edu.files import cache_folder, read_asset, sha256, user_path


@cache
def iconnet_cards() -> dict[str, dict]:
    """What assets/iconnet.json says of each data set: {name: {"template", "role", ...}}."""
    return read_asset("iconnet.json")


def load_iconnet(name: str, root: str | Path | None = None) -> Dataset:
    """IconNet, a variant or a small task.  root: a folder with the unpacked archive (default: unpack into the cache).

    Raises ValueError for a damaged archive or cache, OSError for a cache folder that cannot be written.
    """
    given = root
    if root is None:
        checksum = read_asset("checksums.json")["iconnet.zip"]
        root = unpack(files.ASSETS / "iconnet.zip", checksum, cache_folder())
    folder, facts = user_path(root) / name, iconnet_cards()[name]
    try:
        splits = read_split(folder / f"split_zhou_{name}.json", folder / "images")
    except (SplitFileError, FileNotFoundError) as error:
        # Only the folder in the cache is ours to give up; one that was given may hold anything.
        advice = (
            f"The unpacked drawings in {root} are damaged. Delete that folder, which holds nothing else, and load "
            "again: it will be unpacked afresh."
            if given is None
            else f"{name} comes with the package: leave root out. It is only for drawings that you unpacked "
            f"yourself, in folders such as {folder}."
        )
        raise ValueError(f"{error}\n{advice}") from error
    card = {"role": facts["role"], "about": facts["about"], "stands for": facts["models"]}
    return Dataset(name, classnames_of(splits), **splits, template=facts["template"], card=card)


def unpack(archive: Path, checksum: str, cache: Path) -> Path:
    """Unpack a zip archive into `cache/<archive's name>-<checksum>`, once, and return that folder.

    checksum: the archive's SHA-256, 64 hexadecimal digits.  Safe when several processes do it at once.
    Raises FileNotFoundError without the archive; ValueError if it is not the expected one (truncated, tampered with);
    OSError (PermissionError ...) if the cache folder is read-only or full.  Nothing half unpacked stays behind.
    """
    target = cache / f"{archive.stem}-{checksum[:16]}"
    if target.is_dir():  # it got its name when it was whole
        return target
    _verify(archive, checksum)
    scratch = None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache))
        with zipfile.ZipFile(archive) as file:
            file.extractall(scratch / "whole")
        _rename_unless_there(scratch / "whole", target)
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not unpack {archive.name} into {cache}: {error.strerror or error}. The folder "
            f"must be writable and have {_unpacked_megabytes(archive)} MB free. Free some space, or set the "
            "environment variable COOP_EDU_CACHE to another folder.",
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


def _verify(archive: Path, checksum: str) -> None:
    if not archive.is_file():
        raise FileNotFoundError(f"no archive {archive}: is the package installed whole? Reinstall coop_edu.")
    found = sha256(archive)
    if found != checksum:
        raise ValueError(
            f"{archive} is not the archive this version ships: expected SHA-256 {checksum[:16]}..., got "
            f"{found[:16]}... ({archive.stat().st_size:,} bytes). It is cut short or was changed, for "
            "example by an interrupted download. Nothing was unpacked. Reinstall coop_edu."
        )


def _rename_unless_there(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError:
        if not target.is_dir():  # else another process was first, with the same files
            raise


def _unpacked_megabytes(archive: Path) -> int:
    with zipfile.ZipFile(archive) as file:
        return sum(entry.file_size for entry in file.infolist()) // 1_000_000 + 1
