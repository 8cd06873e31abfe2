"""Results in the documentation: tables between marks, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import parsed
from benchmarks.peers.picture import draw
from benchmarks.peers.report_rows import OURS
from benchmarks.peers.tables import full_tables, milliseconds, short_table
from benchmarks.publish import publish, replace_between
from benchmarks.report import content_of
from benchmarks.row import Row

PENNYLANE, STOCK = "PennyLane default.qubit, backprop", "stock Qiskit, ParamShift on Aer"


def record(peer: str, operation: str, qubits: int, batch: int, ms: float | None, **rest: Any) -> dict[str, Any]:
    """A cell as it stands in the file."""
    usual = {"encoding": "angle", "precision": "single", "reason": "", "estimate_ms": None, "penalised": True}
    cell = {"peer": peer, "operation": operation, "qubits": qubits, "batch": batch, "ms": ms, "ours": peer == OURS}
    return {**usual, **cell, **rest}


DETAILS = {
    "cells": [
        record(peer, operation, qubits, batch, factor * (1 + batch / 256))
        for peer, factor in ((OURS, 2.0), (PENNYLANE, 30.0))
        for operation in ("forward", "jacobian", "step")
        for qubits, batch in ((4, 1), (4, 256), (8, 256))
    ]
    + [
        record(STOCK, "forward", 4, 256, None, reason="beyond 4 s: estimated", estimate_ms=64000.0),
        record("TorchQuantum", "forward", 4, 256, None, reason="not installed: make peer-torchquantum"),
    ],
    "solvers": [
        {
            "encoding": "angle",
            "library": "torchdeq",
            "solver": "Broyden",
            "ms": 9.0,
            "evaluations": 12.0,
            "converged": 0.5,
            "reason": "",
        }
    ],
    "peers": [{"name": "TorchQuantum", "missing": "not installed", "versions": {}}],
}


def repository(folder: Path) -> Path:
    """With the marks that are filled in."""
    (folder / "docs").mkdir()
    both = "<!-- figures -->\nold\n<!-- end of figures -->\nbetween\n<!-- peers -->\nold\n<!-- end of peers -->\nend\n"
    (folder / "docs" / "benchmarks.md").write_text(both, encoding="utf-8")
    (folder / "README.md").write_text("before\n<!-- peers -->\nold\n<!-- end of peers -->\nafter\n", encoding="utf-8")
    return folder


def test_figures_and_comparison_go_between_their_own_marks(tmp_path: Path) -> None:
    root = repository(tmp_path)
    publish(content_of([Row("a", "a step", 2.0, "ms", target=2.5)]), root)
    page, readme = root / "docs" / "benchmarks.md", root / "README.md"
    assert "| a step | 2 ms | ≤ 2.5 ms |" in page.read_text(encoding="utf-8")
    assert "old" in readme.read_text(encoding="utf-8")
    publish(content_of([Row("peers", "all", 3.0, "cells", details=DETAILS)]), root)
    text = page.read_text(encoding="utf-8")
    assert "| a step | 2 ms | ≤ 2.5 ms |" in text
    assert "Training step, angle encoding" in text
    assert "old" not in text
    assert text.endswith("end\n")
    short = readme.read_text(encoding="utf-8")
    assert short.startswith("before\n")
    assert short.endswith("after\n")
    assert f"**{OURS}**" in short
    assert (root / "docs" / "images" / "peers.png").stat().st_size > 10_000


def test_a_few_subjects_alone_are_not_published_because_the_others_would_vanish(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parsed(["--publish", "--only", "memory", "--only", "ten-qubits"])
    assert "no --only, or --only peers; got --only memory --only ten_qubits" in " ".join(
        capsys.readouterr().err.split()
    )
    for accepted in ([], ["--only", "peers"]):
        assert parsed(["--publish", *accepted]).publish


def test_a_page_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page.md needs the marks <!-- peers -->"):
        replace_between(page, "peers", "text")
    assert page.read_text(encoding="utf-8") == "no marks"


def test_ratios_are_to_ours_and_estimates_and_reasons_are_marked() -> None:
    table = full_tables(DETAILS)
    assert "| PennyLane default.qubit, backprop, single | 30.1 ms (15×) | 60 ms (15×) | 60 ms (15×) |" in table
    assert "≈ 1.07 min [1]" in table
    assert "1. beyond 4 s: estimated" in table
    assert "2. not installed: make peer-torchquantum" in table


def test_the_short_table_has_eight_rows_at_most_and_says_what_is_estimated() -> None:
    lines = short_table(DETAILS).splitlines()
    assert len(lines) <= 2 + 8
    assert any("stock Qiskit" in line and "≈ 1.07 min (≈ 16,000×)" in line for line in lines)


def test_a_size_that_nobody_tried_is_left_blank_and_the_largest_stands_in_the_short_table() -> None:
    largest = [record(peer, "step", 10, 256, ms) for peer, ms in ((OURS, 12.0), (PENNYLANE, 1200.0))]
    amplitude = [{**each, "encoding": "amplitude"} for each in largest]
    short = short_table({**DETAILS, "cells": DETAILS["cells"] + amplitude})
    assert "step, 8 qubits | step, 10 qubits |" in short
    assert "1.2 s (100×) |" in short
    assert f"| angle: **{OURS}** | 4 ms | 4 ms | 4 ms | 4 ms | – |" in short
    assert "10 qubits, batch 256" in full_tables({**DETAILS, "cells": DETAILS["cells"] + amplitude})


def test_times_are_written_in_the_unit_that_reads_best() -> None:
    assert [milliseconds(value) for value in (0.1234, 45.67, 2345.0, 90_000)] == [
        "0.123 ms",
        "45.7 ms",
        "2.35 s",
        "1.5 min",
    ]


def test_pictures_are_drawn_from_what_was_measured_alone(tmp_path: Path) -> None:
    assert [path.name for path in draw(DETAILS["cells"], tmp_path)] == ["peers.png", "peers-qubits.png"]
