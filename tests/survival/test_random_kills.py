"""The command as users have it, killed at moments that nobody chose."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_runs import RECIPE, entries, logged_steps, numbers_of

from qdeq_qiskit.training import RunDirectory

KILLS = 20
EPOCHS = 12


def qdeq(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "qdeq_qiskit.cli", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


@pytest.mark.slow
def test_twenty_random_kills_of_the_command_change_no_bit(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE.replace("epochs: 2", f"epochs: {EPOCHS}"))
    started = time.monotonic()
    assert ended(qdeq(tmp_path, "fit", "small.yaml", "--out", "whole"))[0] == 0
    duration = time.monotonic() - started
    whole = RunDirectory(tmp_path / "whole")
    chosen = random.Random(2026)
    for number in range(KILLS):
        out = RunDirectory(tmp_path / f"run{number}")
        process = qdeq(tmp_path, "fit", "small.yaml", "--out", out.path.name)
        # Most of the time goes into importing libraries, where there is nothing to lose.
        early = number % 5 == 0
        while not early and process.poll() is None and not out.path.is_dir():
            time.sleep(0.002)
        time.sleep(chosen.uniform(0, duration if early else duration / 3))
        process.send_signal(signal.SIGKILL)
        ended(process)
        code, errors = ended(qdeq(tmp_path, "fit", "--resume", out.path.name))
        if code != 0:
            assert "Traceback" not in errors
            if (
                "no such run folder" in errors
                or "interrupted before it had begun" in errors
                or "holds no run" in errors
            ):
                assert ended(qdeq(tmp_path, "fit", "small.yaml", "--out", out.path.name))[0] == 0
            else:
                assert "the run is finished" in errors
        assert numbers_of(out) == numbers_of(whole), number
        assert entries(out) == entries(whole), number
        assert logged_steps(out) == logged_steps(whole), number
