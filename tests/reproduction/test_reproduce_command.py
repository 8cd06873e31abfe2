"""The command with its workers: killed, interrupted, and quick."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from command_line import qdeq
from tiny_reproduction import TINY, trained, write_reproduction

QDEQ = [sys.executable, "-m", "qdeq_qiskit.cli"]
ALL = {"tiny-seed0", "tiny-seed1", "direct-seed0", "direct-seed1", "coherent-seed0"}
LONG = TINY.replace("epochs: 2", "epochs: 12")


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command, in a process group of its own."""
    command = [*QDEQ, "reproduce", "small.yaml", "--out", "out", "--workers", "2", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]


def epochs(folder: Path) -> dict[str, list[str]]:
    """The rows of every run's history."""
    found = (folder / "out" / "runs").glob("*/history.csv")
    return {path.parent.name: path.read_text().splitlines()[1:] for path in found}


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was_and_trains_nothing_twice(tmp_path: Path) -> None:
    write_reproduction(tmp_path)
    (tmp_path / "tiny.yaml").write_text(LONG)
    process = begun(tmp_path)
    try:
        wait_until(lambda: bool(trained(tmp_path / "out")) and len(epochs(tmp_path)) > 1)
    finally:
        process.kill()
        process.communicate()
    done, before = trained(tmp_path / "out"), epochs(tmp_path)
    ended = subprocess.run(
        [*QDEQ, "reproduce", "small.yaml", "--out", "out", "--workers", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    after = Counter(trained(tmp_path / "out"))
    assert len(done) < len(ALL), "it was killed too late to show anything"
    assert set(after) == ALL
    assert max(after.values()) == 1
    later = epochs(tmp_path)
    assert all(later[name][: len(rows)] == rows for name, rows in before.items()), "no epoch was trained twice"
    assert list(pd.read_csv(tmp_path / "out" / "table.csv")["status"]) == ["finished"] * 3


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_that_was_finished(tmp_path: Path) -> None:
    write_reproduction(tmp_path)
    (tmp_path / "tiny.yaml").write_text(LONG)
    process = begun(tmp_path)
    wait_until(lambda: bool(trained(tmp_path / "out")))
    line = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()[-1]
    os.kill(json.loads(line)["pid"], signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    after = Counter(trained(tmp_path / "out"))
    assert set(after) == ALL
    assert max(after.values()) == 1


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_leaves_the_tables(tmp_path: Path) -> None:
    write_reproduction(tmp_path)
    (tmp_path / "tiny.yaml").write_text(LONG)
    process = begun(tmp_path, "--table", "first")
    wait_until(lambda: bool(trained(tmp_path / "out")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    command = "qdeq reproduce small.yaml --table first --out out"
    assert errors.strip().splitlines() == [f"qdeq: interrupted; `{command}` goes on, and trains no finished row again"]
    assert "of 2 |" in (tmp_path / "out" / "table.md").read_text()


def check_quick(out: Path, tables: dict[str, int]) -> None:
    """A finished --quick, with so many rows in each table."""
    page, rows = (out / "table.md").read_text(), pd.read_csv(out / "table.csv")
    assert "mean nothing for the paper" in page.splitlines()[0]
    assert dict(Counter(rows["table"])) == tables
    assert set(rows["status"]) == {"finished"}
    assert rows["accuracy"].between(0, 1).all()
    assert (rows["evaluations"] >= 1).all()
    circuits = rows[rows["mode"] != "classical"]
    assert (circuits["two_qubit_depth"] > 0).all()
    assert rows[rows["mode"] == "classical"]["two_qubit_depth"].isna().all()
    layered = rows[rows["mode"] == "direct"]
    assert (layered["evaluations"] == layered["layers"]).all()
    assert (rows[rows["mode"] == "coherent"]["evaluations"] == 1).all()
    assert rows[rows["mode"].isin(["implicit", "direct"])]["residual"].notna().all()
    assert (out / "figures" / "accuracy-layers.svg").is_file()


def test_the_papers_first_table_is_there_quickly(tmp_path: Path) -> None:
    result = qdeq("reproduce", "paper", "--quick", "--table", "mnist4", "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 0, result.output
    check_quick(tmp_path / "out", {"mnist4": 15})


@pytest.mark.slow
def test_all_of_the_papers_tables_are_there_quickly(tmp_path: Path) -> None:
    result = qdeq("reproduce", "paper", "--quick", "--out", tmp_path / "out", "--workers", 2)
    assert result.exit_code == 0, result.output
    check_quick(tmp_path / "out", {"mnist4": 15, "mnist10": 11, "fashion10": 9, "cifar10": 9})
