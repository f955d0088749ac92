"""`python -m coop_edu`: the environment check. The exit status is 0 when everything is ready, 1 when not.

`python -m coop_edu run ...` and `report ...` are grids of experiments, and `predict ...` asks a saved prompt about the
images of a folder (grid/commands.py).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from coop_edu import __version__
from coop_edu.grid import commands
from coop_edu.teaching.environment import check_environment


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in ("run", "report", "predict"):
        return commands.main(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m coop_edu",
        description="Check that this machine is ready.",
        epilog="Experiments: python -m coop_edu run --help, report --help; a saved prompt: predict --help",
    )
    parser.add_argument("--version", action="version", version=f"coop_edu {__version__}")
    parser.parse_args(arguments)
    print(f"coop_edu {__version__}")
    report = check_environment()
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    status = main()
    if status == commands.INTERRUPTED:  # threads may still compute, and an ordinary exit would wait for them
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
