"""`python -m coop_edu` tells the truth, with a remedy, whatever is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from coop_edu.teaching import environment
from coop_edu.teaching.environment import Check, Report, check_environment

ROOT = Path(__file__).resolve().parents[1]


def run(*options):
    return subprocess.run([sys.executable, *options], cwd=ROOT, capture_output=True, text=True, timeout=120)


def checks():
    return {check.name: check for check in check_environment().checks}


def failures(report):
    return {check.name: check for check in report.checks if not check.ok}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "package"), [("torch", "torch"), ("PIL", "pillow")])
def test_a_missing_package_is_named_with_its_remedy(module, package):
    hide = f"""
import importlib.metadata, runpy, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
find = importlib.metadata.version
def version(name):
    if name == {package!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return find(name)
importlib.metadata.version = version
sys.argv = ["coop_edu"]
runpy.run_module("coop_edu", run_name="__main__")
"""
    result = run("-c", hide)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"[FAIL] {package}: not installed" in result.stdout
    assert f'pip install "{package}>=' in result.stdout
    assert "Traceback" not in result.stderr


def test_a_broken_package_is_not_called_missing(monkeypatch):
    def broken(name):
        raise OSError("libfoo.so: cannot open shared object file")

    monkeypatch.setattr(environment.metadata, "requires", lambda name: ["numpy>=1.26"])
    monkeypatch.setattr(environment, "import_module", broken)
    check = checks()["numpy"]
    assert not check.ok
    assert "libfoo" in check.found and "--force-reinstall" in check.remedy


@pytest.mark.parametrize(
    ("version", "ok"), [("1.26.0", True), ("1.100", True), ("1.9.9", False), ("1.26+cpu", True), ("2.0", False)]
)
def test_versions_are_compared_as_numbers(monkeypatch, version, ok):
    monkeypatch.setattr(environment.metadata, "requires", lambda name: ["numpy>=1.26,<2"])
    monkeypatch.setattr(environment.metadata, "version", lambda package: version)
    assert checks()["numpy"].ok is ok


def test_what_extras_need_is_not_asked_for(monkeypatch):
    monkeypatch.setattr(environment.metadata, "requires", lambda name: ["numpy>=1.26", "nowhere>=1; extra == 'test'"])
    assert "nowhere" not in checks() and "numpy" in checks()


def test_an_installation_without_a_record_is_a_failure(monkeypatch):
    def nothing(name):
        raise environment.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.metadata, "requires", nothing)
    assert "pip install coop_edu" in checks()["coop_edu"].remedy


def test_an_unusable_cache_folder_names_the_variable(monkeypatch, tmp_path):
    file = tmp_path / "a file"
    file.write_text("not a folder")
    monkeypatch.setenv("COOP_EDU_CACHE", str(file / "cache"))
    check = failures(check_environment())["cache folder"]
    assert "COOP_EDU_CACHE" in check.remedy


def test_a_full_disk_is_a_failure(monkeypatch):
    usage = type("Usage", (), {"free": 5_000_000})
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda folder: usage)
    assert "5 MB free" in failures(check_environment())["cache folder"].found


def test_assets_are_verified(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.files, "ASSETS", tmp_path)
    (tmp_path / "good.bin").write_bytes(b"good")
    (tmp_path / "bad.bin").write_bytes(b"tampered")
    good = environment.sha256(tmp_path / "good.bin")
    sums = {"good.bin": good, "bad.bin": good, "gone.bin": good}
    (tmp_path / "checksums.json").write_text(json.dumps(sums))
    found = checks()
    assert found["assets/good.bin"].ok
    assert "checksum differs" in found["assets/bad.bin"].found
    assert "cannot be read" in found["assets/gone.bin"].found
    assert "install coop_edu again" in found["assets/gone.bin"].remedy


@pytest.mark.parametrize("content", [None, "{ half"])
def test_unreadable_checksums_are_a_failure(monkeypatch, tmp_path, content):
    monkeypatch.setattr(environment.files, "ASSETS", tmp_path)
    if content:
        (tmp_path / "checksums.json").write_text(content)
    assert not checks()["assets"].ok


def test_the_report_counts():
    report = Report((Check("a", True, "x"), Check("b", False, "y", "do z")))
    assert not report.ok
    assert str(report).splitlines() == ["[OK]   a: x", "[FAIL] b: y", "       -> do z",
                                        "1 of 2 checks failed: see the arrows."]  # fmt: skip


def test_unknown_arguments_are_refused():
    result = run("-m", "coop_edu", "--frobnicate")
    assert result.returncode == 2 and "usage" in result.stderr
