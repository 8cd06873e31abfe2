"""Expectation values wanted as (row of parameter values, observable) pairs, each row and observable kept once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import EstimatorPubLike
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from qiskit.quantum_info.operators.base_operator import BaseOperator

from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.backends.recent import Recent

Observable = tuple[tuple[str, float], ...]
"""A Hermitian observable as sorted (Pauli label, coefficient) pairs."""

Floats = NDArray[np.float64]

_converted: Recent[Observable] = Recent(256)


@dataclass(frozen=True)
class CheckedPub:
    """A PUB that was found to fit together.

    Attributes:
        circuit: the circuit.
        rows: values of its parameters, in its order, (R, P).
        row_shape: the shape of the bindings, of R entries.
        observables: those of the observables array, flattened.
        observable_shape: its shape.
        shape: that of the result, both broadcast.
        precision: the target precision.
    """

    circuit: QuantumCircuit
    rows: Floats
    row_shape: tuple[int, ...]
    observables: tuple[Observable, ...]
    observable_shape: tuple[int, ...]
    shape: tuple[int, ...]
    precision: float

    @classmethod
    def of(cls, pub: EstimatorPubLike, precision: float) -> Self:
        """Checks a PUB in any of the forms of the V2 interface.

        Raises:
            ValueError: it does not fit together, or an observable is not Hermitian.
        """
        if isinstance(pub, tuple) and len(pub) == 3:
            circuit, observable, values = pub
            # What EstimatorQNN passes, several times a call; Qiskit's own checks take longer than evaluating it.
            plain = isinstance(observable, SparsePauliOp) and isinstance(values, np.ndarray) and values.ndim == 2
            if plain and values.shape[1] == circuit.num_parameters and observable.num_qubits == circuit.num_qubits:
                rows = values.astype(float, copy=False)
                shape = (len(rows),)
                return cls(circuit, rows, shape, (observable_of(observable),), (), shape, precision)
        coerced = EstimatorPub.coerce(pub, precision)
        bindings, array = coerced.parameter_values, coerced.observables
        rows = bindings.as_array(coerced.circuit.parameters).reshape(bindings.size, coerced.circuit.num_parameters)
        observables = tuple(observable_of(entry) for _, entry in np.ndenumerate(array))
        return cls(coerced.circuit, rows, bindings.shape, observables, array.shape, coerced.shape, coerced.precision)


@dataclass(frozen=True)
class Pairs:
    """N pairs of R rows and U observables.

    Attributes:
        rows: parameter values, (R, P).
        observables: U of them, all different.
        row: the row of each pair, (N,).
        observable: the observable of each pair, (N,).
    """

    rows: Floats
    observables: list[Observable]
    row: NDArray[np.int_]
    observable: NDArray[np.int_]

    @classmethod
    def of_pubs(cls, pubs: Sequence[CheckedPub]) -> Self:
        """The pairs of PUBs of one circuit, one after the other, each PUB's broadcast and flattened."""
        blocks, first = _stacked([pub.rows for pub in pubs])
        known: dict[Observable, int] = {}
        rows, observables = [], []
        for pub, start in zip(pubs, first, strict=True):
            row = np.arange(start, start + len(pub.rows)).reshape(pub.row_shape)
            place = [known.setdefault(observable, len(known)) for observable in pub.observables]
            observable = np.array(place, dtype=int).reshape(pub.observable_shape)
            rows.append(np.broadcast_to(row, pub.shape).ravel())
            observables.append(np.broadcast_to(observable, pub.shape).ravel())
        return cls(blocks, list(known), np.concatenate(rows), np.concatenate(observables))

    @classmethod
    def of_entries(cls, rows: Floats, observables: Sequence[BaseOperator], circuit: QuantumCircuit) -> Self:
        """Pair i is row i, (N, P), with observable i; equal ones are found out.

        Raises:
            ValueError: an observable acts on another number of qubits than the circuit, or is not Hermitian.
        """
        known: dict[Observable, int] = {}
        # EstimatorQNN repeats each observable for the whole batch: looked at once for a run of the same object.
        identities = np.fromiter(map(id, observables), dtype=np.int64, count=len(rows))
        starts = np.flatnonzero(np.diff(identities, prepend=identities[0] - 1))
        place = np.empty(len(starts), dtype=int)
        for index, start in enumerate(starts):
            observable = observables[int(start)]
            if observable.num_qubits != circuit.num_qubits:
                raise ValueError(
                    f"an observable acts on {observable.num_qubits} qubits, circuit {circuit.name!r} has "
                    f"{circuit.num_qubits}"
                )
            place[index] = known.setdefault(observable_of(observable), len(known))
        distinct, row = _distinct_rows(rows, len(known))
        return cls(distinct, list(known), row, np.repeat(place, np.diff(starts, append=len(rows))))

    def evaluate(self, function: Callable[[Floats, list[Observable]], Floats]) -> Floats:
        """`function(rows, observables)` → (U, R, ...) taken at all pairs: (N, ...).

        It is called once if most of the combinations are wanted, else once an observable.
        """
        combinations = len(self.rows) * len(self.observables)
        if combinations <= 2 * len(self.row) + 64:
            table = function(self.rows, self.observables)
            flat = table.reshape(combinations, *table.shape[2:])
            place = self.observable * len(self.rows) + self.row
            return flat if np.array_equal(place, np.arange(combinations)) else flat[place]
        parts: list[tuple[NDArray[np.int_], Floats]] = []
        for index, observable in enumerate(self.observables):
            chosen = np.flatnonzero(self.observable == index)
            needed, back = np.unique(self.row[chosen], return_inverse=True)
            parts.append((chosen, function(self.rows[needed], [observable])[0][back]))
        result = np.empty((len(self.row), *parts[0][1].shape[1:]))
        for chosen, values in parts:
            result[chosen] = values
        return result


def observable_of(observable: BaseOperator | dict[str, complex]) -> Observable:
    """The observable in a form that can be compared and looked up.

    Args:
        observable: an operator that Qiskit's observables arrays take, or one's labels and coefficients.

    Raises:
        ValueError: it is not Hermitian.
    """
    if isinstance(observable, dict):
        return _of_terms(observable)
    if not isinstance(observable, SparsePauliOp) or observable.coeffs.dtype == object:
        return _of_terms(_terms(observable))
    paulis = observable.paulis
    content = (paulis.z.tobytes(), paulis.x.tobytes(), paulis.phase.tobytes(), observable.coeffs.tobytes())
    return _converted.get((observable.num_qubits, *content), lambda: _of_terms(_terms(observable)))


def readout_of(observables: Sequence[Observable]) -> Readout:
    """The observables as torch sees them; projectors in their labels (0, 1, +, -, r, l) are expanded."""
    sparse = (SparseObservable.from_list(list(observable)) for observable in observables)
    return Readout([SparsePauliOp.from_sparse_observable(observable) for observable in sparse])


def _terms(observable: BaseOperator) -> dict[str, complex]:
    return ObservablesArray.coerce(observable)[()]


def _of_terms(terms: dict[str, complex]) -> Observable:
    if any(np.imag(coefficient) != 0 for coefficient in terms.values()):
        raise ValueError(f"observable {terms} is not Hermitian: its coefficients must be real")
    return tuple(sorted((label, float(np.real(coefficient))) for label, coefficient in terms.items()))


def _stacked(blocks: list[Floats]) -> tuple[Floats, list[int]]:
    """The different ones among blocks of rows, one below the other, and where each block begins."""
    if all(block is blocks[0] for block in blocks):
        return blocks[0], [0] * len(blocks)
    distinct: dict[tuple[int, bytes], int] = {}
    stack: list[Floats] = []
    first, count = [], 0
    for block in blocks:
        key = (len(block), block.tobytes())
        if key not in distinct:
            distinct[key] = count
            stack.append(block)
            count += len(block)
        first.append(distinct[key])
    return np.concatenate(stack), first


def _distinct_rows(rows: Floats, repetitions: int) -> tuple[Floats, NDArray[np.int_]]:
    """The different rows, (R, P), and which of them each row is, (N,)."""
    count = len(rows) // repetitions
    if count * repetitions == len(rows):
        # EstimatorQNN repeats the whole batch for each observable.
        blocks = rows.reshape(repetitions, count, -1)
        if all(np.array_equal(block, blocks[0]) for block in blocks[1:]):
            return blocks[0], np.tile(np.arange(count), repetitions)
    known: dict[bytes, int] = {}
    place = np.array([known.setdefault(row.tobytes(), len(known)) for row in rows], dtype=int)
    return rows[np.unique(place, return_index=True)[1]], place
