"""Prints, as pip's constraints, the oldest version of each package that pyproject.toml promises to work with.

python .ci/oldest.py > oldest.txt && make test PIP_FLAGS="--constraint oldest.txt"
"""

import re
from pathlib import Path

LINTERS = {"import-linter", "mypy", "ruff"}  # what they say changes with their versions: the newest count
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest() -> dict[str, str]:
    """{package: its lower bound}, of what is required to run and to test."""
    lines = re.findall(r'(?m)^    "([\w-]+)>=([\d.]+)[^"]*",', PROJECT.read_text(encoding="utf-8"))
    return {name: version for name, version in lines if name not in LINTERS}


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}.*" for name, version in oldest().items()))
