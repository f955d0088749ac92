"""Unpacking the shipped drawings: whole or not at all."""

import errno
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from coop_edu import __main__, load_dataset
from coop_edu.data import iconnet
from coop_edu.data.iconnet import unpack
from coop_edu.files import sha256

from tiny_images import make_dataset


@pytest.fixture
def archive(tmp_path):
    """A small archive with the folder tree of the shipped one."""
    made = tmp_path / "made"
    make_dataset(made, "IconNet", train=20)
    make_dataset(made, "IconNet-Sketch", train=0, val=0)
    with zipfile.ZipFile(tmp_path / "iconnet.zip", "w") as file:
        for path in sorted(made.rglob("*")):
            file.write(path, path.relative_to(made))
    return tmp_path / "iconnet.zip"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_behind(cache):
    return [path.name for path in cache.glob("*")] if cache.exists() else []


def test_unpacks_everything_once(archive, tmp_path, monkeypatch):
    target = unpack(archive, sha256(archive), tmp_path / "cache")
    assert contents(target) == contents(tmp_path / "made")
    assert left_behind(tmp_path / "cache") == [target.name]
    monkeypatch.setattr(iconnet, "sha256", lambda path: pytest.fail("verified twice"))
    assert unpack(archive, target.name and sha256(archive), tmp_path / "cache") == target
    archive.unlink()
    assert target.is_dir()


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(archive, tmp_path, damage):
    checksum, whole = sha256(archive), archive.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    archive.write_bytes({"truncate": whole[:-100], "flip": flipped, "empty": b""}[damage])
    with pytest.raises(ValueError, match="damaged or was changed"):
        unpack(archive, checksum, tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_no_archive_and_no_folder(archive, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.zip"):
        unpack(tmp_path / "none.zip", "0" * 64, tmp_path / "cache")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OSError, match="COOP_EDU_CACHE"):
        unpack(archive, sha256(archive), tmp_path / "file")


def test_a_new_archive_gets_a_new_folder(archive, tmp_path):
    old = unpack(archive, sha256(archive), tmp_path / "cache")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("IconNet/more.txt", "new")
    new = unpack(archive, sha256(archive), tmp_path / "cache")
    assert new != old and (new / "IconNet" / "more.txt").is_file()


def _unpack_at_the_barrier(archive, checksum, cache, barrier, results):
    original = zipfile.ZipFile.extractall

    def slowly(self, path):
        barrier.wait(timeout=60)  # both are inside, neither has finished
        original(self, path)

    zipfile.ZipFile.extractall = slowly
    results.put(str(unpack(archive, checksum, cache)))


def test_two_processes_at_once(archive, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (archive, sha256(archive), tmp_path / "cache", barrier, results)
    processes = [context.Process(target=_unpack_at_the_barrier, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    found = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert left_behind(tmp_path / "cache") == [Path(*found).name]
    assert contents(Path(*found)) == contents(tmp_path / "made")


def test_a_killed_process_leaves_no_half_cache(archive, tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = (archive, sha256(archive), tmp_path / "cache", context.Barrier(2), context.Queue())
    process = context.Process(target=_unpack_at_the_barrier, args=arguments)  # waits for a second, for ever
    process.start()
    deadline = time.time() + 60
    while not left_behind(tmp_path / "cache") and time.time() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert left_behind(tmp_path / "cache")
    assert contents(unpack(archive, sha256(archive), tmp_path / "cache")) == contents(tmp_path / "made")


def test_a_full_disk(archive, tmp_path, monkeypatch):
    def full(source, target, *args):
        target.write(source.read(10))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match=r"No space left(.|\n)*COOP_EDU_CACHE") as caught:
        unpack(archive, sha256(archive), tmp_path / "cache")
    assert caught.value.errno == errno.ENOSPC and left_behind(tmp_path / "cache") == []
    monkeypatch.undo()
    assert contents(unpack(archive, sha256(archive), tmp_path / "cache")) == contents(tmp_path / "made")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_read_only_cache_folder(archive):
    with tempfile.TemporaryDirectory() as folder:
        copy, cache = Path(shutil.copy(archive, folder)), Path(folder) / "cache"
        cache.mkdir()
        cache.chmod(0o555)
        Path(folder).chmod(0o755)
        root = os.geteuid() == 0
        if root:  # whom no permission stops
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match="COOP_EDU_CACHE"):
                unpack(copy, sha256(copy), cache)
        finally:
            if root:
                os.seteuid(0)
        assert left_behind(cache) == []


@pytest.fixture
def shipped(archive, tmp_path, monkeypatch):
    """The small archive in the place of the shipped one."""
    facts = {"template": "an icon of a {}.", "role": "source", "about": "drawings", "models": "ImageNet"}
    cards = {"IconNet": facts, "IconNet-Sketch": facts}
    (tmp_path / "iconnet.json").write_text(json.dumps(cards))
    (tmp_path / "checksums.json").write_text(json.dumps({"iconnet.zip": sha256(archive)}))
    monkeypatch.setattr(iconnet.files, "ASSETS", tmp_path)
    monkeypatch.setenv("COOP_EDU_CACHE", str(tmp_path / "cache"))
    iconnet.iconnet_cards.cache_clear()
    yield tmp_path
    iconnet.iconnet_cards.cache_clear()


def test_load_dataset_unpacks_and_reads(shipped):
    loaded = load_dataset("IconNet")
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (40, 4, 4)
    assert loaded.classnames == ("cat", "dog") and loaded.template == "an icon of a {}."
    assert loaded.card == {"role": "source", "about": "drawings", "stands for": "ImageNet"}
    assert all(example.image.is_file() for example in loaded.train)
    assert load_dataset("IconNet") == loaded
    sketch = load_dataset("IconNet-Sketch", root=shipped / "made")
    assert not sketch.train and len(sketch.test) == 4 and sketch.test[0].image.is_relative_to(shipped / "made")


def test_an_image_deleted_from_the_cache_is_named_with_the_remedy(shipped):
    load_dataset("IconNet").train[0].image.unlink()
    with pytest.raises(ValueError, match=r"missing image(.|\n)*Delete .*, which holds only"):
        load_dataset("IconNet")


def test_nobody_is_told_to_part_with_a_folder_of_their_own(shipped, monkeypatch, capsys):
    mine = shipped / "my thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("years")
    damaged = shutil.copytree(shipped / "made", shipped / "unpacked by me")
    next((damaged / "IconNet" / "images").rglob("*.png")).unlink()
    for root in (mine, damaged, str(mine)):
        with pytest.raises(ValueError, match="leave root out") as caught:
            load_dataset("IconNet", root=root)
        assert "elete" not in str(caught.value)
    options = ["--datasets", "IconNet", "--shots", "1", "--seeds", "1", "--methods", "zero_shot"]
    assert __main__.main(["run", "--results", str(shipped / "r.jsonl"), "--root", str(mine), *options]) == 1
    printed = capsys.readouterr().err
    assert "leave root out" in printed and "elete" not in printed


@pytest.mark.skipif(not (Path(iconnet.files.ASSETS) / "iconnet.json").is_file(), reason="the assets are not built yet")
def test_the_shipped_archive_loads_whole():
    for name in iconnet.iconnet_cards():
        loaded = load_dataset(name)
        assert loaded.test and loaded.template.count("{}") == 1 and len(loaded.classnames) >= 2
