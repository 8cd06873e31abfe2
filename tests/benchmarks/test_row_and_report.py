"""What the benchmarks say of a figure: verdict, ratio, table, JSON; and how turns are taken."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.report import write
from benchmarks.row import Row
from benchmarks.timing import Timing, interleaved


def test_a_time_is_met_if_it_is_at_most_its_target_and_compared_with_the_peer_by_division() -> None:
    row = Row("a", "a step", 2.0, "ms", target=2.5, peer=66.0)
    assert (row.verdict, row.ratio) == ("met", 33.0)
    assert Row("a", "a step", 2.6, "ms", target=2.5).verdict == "missed"


def test_an_accuracy_is_met_if_it_is_at_least_its_target() -> None:
    assert Row("a", "accuracy", 0.96, "", target=0.95, better="higher").verdict == "met"
    assert Row("a", "accuracy", 0.94, "", target=0.95, better="higher").verdict == "missed"


def test_a_figure_that_is_missing_is_not_called_met() -> None:
    assert Row("a", "accuracy", None, "", target=0.95, better="higher").verdict == "not measured"


def test_the_median_and_the_minimum_are_in_milliseconds() -> None:
    timing = Timing((0.003, 0.001, 0.002))
    assert (timing.minimum, timing.median) == (1.0, 2.0)


def test_cases_take_turns_spread_evenly_with_their_own_numbers_of_repetitions() -> None:
    calls: list[str] = []
    cases = {"often": lambda: calls.append("o"), "rarely": lambda: calls.append("r")}
    timings = interleaved(cases, repetitions={"often": 6, "rarely": 2}, warmup=0)
    assert "".join(calls) == "ooorooor"
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {"often": 6, "rarely": 2}


def test_the_json_file_holds_versions_and_verdicts_and_no_paths(tmp_path: Path) -> None:
    path = write([Row("a", "a step", 2.0, "ms", target=2.5)], tmp_path / "results.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["rows"][0]["verdict"] == "met"
    assert {"torch", "qiskit", "numpy"} <= set(content["machine"]["versions"])
    assert str(Path.cwd()) not in path.read_text(encoding="utf-8")
