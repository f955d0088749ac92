"""A grid killed in the middle and resumed, as a reader would run it: by the command."""

import os
import signal
import subprocess
import sys
import time

import pytest

from coop_edu import __main__
from coop_edu.grid.results import read_results_file
from coop_edu.scales import SCALES

TASKS = SCALES["mini"].tasks[1:4]
OPTIONS = ["--shots", "1", "2", "--seeds", "1", "2", "--methods", "zero_shot", "M4_end", "--epochs", "2"]
CELLS = len(TASKS) * 5  # zero-shot, and two numbers of shots for two seeds


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_in_the_middle_and_resumed_gives_the_same_bytes(tmp_path, capsys):
    undisturbed, killed = tmp_path / "undisturbed.jsonl", tmp_path / "killed.jsonl"
    command = ["run", "--datasets", *TASKS, *OPTIONS, "--results"]
    assert __main__.main([*command, str(undisturbed)]) == 0
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    victim = subprocess.Popen([sys.executable, "-m", "coop_edu", *command, str(killed)], env=variables)
    try:
        while not (killed.is_file() and killed.read_bytes().count(b"\n") >= 2):
            assert victim.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        victim.kill()  # SIGKILL: nothing can be tidied up
        victim.wait()
    found = len(read_results_file(killed))
    assert victim.returncode == -signal.SIGKILL and 2 <= found < CELLS
    assert __main__.main([*command, str(killed)]) == 0
    assert f"{CELLS} cells, {found} of them" in capsys.readouterr().out
    assert killed.read_bytes() == undisturbed.read_bytes()
    assert len(read_results_file(killed)) == CELLS
