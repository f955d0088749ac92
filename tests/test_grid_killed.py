"""A grid killed in the middle and resumed, as a reader would run it: by the command."""

import os
import signal
import subprocess
import sys
import time

import pytest

from coop_edu.grid.results import read_lines
from coop_edu.scales import SCALES

TASKS = SCALES["mini"].tasks[1:4]
OPTIONS = ["--shots", "1", "2", "--seeds", "1", "2", "--methods", "zero_shot", "M4_end", "--epochs", "2"]
CELLS = len(TASKS) * 5  # zero-shot, and two numbers of shots for two seeds


def start(results):
    command = [sys.executable, "-m", "coop_edu", "run", "--results", str(results), "--datasets", *TASKS, *OPTIONS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finish(process):
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return printed


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_in_the_middle_and_resumed_gives_the_same_bytes(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed.jsonl", tmp_path / "killed.jsonl"
    finish(start(undisturbed))
    victim = start(killed)
    try:
        while not (killed.is_file() and killed.read_bytes().count(b"\n") >= CELLS // 3):
            assert victim.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        victim.kill()  # SIGKILL: nothing can be tidied up
        victim.communicate()
    found = len(read_lines(killed))
    assert victim.returncode == -signal.SIGKILL and CELLS // 3 <= found < CELLS
    printed = finish(start(killed))
    assert f"{CELLS} cells, {found} of them" in printed
    assert killed.read_bytes() == undisturbed.read_bytes()
    assert len(read_lines(killed)) == CELLS
