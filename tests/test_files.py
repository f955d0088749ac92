"""Files that are replaced in one step, whole; a link stays a link."""

import errno
import os
import stat
import sys

import pytest
from filelock import FileLock

from coop_edu import PromptLearner, save_prompt
from coop_edu.files import atomically, locked

from tiny_clip import tiny_clip

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and links")


def write(target, text="new"):
    with atomically(target) as scratch:
        scratch.write_text(text)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_a_read_only_file_is_refused_before_the_work(tmp_path):
    target = tmp_path / "result"
    target.write_text("old")
    target.chmod(0o444)
    with pytest.raises(PermissionError, match=r"read-only(.|\n)*result"), atomically(target):
        pytest.fail("the block ran")
    assert (target.read_text(), mode(target), len(list(tmp_path.iterdir()))) == ("old", 0o444, 1)


@posix
@pytest.mark.parametrize("umask, expected", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_new_file_has_the_mode_of_any_new_file_a_prompt_too(tmp_path, umask, expected):
    """safetensors makes its files 0600."""
    before = os.umask(umask)
    try:
        write(tmp_path / "result")
        save_prompt(PromptLearner(tiny_clip(), ["cat"], n_ctx=2), tmp_path / "prompt")
    finally:
        os.umask(before)
    assert mode(tmp_path / "result") == mode(tmp_path / "prompt") == expected


@posix
def test_a_symbolic_link_goes_on_leading_to_its_file(tmp_path):
    (tmp_path / "disk").mkdir()
    link, real = tmp_path / "link", tmp_path / "disk" / "real"
    link.symlink_to(real)
    for text in ("first", "second"):  # at first the link leads to nothing
        write(link, text)
        assert link.is_symlink() and real.read_text() == text and not real.is_symlink()


@posix
def test_folders_pipes_and_devices_stay_what_they_are(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError, match="folder"):
        write(tmp_path / "folder")
    with pytest.raises(FileExistsError, match="device or a pipe"):
        write(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_it_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    happened, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: happened.append("fsync") or sync(number))
    monkeypatch.setattr(os, "replace", lambda *paths: happened.append("replace") or replace(*paths))
    write(tmp_path / "result")
    assert happened == ["fsync", "replace"]


def failing(number):
    def call(*args, **options):
        raise OSError(number, os.strerror(number))

    return call


def test_a_disk_that_cannot_sync_or_lock_is_written_all_the_same_and_other_errors_are_not_hidden(tmp_path, monkeypatch):
    """Network and bucket mounts lack one or the other; a full disk or a broken one is something else."""
    for number in (errno.EPERM, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
        monkeypatch.setattr(os, "fsync", failing(number))
        monkeypatch.setattr(FileLock, "acquire", failing(number))
        with locked(tmp_path / "result"):
            write(tmp_path / "result", str(number))
        assert (tmp_path / "result").read_text() == str(number)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    monkeypatch.setattr(FileLock, "acquire", failing(errno.EACCES))
    with pytest.raises(OSError, match="Input/output"):
        write(tmp_path / "result")
    with pytest.raises(PermissionError), locked(tmp_path / "result"):
        pytest.fail("the block ran")
    assert (tmp_path / "result").read_text() == str(number) and len(list(tmp_path.iterdir())) == 1


def test_the_second_waits_for_the_first(tmp_path):
    with locked(tmp_path / "result"):
        other = FileLock(tmp_path / ".result.lock", timeout=0.1)
        with pytest.raises(TimeoutError), other:
            pytest.fail("the block ran")
    with locked(tmp_path / "result"):
        pass
