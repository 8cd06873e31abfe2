"""From the columns of a table to the features of a circuit: a circuit of the right size, and what goes where in it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from qdeq_qiskit import recipes
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.circuits.readouts import AnyReadoutRecipe

SOURCE = "EquilibriumClassifier"
LEAST_QUBITS = 4  # the paper's ansatz has no room on fewer
MOST_AMPLITUDE_QUBITS = 10
MOST_ANGLE_QUBITS = 6


@dataclass(frozen=True)
class FeatureLayout:
    """The circuit's features x of a table's rows: scaled columns, a constant, zeros.

    Attributes:
        circuit: the circuit that takes them.
        num_columns: of the table.
        scale: what the columns are multiplied by.
        constant: the feature after them; 0 for none.
        width: D, the number of features of the circuit.
    """

    circuit: CircuitRecipe
    num_columns: int
    scale: float
    constant: float
    width: int

    def of(self, table: NDArray[np.floating]) -> NDArray[np.float64]:
        """Features, (N, D), of a table, (N, d)."""
        features = np.zeros((len(table), self.width))
        features[:, : self.num_columns] = self.scale * table
        if self.constant:
            features[:, self.num_columns] = self.constant
        return features


def lay_out(
    num_columns: int,
    *,
    encoder: Any,
    ansatz: Any,
    readout: Any,
    num_qubits: int | None,
    scale: float,
    constant: float | None,
) -> FeatureLayout:
    """A circuit for tables with so many columns, and how their rows become its features.

    Args:
        num_columns: d.
        encoder: its kind, or a mapping with `kind` and options; of amplitude and angle encoders the options that
            depend on the number of features are filled in.
        ansatz: its kind, or a mapping with `kind` and options.
        readout: the same.
        num_qubits: n; None for as many as the features need, and at least 4.
        scale: what the columns are multiplied by.
        constant: the feature after them, 0 for none; None for √d, the length of a typical row of standardised columns,
            with amplitude encoding, and for none otherwise.

    Raises:
        ValueError: an argument is out of range, or the features do not fit on the qubits.
    """
    chosen = as_mapping(encoder)
    kind = chosen.get("kind") if isinstance(chosen, dict) else None
    scale = _finite("feature_scale", scale)
    if constant is None:
        constant = math.sqrt(num_columns) if kind == "amplitude" else 0.0
    constant = _finite("constant", constant)
    wanted = num_columns + (constant != 0)
    n = _derived_qubits(wanted, kind) if num_qubits is None else _checked_qubits(num_qubits)
    if kind == "amplitude" and wanted > 2**n:
        room = f"{num_columns} features" + (" and the constant" if constant else "")
        without = ", or constant=0" if constant and num_columns <= 2**n else ""
        raise ValueError(
            f"num_qubits is {num_qubits}, which is room for {2**n} amplitudes, but there are {room}; "
            f"set num_qubits to at least {(wanted - 1).bit_length()}{without}, or reduce the features, as with PCA"
        )
    outputs = recipes.check(as_mapping(readout), AnyReadoutRecipe, source=f"{SOURCE}: readout")
    # The state z = R w is added to the features, so that there must be at least as many of these as of its entries.
    _fill_in(chosen, max(wanted, len(outputs.build(n))), n)
    data = {"num_qubits": n, "encoder": chosen, "ansatz": as_mapping(ansatz), "readout": outputs}
    circuit: CircuitRecipe = recipes.check(data, CircuitRecipe, source=SOURCE)
    width = circuit.build().num_features
    if width < wanted:
        raise ValueError(
            f"the encoder takes {width} features, but there are {wanted}; change encoder or num_qubits (now {n}), or "
            "reduce the features, as with PCA"
        )
    return FeatureLayout(circuit, num_columns, scale, constant, width)


def as_mapping(part: Any) -> Any:
    """A part's kind, mapping or recipe as a mapping of one's own; anything else as it is."""
    if isinstance(part, str):
        return {"kind": part}
    if isinstance(part, BaseModel):
        return part.model_dump(exclude_unset=True) | {"kind": getattr(part, "kind", None)}
    return dict(part) if isinstance(part, Mapping) else part


def _fill_in(encoder: Any, features: int, num_qubits: int) -> None:
    """The options of the project's own encoders that follow from the number of features."""
    kind = encoder.get("kind") if isinstance(encoder, dict) else None
    if kind == "amplitude":
        encoder.setdefault("num_amplitudes", max(2, features))
    if kind == "angle" and set(encoder) == {"kind"}:
        encoder.update(preset="alternating", inputs_per_wire=-(-features // num_qubits))


def _derived_qubits(features: int, kind: str | None) -> int:
    """As many qubits as the features need: 2ⁿ amplitudes, or two angles a wire."""
    if kind != "amplitude":
        return min(max(LEAST_QUBITS, -(-features // 2)), MOST_ANGLE_QUBITS)
    needed, most = max(LEAST_QUBITS, (features - 1).bit_length()), MOST_AMPLITUDE_QUBITS
    if needed > most:
        raise ValueError(
            f"{features} features need {needed} qubits as amplitudes, more than the {most} that are taken unasked; "
            f"reduce the features first, as with PCA, or set num_qubits={needed}"
        )
    return needed


def _checked_qubits(num_qubits: Any) -> int:
    if not isinstance(num_qubits, numbers.Integral) or isinstance(num_qubits, bool) or not 1 <= int(num_qubits) <= 30:
        raise ValueError(f"num_qubits is {num_qubits!r}; expected a whole number from 1 to 30, or None")
    return int(num_qubits)


def _finite(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or not np.isfinite(float(value)):
        raise ValueError(f"{name} is {value!r}; expected a finite number")
    return float(value)
