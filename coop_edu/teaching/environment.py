"""Is this machine ready? Versions, device, cache folder and assets, each with its remedy.

`python -m coop_edu` prints the report, and so does notebook 00. Packages are imported inside the checks, so that a
missing one becomes a line of the report.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from coop_edu import files
from coop_edu.files import cache_folder, sha256

if TYPE_CHECKING:
    from packaging.requirements import Requirement

MODULES = {"open_clip_torch": "open_clip", "pillow": "PIL", "scikit-learn": "sklearn"}  # others: the package's name
OLDEST_PYTHON = (3, 10)
SPACE_NEEDED = 200  # MB, for the drawings and cached features


@dataclass(frozen=True)
class Check:
    """One line of the report: what was checked, whether it passed, what was found, and what to do if it failed."""

    name: str
    ok: bool
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'[OK]  ' if self.ok else '[FAIL]'} {self.name}: {self.found}"
        return line if self.ok else f"{line}\n       -> {self.remedy}"


@dataclass(frozen=True)
class Report:
    """All checks; `ok` if every one passed. Prints as the report."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def __str__(self) -> str:
        bad = sum(not check.ok for check in self.checks)
        close = "Everything is ready." if self.ok else f"{bad} of {len(self.checks)} checks failed: see the arrows."
        return "\n".join([*map(str, self.checks), close])

    __repr__ = __str__


def check_environment() -> Report:
    """Check everything that the notebooks need. Never raises: a problem becomes a [FAIL] with its remedy.

    >>> print(Check("cache folder", False, "read-only", "set COOP_EDU_CACHE to a folder of yours"))
    [FAIL] cache folder: read-only
           -> set COOP_EDU_CACHE to a folder of yours
    """
    return Report((_check_python(), *_check_packages(), _check_device(), _check_cache_folder(), *_check_assets()))


def _check_python() -> Check:
    oldest = ".".join(map(str, OLDEST_PYTHON))
    remedy = f"install Python {oldest} or newer, and make a new environment with it"
    return Check("Python", sys.version_info >= OLDEST_PYTHON, sys.version.split()[0], remedy)


def _check_packages() -> Iterator[Check]:
    """The packages that coop_edu requires, from the metadata of its installation."""
    try:
        from packaging.requirements import Requirement

        required = [Requirement(line) for line in metadata.requires("coop_edu") or []]
    except (ImportError, metadata.PackageNotFoundError) as error:
        yield Check("coop_edu", False, f"its requirements cannot be read ({error})", _install("coop_edu packaging"))
        return
    for requirement in required:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _check_package(requirement)


def _check_package(requirement: Requirement) -> Check:
    package, install = requirement.name, _install(f'"{requirement.name}{requirement.specifier}"')
    try:
        version = metadata.version(package)
        import_module(MODULES.get(package, package))
    except metadata.PackageNotFoundError:
        return Check(package, False, "not installed", install)
    except Exception as error:  # a broken installation can fail in any way
        found = f"installed, but it does not import ({type(error).__name__}: {error})"
        return Check(package, False, found, f"{install} --force-reinstall")
    return Check(package, requirement.specifier.contains(version, prereleases=True), version, install)


def _install(what: str) -> str:
    return f"{Path(sys.executable).name} -m pip install {what}"


def _check_device() -> Check:
    try:
        import torch
    except Exception:
        return Check("device", False, "unknown, because torch does not import", "see the line on torch")
    if torch.cuda.is_available():
        found = f"cuda ({torch.cuda.get_device_name()})"
    elif torch.backends.mps.is_available():
        found = "mps (Apple GPU)"
    else:
        found = f"cpu ({torch.get_num_threads()} threads), enough for the mini scale"
    return Check("device", True, found)


def _check_cache_folder() -> Check:
    remedy = "set the environment variable COOP_EDU_CACHE to a folder you can write to, with room"
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
        free = shutil.disk_usage(folder).free // 1_000_000
    except (OSError, ValueError, ImportError) as error:
        return Check("cache folder", False, f"not writable ({error})", remedy)
    if free < SPACE_NEEDED:
        return Check("cache folder", False, f"{folder} has {free} MB free, {SPACE_NEEDED} are needed", remedy)
    return Check("cache folder", True, f"{_short(folder)} (writable, {free:,} MB free)")


def _check_assets() -> Iterator[Check]:
    remedy = "install coop_edu again, or in a clone: git status, then git restore the files that you did not change"
    folder = files.ASSETS
    try:
        expected = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Check("assets", False, f"checksums.json cannot be read ({error})", remedy)
        return
    for name, digest in expected.items():
        try:
            ok, size = sha256(folder / name) == digest, f"{math.ceil((folder / name).stat().st_size / 1e3):,} KB"
            found = f"{size}, checksum verified" if ok else f"{size}, damaged or changed (the checksum differs)"
        except OSError as error:
            ok, found = False, f"cannot be read ({error})"
        yield Check(f"assets/{name}", ok, found, remedy)


def _short(path: Path) -> str:
    """The path with ~ for the home folder, so that stored outputs do not contain the user's name."""
    home = os.path.expanduser("~")
    return str(path).replace(home, "~", 1) if str(path).startswith(home + os.sep) else str(path)
