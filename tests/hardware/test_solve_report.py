"""The report of a solve: its numbers, its sections, and nothing that it would have to fetch."""

from __future__ import annotations

import re
from pathlib import Path

from qdeq_qiskit.hardware import Order, make_plan, submit
from qdeq_qiskit.hardware.report.sections import Section


def test_the_report_of_a_surrogate_says_what_ran_where_and_how_far_circuits_are(run: Path, manila: str) -> None:
    finished = submit(make_plan(Order(run, manila, 3, "surrogate")))
    page = finished.folder.report.read_text()
    result = finished.result
    assert f"{100 * result['accuracy']:.1f} %" in page
    assert "Run on a calibrated copy of the processor on this machine; no processor was used." in page
    assert "From the surrogate to circuits" in page
    assert "The measured operators" in page
    assert f"{result['used']['executions']:,}, predicted {result['predicted']['executions']:,}" in page
    for sentence in result["sentences"]:
        assert sentence.replace("'", "&#39;") in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "everything is in the page"


def test_mappings_stand_side_by_side_and_plain_values_below_each_other() -> None:
    offset = Section.of("offset", {"expected": {"samples": 3, "w_moved": 0.25}, "found": {"samples": 3}})
    assert offset.columns == ("expected", "found")
    assert offset.lines == [("samples", ["3", "3"]), ("w moved", ["0.25", "–"])]
    alone = Section.of("offset", {"expected": {"samples": 3}, "found": None})
    assert alone.columns == ("expected",)
    plain = Section.of("tuning", {"steps": 2, "loss": [0.5, 0.25], "before": {"accuracy": 1.0}})
    assert plain.columns == ()
    assert plain.lines == [("steps", ["2"]), ("loss", ["0.5, 0.25"])]
