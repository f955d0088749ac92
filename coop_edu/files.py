"""Files that are never half written, and the one folder outside a project that coop_edu writes to.

Idea: write beside the target, then rename.  A rename is atomic, so a reader (or a killed process) sees the old file
or the new one, never a piece of one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNSUPPORTED = (errno.EPERM, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
ASSETS = Path(__file__).parent / "assets"


def asset(name: str, *, check: bool = False) -> Path:
    """A file shipped with the package; with check=True, only if its SHA-256 is the one on record.

    Raises FileNotFoundError where the installation is incomplete, ValueError for a file that was changed.
    """
    path = ASSETS / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{name} is missing from {ASSETS}: the installation is incomplete. Reinstall coop_edu, or in a clone "
            f"run `git checkout -- coop_edu/assets/{name}`."
        )
    if check:
        got, expected = sha256(path), read_asset("checksums.json")[name]
        if got != expected:
            raise ValueError(
                f"{path} is damaged or was changed: expected SHA-256 {expected}, got {got}. Reinstall coop_edu, or in "
                f"a clone run `git checkout -- coop_edu/assets/{name}`, if the change is not yours."
            )
    return path


def read_asset(name: str) -> Any:
    """What a JSON file that is shipped with the package holds."""
    return json.loads(asset(name).read_text(encoding="utf-8"))


def cache_folder() -> Path:
    """The user's cache folder of this package: `$COOP_EDU_CACHE`, or where the platform keeps caches.

    Raises FileNotFoundError for a user without a home folder, as in a container with an arbitrary user ID.

    >>> cache_folder().is_absolute()
    True
    """
    from platformdirs import user_cache_path  # not before the environment check has looked for it

    chosen = os.environ.get("COOP_EDU_CACHE") or user_cache_path("coop_edu", appauthor=False, opinion=False)
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError as error:
        raise FileNotFoundError(f"{chosen}: {error} Set COOP_EDU_CACHE to a whole path.") from error


def sha256(path: str | Path) -> str:
    """The SHA-256 checksum of a file, as 64 hexadecimal digits, read in pieces of 1 MiB.

    >>> len(sha256(__file__))
    64
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8 that are not empty, without spaces around them and without a byte-order mark.

    Raises ValueError, with the file's name, if it is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8 ({error}): save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def check_replaceable(target: str | Path) -> Path:
    """The path to write to, with symbolic links resolved.

    Raises PermissionError for a read-only file (also for root), IsADirectoryError for a folder, FileExistsError for a
    device or pipe, which a rename would replace.

    >>> check_replaceable("/new/file.txt").name
    'file.txt'
    """
    target = Path(os.path.realpath(Path(target).expanduser()))  # a rename would replace the link
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder is there, expected a file", str(target))
    if target.exists():
        if not target.is_file():
            raise FileExistsError(errno.EEXIST, "expected a file, this is a device or a pipe", str(target))
        if not os.access(target, os.W_OK) or not target.stat().st_mode & 0o222:
            raise PermissionError(errno.EACCES, "the file is read-only, and is left as it is", str(target))
    return target


@contextmanager
def atomically(target: str | Path) -> Iterator[Path]:
    """Write to the path given; it becomes `target` in one step when the block ends, or vanishes when the block fails.

    What is written is on the disk before the step.  A symbolic link stays a link.
    Raises OSError, before the block, where `check_replaceable` does.

    >>> import tempfile; folder = tempfile.TemporaryDirectory(); target = Path(folder.name) / "result.txt"
    >>> with atomically(target) as scratch: _ = scratch.write_text("whole")
    >>> target.read_text(), [path.name for path in target.parent.iterdir()]
    ('whole', ['result.txt'])
    """
    target = check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so on the same disk, where a rename will do.
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield scratch
        with open(scratch, "rb+") as file, where_supported():
            os.fsync(file.fileno())  # else a power failure could leave an empty file under the final name
        os.replace(scratch, target)
    except OSError as error:
        if error.errno:  # the system's own; a full disk does not name the file
            error.filename = error.filename or str(target)
        raise
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; others wait for a minute, then get a TimeoutError.

    The lock is a file of its own beside `path`, because `path` is replaced.  On a disk without locks nobody waits.
    """
    from filelock import FileLock

    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=60)
    with where_supported():
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def where_supported() -> Iterator[None]:
    """Ignore errors of file systems without locks or fsync, such as network mounts."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
