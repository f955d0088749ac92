"""A wheel carries everything: unpacked outside the clone, offline, it loads the model and the drawings."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from coop_edu import __version__

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "ATTRIBUTION.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built by the build backend itself, from a copy: no network, and no build folder in the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    shutil.copytree(ROOT / "coop_edu", clone / "coop_edu", ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, clone)
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))"
    result = subprocess.run([sys.executable, "-c", build], cwd=clone, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / f"coop_edu-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Installed with the very line that the notebooks' guard tells, without its dependencies."""
    target = tmp_path_factory.mktemp("installed")
    line = f'"{sys.executable}" -m pip install --quiet --no-deps --no-index --target "{target}" coop_edu-*.whl'
    result = subprocess.run(line, shell=True, cwd=wheel.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return target


def run(installed, code, cwd):
    """Run code in a fresh Python that finds coop_edu in `installed` before anywhere else, and no network."""
    offline = (Path(__file__).with_name("no_network.py")).read_text(encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(installed)!r})\n{offline}{code}"
    variables = {**os.environ, "COOP_EDU_CACHE": str(cwd / "cache")}
    options = {"cwd": cwd, "env": variables, "capture_output": True, "text": True, "timeout": 200}
    result = subprocess.run([sys.executable, "-c", code], **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_every_module_and_asset_is_in_the_wheel_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [*(ROOT / "coop_edu").rglob("*.py"), *(ROOT / "coop_edu" / "assets").rglob("*.*")]
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= names
    assert "coop_edu/assets/checksums.json" in names
    assert {name.split("/")[0] for name in names} == {"coop_edu", f"coop_edu-{__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_works_outside_the_clone_and_its_environment_check_passes(installed, tmp_path):
    code = """
import coop_edu, json, sys
from coop_edu.__main__ import main
clip = coop_edu.load_clip("mini", device="cpu")
data = coop_edu.load_dataset("IconNet")
zero_shot = coop_edu.ZeroShot(clip, data.classnames, data.template)
answer = coop_edu.predict(zero_shot, data.test[0].image)
print(json.dumps([coop_edu.__file__, len(data.classnames), sum(answer.values())]))
sys.exit(main([]))
"""
    first, *report = run(installed, code, tmp_path).splitlines()
    file, classes, total = json.loads(first)
    assert Path(file).is_relative_to(installed) and classes >= 60 and total == pytest.approx(1, abs=1e-4)
    assert report[-1] == "Everything is ready."
