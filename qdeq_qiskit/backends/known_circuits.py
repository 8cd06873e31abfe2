"""Which parameters of a circuit are inputs, and the evaluator that follows: found out once a circuit.

A PUB does not say it. Parameters that have the same value in all of its rows are taken for weights, the others for
inputs. What once was an input stays one, and so do its neighbours in a `ParameterVector`, so that a pixel that is
black in a whole batch changes nothing; and where a circuit does not factor with the larger set, the smaller is tried.
The choice decides how values are computed, never which.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import AnnotatedOperation, ControlledGate, Gate, Instruction, ParameterVectorElement

from qdeq_qiskit.backends.heisenberg import CircuitEvaluator, FactoredCircuit
from qdeq_qiskit.backends.recent import Recent

_log = logging.getLogger(__name__)

Maker = Callable[[QuantumCircuit, frozenset[int]], CircuitEvaluator]
"""(circuit, indices of its inputs) → evaluator."""

# What EstimatorQNN calls its inputs, whatever the circuit it was given calls them.
_INPUT_VECTOR = "inputs"


class KnownCircuits:
    """Evaluators of the circuits seen last.

    Args:
        make: how an evaluator is made.
        size: how many circuits are remembered.
    """

    def __init__(self, make: Maker, *, size: int = 16) -> None:
        self._make = make
        self._size = size
        self._known: list[_KnownCircuit] = []

    def evaluator(self, circuit: QuantumCircuit, rows: NDArray[np.float64]) -> CircuitEvaluator:
        """What evaluates the circuit at rows of parameter values, (B, P)."""
        return self._of(circuit).evaluator(_varying(rows), self._make)

    def _of(self, circuit: QuantumCircuit) -> _KnownCircuit:
        """Found by comparison, which takes microseconds: a circuit changed in place is another, an equal one is not."""
        for place, known in enumerate(self._known):
            if known.seen.is_of(circuit):
                self._known.insert(0, self._known.pop(place))
                return known
        self._known.insert(0, _KnownCircuit(SeenCircuit.of(circuit)))
        del self._known[self._size :]
        return self._known[0]


@final
@dataclass(frozen=True, eq=False)
class SeenCircuit:
    """A circuit as it was when it was seen, to tell whether another one is the same.

    Attributes:
        circuit: a copy.
        matrices: of its gates that are given by one, as bytes.
    """

    circuit: QuantumCircuit
    matrices: tuple[bytes, ...]

    @classmethod
    def of(cls, circuit: QuantumCircuit) -> SeenCircuit:
        return cls(circuit.copy(), tuple(_matrices(circuit)))

    def is_of(self, circuit: QuantumCircuit) -> bool:
        """Whether it is this circuit; Qiskit's comparison overlooks small differences of matrices."""
        return self.circuit == circuit and (not self.matrices or self.matrices == tuple(_matrices(circuit)))


@dataclass
class _KnownCircuit:
    """A circuit, what its inputs were so far, and its evaluators by their inputs."""

    seen: SeenCircuit
    inputs: frozenset[int] = frozenset()
    vectors: dict[str, list[int]] = field(default_factory=dict)
    evaluators: Recent[CircuitEvaluator] = field(default_factory=lambda: Recent(16))
    warned: bool = False

    def __post_init__(self) -> None:
        vectors: defaultdict[str, list[int]] = defaultdict(list)
        for index, parameter in enumerate(self.seen.circuit.parameters):
            if isinstance(parameter, ParameterVectorElement):
                vectors[parameter.vector.name].append(index)
        self.vectors = dict(vectors)
        self.inputs = frozenset(vectors.get(_INPUT_VECTOR, ()))

    def evaluator(self, varying: frozenset[int], make: Maker) -> CircuitEvaluator:
        """The first one, from more inputs to fewer, for which the circuit factors; else the last."""
        together = varying | self.inputs
        neighbours = together.union(*(vector for vector in self.vectors.values() if not together.isdisjoint(vector)))
        candidates = [self.inputs] if varying <= self.inputs else [neighbours, together, varying]
        for inputs in dict.fromkeys(candidates):
            evaluator = self.evaluators.get(inputs, lambda inputs=inputs: make(self.seen.circuit, inputs))  # type: ignore[misc]
            if isinstance(evaluator, FactoredCircuit):
                self.inputs = max(self.inputs, inputs, key=len)
                return evaluator
        if varying and not self.warned:
            _log.warning("circuit %r: %s", self.seen.circuit.name, evaluator.explanation)
            self.warned = True
        return evaluator


def _varying(rows: NDArray[np.float64]) -> frozenset[int]:
    """The columns that are not constant; one that is NaN throughout is, and so is every column without rows."""
    if not len(rows):
        return frozenset()
    varying = (rows != rows[0]).any(axis=0)
    if np.isnan(rows[0]).any():
        varying &= ~np.isnan(rows).all(axis=0)
    return frozenset(np.flatnonzero(varying).tolist())


def _matrices(circuit: QuantumCircuit) -> Iterator[bytes]:
    """The matrices of its gates that are given by one, also of gates within gates."""
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, AnnotatedOperation):
            operation = operation.base_op
        for parameter in operation.params:
            if isinstance(parameter, np.ndarray):
                yield parameter.tobytes()
        # A wrapped circuit has its gates in its definition; gates of types of their own are told by their parameters.
        if type(operation) in (Instruction, Gate, ControlledGate) and operation.definition is not None:
            yield from _matrices(operation.definition)
