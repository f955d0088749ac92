"""Test set-up: everything offline, nothing of the user's touched, and notebooks that cannot fail silently.

Autouse fixtures do not reach nbmake's items, so the environment is set in `pytest_configure`.
"""

import gc
import os
import runpy
import shutil
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

# Before torch starts its threads: two processes of one thread do more than one process of two.
if (WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))

import coop_edu  # noqa: F401 (before torch, which reads what it sets)

from exercises import append_solutions
from small_site import scripts, site  # noqa: F401 (fixtures of the whole run)

NO_NETWORK = Path(__file__).with_name("no_network.py")
_kernel_home = tempfile.TemporaryDirectory(prefix="coop_edu_ipython_")


def pytest_configure(config):
    if getattr(config.option, "overwrite", False):
        raise pytest.UsageError("--overwrite would store failed runs too; use `make outputs`")
    startup = Path(_kernel_home.name) / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "00-no-network.py").write_text(NO_NETWORK.read_text(encoding="utf-8"), encoding="utf-8")
    os.environ["IPYTHONDIR"] = _kernel_home.name
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("COOP_EDU_CACHE", str(config.cache.mkdir("coop_edu")))
    if not hasattr(config, "workerinput"):  # not in a worker, beside one that may compute already
        shutil.rmtree(Path(os.environ["COOP_EDU_CACHE"]) / "runs", ignore_errors=True)  # notebooks compute anew
    for variable in ("COOP_EDU_SCALE", "COOP_EDU_STRICT"):
        os.environ.pop(variable, None)
    runpy.run_path(str(NO_NETWORK))
    _guard_notebooks()


def pytest_collection_finish():
    gc.freeze()  # what is loaded by now stays: no collection of garbage needs to look at it


@pytest.fixture(scope="session")
def clip():
    """A CLIP that nobody trained, for all tests that leave its weights alone."""
    from tiny_clip import tiny_clip  # torch, which collecting notebooks does not need

    return tiny_clip()


def _guard_notebooks():
    """Let nbmake run notebooks with `GuardedClient`."""
    import nbmake.nb_run

    nbmake.nb_run.NotebookClient = GuardedClient


class GuardedClient(NotebookClient):
    """Runs a notebook, then its own solutions, and fails on errors that widgets have swallowed.

    An exception inside `with Output()` or `interact` ends up in the widget's state and nowhere else; the learner would
    see it, a test would not.
    """

    def __init__(self, nb, **options):
        if options.get("allow_errors"):
            raise ValueError("this notebook sets allow_errors: it could never fail")
        super().__init__(append_solutions(nb), **options)

    def execute(self, *args, **kwargs):
        nb = super().execute(*args, **kwargs)
        for state in self.widget_state.values():
            for output in state.get("outputs", ()):
                if output.get("output_type") == "error":
                    self._fail(output)
        return nb

    def _fail(self, output):
        last = [cell for cell in self.nb.cells if cell.cell_type == "code"][-1]
        message = f"inside an Output widget: {output.get('evalue')}"
        trace = ["An exception was swallowed by an Output widget:", *output.get("traceback", ())]
        last.outputs.append(nbformat.v4.new_output("error", ename=output["ename"], evalue=message, traceback=trace))
        raise CellExecutionError("\n".join(trace), output["ename"], message)
