"""The report: what its figures are about, what its words say, and that it needs nothing beside itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from tiny_studies import planned

from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.report import figures, with_shares, write_report
from qdeq_qiskit.studies.report.sweep import by_budget, spread, sweep_of


def table_of(**axes: list[object]) -> pd.DataFrame:
    """Rows for every combination of some labels, with made-up figures."""
    labels: dict[str, list[object]] = {
        "model": ["implicit"],
        "training_seed": [0, 1, 2],
        "noise": ["depolarizing"],
        "scale": [1.0],
        "shots": [None],
        "mitigation": ["none"],
        "evaluation_seed": [None],
        **axes,
    }
    index = pd.MultiIndex.from_product(labels.values(), names=list(labels))
    table = index.to_frame(index=False)
    table["shots"] = table["shots"].astype("Int64")
    table["mode"] = table["model"].map(lambda name: str(name).split()[0])
    table["two_qubit_error"] = 0.0075 * table["scale"].astype(float)
    table["accuracy"] = 0.9 - 0.01 * table["training_seed"].astype(float) - 0.02 * table["scale"].astype(float)
    return table.assign(accuracy_low=0.8, accuracy_high=1.0, control_accuracy=0.97, samples=100, total_shots=0)


def ideal(table: pd.DataFrame) -> pd.DataFrame:
    """The exact and ideal rows that every study has."""
    rows = table.drop_duplicates(["model", "training_seed"])
    shots = pd.array([None] * len(rows), dtype="Int64")
    return rows.assign(noise="ideal", scale=0.0, two_qubit_error=0.0, shots=shots, mitigation="none")


def with_ideal(**axes: list[object]) -> pd.DataFrame:
    table = table_of(**axes)
    return pd.concat([ideal(table), table], ignore_index=True)


def test_a_sweep_over_strengths_runs_along_the_gate_error_from_none_at_all() -> None:
    sweep = sweep_of(with_ideal(scale=[1.0, 2.0, 4.0]))
    assert sweep.label == "two-qubit gate error (%)"
    (panel,) = sweep.panels
    assert sorted(set(panel.rows["x"])) == pytest.approx([0, 0.75, 1.5, 3.0])


def test_every_other_axis_makes_panels_and_exact_values_stand_at_the_end_of_shots() -> None:
    sweep = sweep_of(with_ideal(noise=["depolarizing", "readout"], shots=[None, 64, 256]))
    assert (sweep.column, sweep.logarithmic) == ("shots", True)
    assert sweep.ticks == ((64.0, "64"), (256.0, "256"), (1024.0, "exact"))
    assert [panel.title for panel in sweep.panels] == ["depolarizing", "readout"]


def test_named_conditions_stand_in_the_order_of_their_errors() -> None:
    table = with_ideal(noise=["fake_b", "fake_a"])
    table.loc[table["noise"] == "fake_a", "two_qubit_error"] = 0.001
    sweep = sweep_of(table)
    assert sweep.named
    assert [name for _, name in sweep.ticks] == ["ideal", "a", "b"]
    mitigated = sweep_of(with_ideal(mitigation=["zne", "none", "trex"]))
    assert [name for _, name in mitigated.ticks] == ["no noise", "none", "zne", "trex"]


def test_a_band_is_students_interval_over_training_seeds_whatever_was_repeated() -> None:
    rows = table_of(evaluation_seed=[0, 1]).assign(x=1.0)
    rows["accuracy"] += np.where(rows["evaluation_seed"] == 0, 0.03, -0.03)
    (point,) = spread(rows, "accuracy", interval=True).itertuples()
    assert point.seeds == 3
    # Seeds have 0.88, 0.87, 0.86: standard deviation 0.01, and t = 4.3027 for two degrees of freedom.
    assert point.mean == pytest.approx(0.87)
    assert point.high - point.mean == pytest.approx(4.302653 * 0.01 / np.sqrt(3), rel=1e-6)
    (widest,) = spread(rows, "accuracy", interval=False).itertuples()
    assert (widest.low, widest.high) == pytest.approx((0.86, 0.88))
    (single,) = spread(rows[rows["training_seed"] == 0], "accuracy", interval=True).itertuples()
    assert (single.low, single.high) == (0.8, 1.0), "the test set's own interval"


def test_the_control_is_a_line_in_every_picture_of_accuracy() -> None:
    table = with_ideal(model=["implicit", "direct 1", "direct 2"], scale=[1.0, 2.0], shots=[None, 64])
    table["sequential_two_qubit_depth"] = table["model"].map({"implicit": 90, "direct 1": 20, "direct 2": 40})
    table["total_shots"] = table["shots"].fillna(0) * 100
    sweep, looks = sweep_of(table), figures.Looks.of(table)
    spent = by_budget(sweep)
    assert spent is not None
    drawn = [figures.accuracy(sweep, looks), figures.cost(sweep, looks), figures.budget(spent, looks)]
    for figure in drawn:
        for axes in figure.axes:
            lines = [line for line in axes.lines if np.allclose(line.get_ydata(), 0.97)]
            assert len(lines) == 1, axes.get_title()
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["implicit", "direct 1", "direct 2", "logistic regression, no noise"]


def test_models_of_one_mode_differ_in_shade_and_modes_in_hue() -> None:
    looks = figures.Looks.of(table_of(model=["implicit", "direct 1", "direct 5", "coherent 3"]))
    assert len({to_hex(colour) for colour in looks.colour.values()}) == 4
    assert looks.marker["direct 1"] == looks.marker["direct 5"] != looks.marker["implicit"]


def test_shares_are_of_the_images_that_were_compared() -> None:
    table = with_ideal().assign(
        branch_changes=3, not_compared=40, converged=0.9, same_prediction=0.75, displacement=0.1, samples=100
    )
    shares = with_shares(table)
    assert set(shares["branch_share"]) == {0.05}
    assert set(shares["unconverged"].round(9)) == {0.1}
    assert set(shares["changed_prediction"]) == {0.25}
    assert shares[shares["noise"] == "ideal"]["displacement"].isna().all()
    assert shares[shares["noise"] != "ideal"]["displacement"].notna().all()


def test_a_report_stands_alone_and_says_what_was_fixed_and_what_to_mind(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    names = {path.stem for path in (finished / "figures").glob("*.png")}
    assert {"accuracy", "displacement", "solver", "certainty", "classes", "cost"} == names
    assert page.count('src="data:image/png;base64,') == len(names)
    assert names == {path.stem for path in (finished / "figures").glob("*.svg")}
    for words in ("20 test images", "qdeq_qiskit", "as in the ansatz", "trained without noise", "control"):
        assert words in page
    assert "missing from this report" not in page


def test_what_failed_is_in_the_report(study: StudyDirectory) -> None:
    table = pd.read_parquet(study.table.with_suffix(".parquet"))
    write_report(planned(study.path), study, table, [("a cell's title", "why <it> failed")])
    page = study.report.read_text()
    assert "a cell&#39;s title: why &lt;it&gt; failed" in page
    assert "1 of 15 cells is missing" in page
