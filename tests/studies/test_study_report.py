"""The report: what its figures are about, what its words say, and that it needs nothing beside itself."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from scipy.stats import binomtest
from tiny_studies import planned

from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.report import drawing, figures, quantities, with_shares, write_report
from qdeq_qiskit.studies.report.sweep import accuracy_interval, by_budget, spread, sweep_of


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


def test_a_sweep_over_strengths_runs_along_the_scale_from_none_at_all_and_says_what_it_means() -> None:
    table = with_ideal(scale=[1.0, 2.0, 4.0])
    sweep = sweep_of(table)
    assert sweep.label == "noise scale λ (two-qubit error 0.75% × λ)"
    (panel,) = sweep.panels
    assert sorted(set(panel.rows["x"])) == [0, 1, 2, 4]
    table.loc[table["scale"] == 4, "two_qubit_error"] = 0.02
    assert sweep_of(table).label == "noise scale λ", "the error is no multiple of λ"


def test_many_conditions_stand_side_by_side_and_every_one_is_drawn() -> None:
    axes: dict[str, list[object]] = {"shots": [None, 1024], "mitigation": ["none", "matrix"]}
    several = with_ideal(noise=["depolarizing"], scale=[0.5, 1.0, 2.0], **axes)
    table = pd.concat([several, table_of(noise=["damping", "readout"], **axes)], ignore_index=True)
    sweep = sweep_of(table)
    titles = ["exact, unmitigated", "exact, matrix", "1,024 shots, unmitigated", "1,024 shots, matrix"]
    assert [panel.title for panel in sweep.panels] == titles
    names = {"ideal", "depolarizing × 0.5", "depolarizing × 1", "depolarizing × 2", "damping", "readout"}
    assert {name for _, name in sweep.ticks} == names
    for panel in sweep.panels:
        assert set(panel.rows["x"]) == {place for place, _ in sweep.ticks}, panel.title
    figure = figures.accuracy(sweep, drawing.Looks.of(table))
    assert [axes.get_title(loc="left") for axes in figure.axes] == titles


def test_kinds_of_noise_make_curves_only_where_each_has_scales_for_one() -> None:
    curve = with_ideal(scale=[0.5, 1.0, 2.0])
    assert sweep_of(pd.concat([curve, table_of(noise=["damping"])])).named
    curves = sweep_of(pd.concat([curve, table_of(noise=["damping"], scale=[1.0, 2.0, 3.0])]))
    assert (curves.named, [panel.title for panel in curves.panels]) == (False, ["depolarizing", "damping"])


def test_no_title_is_wider_than_its_panel() -> None:
    mitigation = ["none", "trex and zero-noise extrapolation, eight randomizations"]
    table = with_ideal(scale=[1.0, 2.0, 4.0], shots=[None, 1_048_576], mitigation=list(mitigation))
    figure = figures.accuracy(sweep_of(table), drawing.Looks.of(table))
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        title = axes._left_title.get_window_extent()  # type: ignore[attr-defined]
        assert title.x1 <= axes.get_position().x1 * figure.bbox.width + 1, axes.get_title(loc="left")


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


def test_a_band_adds_students_interval_over_seeds_to_wilsons_of_the_images_in_squares() -> None:
    rows = table_of(evaluation_seed=[0, 1]).assign(x=1.0)
    rows["accuracy"] += np.where(rows["evaluation_seed"] == 0, 0.03, -0.03)
    (point,) = spread(rows, "accuracy", interval=True).itertuples()
    assert point.seeds == 3
    # Seeds have 0.88, 0.87, 0.86: standard deviation 0.01, and t = 4.3027 for two degrees of freedom.
    seeds = 4.302653 * 0.01 / np.sqrt(3)
    wilson = binomtest(87, 100).proportion_ci(0.95, method="wilson")
    assert point.mean == pytest.approx(0.87)
    assert point.high - point.mean == pytest.approx(np.hypot(wilson.high - 0.87, seeds), rel=1e-4)
    assert point.mean - point.low == pytest.approx(np.hypot(0.87 - wilson.low, seeds), rel=1e-4)
    (widest,) = spread(rows, "accuracy", interval=False).itertuples()
    assert (widest.low, widest.high) == pytest.approx((0.86, 0.88))


@pytest.mark.parametrize(
    "numbers", [[0.9], [0.9, 0.9], [0.8, 1.0], [1.0], [1.0, 1.0], [1.0, 1.0, 1.0], [0.9, 0.9, 0.9]]
)
def test_seeds_that_agree_or_are_too_few_leave_wilsons_interval_never_none(numbers: list[float]) -> None:
    low, high = accuracy_interval(np.array(numbers), 20)
    wilson = binomtest(round(20 * np.mean(numbers)), 20).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=1e-4)
    assert high - low > 0.1


def test_few_seeds_are_drawn_one_by_one() -> None:
    table = with_ideal(training_seed=[0, 1], noise=["a", "b"])
    (axes,) = figures.accuracy(sweep_of(table), drawing.Looks.of(table)).axes
    faint = sorted(
        np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if line.get_alpha()])
    )
    assert faint == pytest.approx(sorted(table["accuracy"]))


def test_what_is_zero_everywhere_is_a_sentence_and_no_picture() -> None:
    table = with_ideal(scale=[1.0, 2.0, 4.0]).assign(
        displacement=0.1, branch_share=0.0, changed_prediction=0.2, residual=1e-6, unconverged=0.0, iterations=4.0,
        spectral_radius=0.2, half_width=np.nan, confidence=np.nan, shots_each=np.nan,
    )  # fmt: skip
    sweep, looks = sweep_of(table), drawing.Looks.of(table)
    assert [name for name, _ in quantities.quantity_figures(sweep)] == ["displacement", "solver"]
    moved, solved = quantities.displacement(sweep, looks), quantities.solver(sweep, looks)
    titles = [axes.get_title(loc="left") for figure in (moved, solved) for axes in figure.axes if axes.axison]
    assert titles == ["displacement", "other answers", "residual", "work", "contraction"]
    assert quantities.never(sweep) == {
        "displacement": "No image changes its branch.",
        "solver": "Every equilibrium is found.",
    }


def test_models_of_the_same_figures_do_not_cover_each_other() -> None:
    table = with_ideal(model=["implicit", "implicit 2"], scale=[1.0, 2.0, 4.0])
    looks = drawing.Looks.of(table)
    assert looks.marker["implicit"] != looks.marker["implicit 2"]
    (axes,) = figures.accuracy(sweep_of(table), looks).axes
    first, second = (
        np.asarray(line.get_xdata(), dtype=float) for line in axes.lines if line.get_label() in looks.marker
    )
    assert np.all((second - first > 0.01) & (second - first < 0.2))


def test_the_control_is_a_line_in_every_picture_of_accuracy() -> None:
    table = with_ideal(model=["implicit", "direct 1", "direct 2"], scale=[1.0, 2.0], shots=[None, 64])
    table["sequential_two_qubit_depth"] = table["model"].map({"implicit": 90, "direct 1": 20, "direct 2": 40})
    table["total_shots"] = table["shots"].fillna(0) * 100
    sweep, looks = sweep_of(table), drawing.Looks.of(table)
    spent = by_budget(sweep)
    assert spent is not None
    drawn = [figures.accuracy(sweep, looks), figures.cost(sweep, looks), figures.budget(spent, looks)]
    for figure in drawn:
        for axes in figure.axes:
            lines = [line for line in axes.lines if np.allclose(line.get_ydata(), 0.97)]
            assert len(lines) == 1, axes.get_title()
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["implicit", "direct 1", "direct 2", "logistic regression, no noise"]


def test_models_of_one_mode_differ_in_shade_and_marker_and_modes_in_hue() -> None:
    looks = drawing.Looks.of(table_of(model=["implicit", "direct 1", "direct 5", "coherent 3"]))
    assert len({to_hex(colour) for colour in looks.colour.values()}) == 4
    assert len(set(looks.marker.values())) == 4


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
    for words in (
        "20 test images",
        "qdeq_qiskit",
        "as in the ansatz",
        "trained without noise",
        "control",
        "The table",
        "Wilson",
        "training seeds (",
    ):
        assert words in page
    assert "missing from this report" not in page


def test_what_failed_is_in_the_report(study: StudyDirectory) -> None:
    table = pd.read_parquet(study.table.with_suffix(".parquet"))
    write_report(planned(study.path), study, table, [("a cell's title", "why <it> failed")])
    page = study.report.read_text()
    assert "a cell&#39;s title: why &lt;it&gt; failed" in page
    assert "1 of 15 cells is missing" in page


def test_what_was_not_studied_is_in_the_report(study: StudyDirectory) -> None:
    table = pd.read_parquet(study.table.with_suffix(".parquet"))
    plan = replace(planned(study.path), left_out=("mitigation matrix under depolarizing: no readout errs there",))
    write_report(plan, study, table, [])
    assert "Left out: mitigation matrix under depolarizing: no readout errs there." in study.report.read_text()
