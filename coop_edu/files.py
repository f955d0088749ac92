"""Files that are never half written, and the one folder outside a project that coop_edu writes to.

Idea: write beside the target, then rename.  A rename is atomic, so a reader (or a killed process) sees the old file
or the new one, never a piece of one.

Leaves out: what is written (see data/iconnet.py, data/features.py, coop/checkpoints.py).
"""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder of this package: `$COOP_EDU_CACHE`, or where the platform keeps caches.

    >>> cache_folder().is_absolute()
    True
    """
    if chosen := os.environ.get("COOP_EDU_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).expanduser().absolute() / "coop_edu"


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


@contextmanager
def atomically(target: str | Path) -> Iterator[Path]:
    """Write to the path given; it becomes `target` in one step when the block ends, or vanishes when the block fails.

    >>> import tempfile; folder = tempfile.TemporaryDirectory(); target = Path(folder.name) / "result.txt"
    >>> with atomically(target) as scratch: _ = scratch.write_text("whole")
    >>> target.read_text(), [path.name for path in target.parent.iterdir()]
    ('whole', ['result.txt'])
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(
        f".{target.name}.{uuid.uuid4().hex}.part"
    )  # same folder: same disk, so a rename will do
    try:
        yield scratch
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
