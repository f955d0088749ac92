"""Files that are replaced in one step: whole, with the mode, the owner and the links that they had."""

import os
import stat
import sys

import pytest

from coop_edu.coop.checkpoints import save_prompt
from coop_edu.coop.prompt_learner import PromptLearner
from coop_edu.files import atomically

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
@pytest.mark.parametrize("kept", [0o600, 0o664, 0o755])
def test_the_mode_is_kept(tmp_path, kept):
    target = tmp_path / "result"
    target.write_text("old")
    target.chmod(kept)
    with atomically(target) as scratch:
        assert not mode(scratch) & ~kept  # what is being written is for nobody else either
        scratch.write_text("new")
    assert (target.read_text(), mode(target)) == ("new", kept)


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
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_is_kept(tmp_path):
    target = tmp_path / "result"
    target.write_text("old")
    os.chown(target, 65534, 65533)
    write(target)
    assert (target.stat().st_uid, target.stat().st_gid) == (65534, 65533)


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


def test_what_a_kill_has_left_goes_when_it_is_old_and_nothing_else(tmp_path):
    old, young = (tmp_path / f".r[1].{digit * 32}.part" for digit in "ab")
    others = [tmp_path / f".r1.{'a' * 32}.part", tmp_path / ".r[1].mine.part", tmp_path / "r[1].part"]
    for path in (old, young, *others):
        path.write_text("half")
        os.utime(path, (0, 0))
    os.utime(young)
    write(tmp_path / "r[1]")
    assert sorted(tmp_path.iterdir()) == sorted([young, *others, tmp_path / "r[1]"])
