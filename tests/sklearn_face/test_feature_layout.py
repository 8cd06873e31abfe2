"""Columns of a table as a circuit's features: sizes, places, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeq_qiskit.circuits.encoders.angle import AngleEncoderRecipe
from qdeq_qiskit.sklearn.feature_layout import FeatureLayout, lay_out


def layout(num_columns: int, **options: Any) -> FeatureLayout:
    parts = {"encoder": "amplitude", "ansatz": "qdeq", "readout": "z", "num_qubits": None, "scale": 1.0}
    return lay_out(num_columns, **{**parts, "constant": None, **options})


@pytest.mark.parametrize(
    ("num_columns", "options", "num_qubits", "width"),
    [
        (1, {}, 4, 4),  # padded to the four outputs of the readout, which are added to the features
        (4, {}, 4, 5),
        (13, {}, 4, 14),  # no power of two: nothing but the constant is added
        (15, {}, 4, 16),
        (16, {}, 5, 17),
        (16, {"constant": 0}, 4, 16),
        (16, {"num_qubits": 6}, 6, 17),
        (1023, {}, 10, 1024),
        (2, {"encoder": "angle"}, 4, 4),
        (10, {"encoder": "angle"}, 5, 10),
        (11, {"encoder": "angle"}, 6, 12),
        (16, {"encoder": "angle"}, 6, 18),
        (16, {"encoder": "angle", "num_qubits": 4}, 4, 16),
        (2, {"encoder": "angle", "num_qubits": 2, "ansatz": "real_amplitudes"}, 2, 2),
    ],
)
def test_a_circuit_is_as_large_as_the_columns_need(
    num_columns: int, options: dict[str, Any], num_qubits: int, width: int
) -> None:
    made = layout(num_columns, **options)
    assert (made.circuit.num_qubits, made.width) == (num_qubits, width)
    assert made.circuit.build().num_features == width


def test_a_row_is_its_scaled_columns_then_the_constant_then_zeros() -> None:
    table = np.array([[1.0, -2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(layout(2, constant=3.0, scale=0.5).of(table), [[0.5, -1, 3, 0], [0, 0, 3, 0]])
    np.testing.assert_array_equal(layout(2).of(table), [[1, -2, 2**0.5, 0], [0, 0, 2**0.5, 0]])
    np.testing.assert_array_equal(layout(2, constant=0).of(table), [[1, -2, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(layout(2, encoder="angle").of(table), [[1, -2, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(layout(2, encoder="angle", constant=1.0).of(table), [[1, -2, 1, 0], [0, 0, 1, 0]])


def test_parts_may_be_kinds_mappings_or_recipes_and_what_they_say_stands() -> None:
    gates = [["ry", wire] for wire in range(4)] + [["rz", 0]]
    for encoder in ({"kind": "angle", "gates": gates}, AngleEncoderRecipe.model_validate({"gates": gates})):
        made = layout(4, encoder=encoder, ansatz={"kind": "efficient_su2", "reps": 1})
        assert made.width == 5  # the table's four columns, and a zero for the fifth gate
        assert made.circuit.ansatz.model_dump()["reps"] == 1
    assert layout(3, encoder={"kind": "amplitude"}) == layout(3)
    assert layout(3, encoder={"kind": "amplitude", "num_amplitudes": 16}).width == 16


@pytest.mark.parametrize(
    ("num_columns", "options", "message"),
    [
        (16, {"num_qubits": 4}, r"num_qubits is 4.*16 amplitudes.*16 features and the constant.*at least 5, or const"),
        (20, {"num_qubits": 4, "constant": 0}, r"there are 20 features; set num_qubits to at least 5, or reduce"),
        (1024, {}, r"1025 features need 11 qubits.*PCA, or set num_qubits=11"),
        (3, {"num_qubits": 2.5}, "num_qubits is 2.5; expected a whole number"),
        (3, {"num_qubits": 0}, "num_qubits is 0; expected a whole number"),
        (3, {"num_qubits": 3}, "ansatz: paper_block: num_qubits must be at least 4, not 3"),
        (3, {"encoder": "amplitud"}, "encoder.*'amplitud'.*did you mean 'amplitude'"),
        (3, {"encoder": 7}, "encoder: 7 is not valid; expected a mapping"),
        (3, {"ansatz": "qdec"}, "ansatz.*'qdec'.*did you mean 'qdeq'"),
        (3, {"readout": "x"}, "readout.*'x'"),
        (3, {"scale": float("inf")}, "feature_scale is inf; expected a finite number"),
        (3, {"constant": "one"}, "constant is 'one'; expected a finite number"),
        (6, {"encoder": {"kind": "angle", "gates": [["ry", 0]] * 5}}, "the encoder takes 5 features, but there are 6"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(num_columns: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        layout(num_columns, **options)
    assert "\n" not in str(caught.value)
