"""An exact estimator and its gradient, drop-in for Qiskit's, that do their work in bulk.

They serve a stock `EstimatorQNN` in a stock `TorchConnector`, and every other user of a V2 estimator.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from operator import is_
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BaseEstimatorV2, DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers import EstimatorPubLike
from qiskit.providers import JobStatus, Options
from qiskit.quantum_info.operators.base_operator import BaseOperator
from qiskit_machine_learning.algorithm_job import AlgorithmJob
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import BaseEstimatorGradient, EstimatorGradientResult

from qdeq_qiskit.backends.engines import DTYPES, resolve_engine
from qdeq_qiskit.backends.heisenberg import CircuitEvaluator, evaluator_of, indexer
from qdeq_qiskit.backends.known_circuits import KnownCircuits
from qdeq_qiskit.backends.pairs import CheckedPub, Floats, Observable, Pairs, readout_of
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.backends.recent import Recent
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost, bind_layer

_Rows = Sequence[Sequence[float]] | NDArray[np.floating]


class HeisenbergEstimator(BaseEstimatorV2):
    """Exact expectation values: PUBs that share a circuit and its parameter values are evaluated once.

    Circuits that factor into an encoder (product states, or the amplitude tree) and a weight block are evaluated
    through effective observables, built once for the values of the weights; others are evolved row by row, which a
    log line says once a circuit. How inputs and weights are told apart: see `known_circuits`.

    Args:
        engine: "auto", "torch" or "aer": what computes weight blocks.
        device: "cpu" or "cuda".
        precision: "double", or "single" for half the memory and seven digits.

    Raises:
        ValueError: an unknown engine or precision, or a GPU that is not there.
    """

    def __init__(self, *, engine: str = "auto", device: str | torch.device = "cpu", precision: str = "double") -> None:
        resolve_engine(engine)
        if precision not in DTYPES:
            raise ValueError(f"precision = {precision!r}: choose one of {', '.join(DTYPES)}")
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device = {str(device)!r}: torch sees no GPU here; use 'cpu' or a CUDA build of torch")
        self.engine = engine
        self.device = torch.device(device)
        self.precision = precision
        self._circuits = KnownCircuits(self._make)
        self._readouts: Recent[Readout] = Recent(64)

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> CompletedJob:
        """Expectation values of each PUB.

        Args:
            pubs: (circuit, observables, parameter values) in any of the shapes of the V2 interface.
            precision: checked, and otherwise without effect: values are exact, standard errors are 0, and the
                metadata of each result say so.

        Returns:
            A job that has finished.

        Raises:
            ValueError: a circuit that is not unitary, or an observable that is not Hermitian.
        """
        checked = [CheckedPub.of(pub, 0.0 if precision is None else precision) for pub in pubs]
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index, pub in enumerate(checked):
            groups[id(pub.circuit)].append(index)
        results: dict[int, PubResult] = {}
        for group in groups.values():
            results.update(zip(group, self._run_circuit([checked[index] for index in group]), strict=True))
        return CompletedJob(PrimitiveResult([results[index] for index in range(len(checked))], {"version": 2}))

    def values(self, evaluator: CircuitEvaluator, rows: Floats, observables: Sequence[Observable]) -> Floats:
        """⟨O_k⟩ for all of the rows of parameter values, (B, P), and all observables: (K, B)."""
        if not len(rows) or not observables:
            return np.zeros((len(observables), len(rows)))
        with _kept_tensors():
            values = evaluator.values(self._tensor(rows), self._readout(observables))
        return values.double().cpu().numpy()

    def jacobian(
        self, evaluator: CircuitEvaluator, rows: Floats, observables: Sequence[Observable], wanted: frozenset[int]
    ) -> Floats:
        """∂⟨O_k⟩/∂p for the same, (K, B, P); parameters with indices that are not `wanted` may have zeros."""
        with _kept_tensors():
            jacobian = evaluator.jacobian(self._tensor(rows), self._readout(observables), wanted)
        return jacobian.double().cpu().numpy()

    def evaluator(self, circuit: QuantumCircuit, rows: Floats) -> CircuitEvaluator:
        """What evaluates the circuit at these rows of parameter values, (B, P)."""
        return self._circuits.evaluator(circuit, rows)

    def _run_circuit(self, pubs: list[CheckedPub]) -> list[PubResult]:
        """PUBs that share one circuit."""
        circuit = pubs[0].circuit
        pairs = Pairs.of_pubs(pubs)
        evaluator = self.evaluator(circuit, pairs.rows)
        flat = pairs.evaluate(lambda rows, observables: self.values(evaluator, rows, observables))
        exact = {"exact": True, "engine": evaluator.engine_name, "evaluation": evaluator.explanation}
        results, start = [], 0
        for pub in pubs:
            size = math.prod(pub.shape)
            evs = flat[start : start + size].reshape(pub.shape)
            start += size
            metadata = {"target_precision": pub.precision, "circuit_metadata": circuit.metadata, **exact}
            results.append(PubResult(DataBin(evs=evs, stds=np.zeros_like(evs), shape=evs.shape), metadata=metadata))
        return results

    def _make(self, circuit: QuantumCircuit, inputs: frozenset[int]) -> CircuitEvaluator:
        with _kept_tensors():
            return evaluator_of(circuit, inputs, engine=self.engine, device=self.device, precision=self.precision)

    def _readout(self, observables: Sequence[Observable]) -> Readout:
        return self._readouts.get(tuple(observables), lambda: readout_of(observables))

    def _tensor(self, rows: Floats) -> torch.Tensor:
        return torch.as_tensor(rows, dtype=DTYPES[self.precision], device=self.device)


class HeisenbergGradient(BaseEstimatorGradient):
    """Exact gradients of expectation values with respect to any parameters, for a `HeisenbergEstimator`.

    Entries that share a circuit are evaluated together, however often the circuit is in the list (a stock
    `EstimatorQNN` passes it once a sample and observable). The last Jacobian is kept, because a stock `TorchConnector`
    asks for the same one again for every vector-Jacobian product.

    Args:
        estimator: whose engine, device, precision and knowledge of circuits are used.

    Raises:
        TypeError: another kind of estimator.
    """

    def __init__(self, estimator: HeisenbergEstimator) -> None:
        if not isinstance(estimator, HeisenbergEstimator):
            raise TypeError(
                f"HeisenbergGradient needs a HeisenbergEstimator, not a {type(estimator).__name__}; "
                "for other estimators use a gradient of qiskit_machine_learning"
            )
        super().__init__(estimator)
        self._exact = estimator
        self._last: _Jacobian | None = None

    def run(
        self,
        circuits: Sequence[QuantumCircuit] | QuantumCircuit,
        observables: Sequence[BaseOperator] | BaseOperator,
        parameter_values: _Rows,
        parameters: Sequence[Sequence[Parameter] | None] | None = None,
        **options: Any,
    ) -> CompletedJob:
        """The gradient of each (circuit, observable, values); see `BaseEstimatorGradient.run`.

        Args:
            circuits: one an entry.
            observables: one an entry.
            parameter_values: one row an entry.
            parameters: for each entry the parameters wanted, None for all of its circuit's.
            options: `precision` alone, which has no effect: gradients are exact.

        Returns:
            A job that has finished.

        Raises:
            ValueError: arguments that do not fit together.
            TypeError: any other option.
        """
        unknown = sorted(set(options) - {"precision"})
        if unknown:
            raise TypeError(f"HeisenbergGradient is exact and does not take the options {unknown}")
        circuits = [circuits] if isinstance(circuits, QuantumCircuit) else circuits
        observables = [observables] if isinstance(observables, BaseOperator) else observables
        parameters = [None] * len(circuits) if parameters is None else parameters
        _check_lengths(len(circuits), observables=observables, parameter_values=parameter_values, parameters=parameters)
        return CompletedJob(self._run(circuits, observables, parameter_values, parameters))

    def _run(
        self,
        circuits: Sequence[QuantumCircuit],
        observables: Sequence[BaseOperator],
        parameter_values: _Rows,
        parameters: Sequence[Sequence[Parameter] | None],
        **options: Any,
    ) -> EstimatorGradientResult:
        if circuits and _all_the_same(circuits):
            gradients, metadata = self._of_circuit(circuits[0], observables, parameter_values, parameters)
            return EstimatorGradientResult(gradients, metadata, Options())
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index, circuit in enumerate(circuits):
            groups[id(circuit)].append(index)
        results: dict[int, tuple[Floats, dict[str, Any]]] = {}
        for group in groups.values():
            columns = ([part[index] for index in group] for part in (observables, parameter_values, parameters))
            of_group = self._of_circuit(circuits[group[0]], *columns)  # type: ignore[arg-type]
            results.update(zip(group, zip(*of_group, strict=True), strict=True))
        ordered = [results[index] for index in range(len(circuits))]
        return EstimatorGradientResult([entry[0] for entry in ordered], [entry[1] for entry in ordered], Options())

    def _of_circuit(
        self,
        circuit: QuantumCircuit,
        observables: Sequence[BaseOperator],
        parameter_values: _Rows,
        parameters: Sequence[Sequence[Parameter] | None],
    ) -> tuple[Any, list[dict[str, Any]]]:
        """Gradients of all entries (one array where all want the same parameters), and their metadata."""
        rows = _checked_rows(circuit, parameter_values)
        pairs = Pairs.of_entries(rows, observables, circuit)
        distinct = {id(some): some for some in (parameters[:1] if _all_the_same(parameters) else parameters)}
        lists = {key: list(circuit.parameters if some is None else some) for key, some in distinct.items()}
        everything = list(range(circuit.num_parameters))
        columns = {key: everything if some is None else _columns(circuit, lists[key]) for key, some in distinct.items()}
        wanted = frozenset(column for some in columns.values() for column in some)
        gradients = pairs.evaluate(lambda rows, observables: self._jacobian(circuit, rows, observables, wanted))
        if len(lists) == 1:
            (key,) = lists
            chosen = gradients[:, indexer(columns[key])]
            # A view of the kept Jacobian cannot be written to; what is handed out is the caller's.
            return chosen if chosen.flags.writeable else chosen.copy(), [{"parameters": lists[key]}] * len(rows)
        metadata = [{"parameters": lists[id(some)]} for some in parameters]
        return [row[columns[id(some)]] for row, some in zip(gradients, parameters, strict=True)], metadata

    def _jacobian(
        self, circuit: QuantumCircuit, rows: Floats, observables: list[Observable], wanted: frozenset[int]
    ) -> Floats:
        evaluator = self._exact.evaluator(circuit, rows)
        last = self._last
        if last is None or not last.is_for(evaluator, rows, observables, wanted):
            values = self._exact.jacobian(evaluator, rows, observables, wanted)
            values.flags.writeable = False
            last = self._last = _Jacobian(evaluator, rows.copy(), observables, wanted, values)
        return last.values


class CompletedJob(AlgorithmJob):
    """A job whose result is there: simulating in the caller's thread is faster than starting another.

    Args:
        result: the result.
    """

    def __init__(self, result: Any) -> None:
        super().__init__(None)
        self._value = result

    def submit(self) -> None:
        """Does nothing."""

    def result(self) -> Any:
        """The result."""
        return self._value

    def status(self) -> JobStatus:
        """DONE."""
        return JobStatus.DONE

    def cancel(self) -> bool:
        """False: there is nothing left to cancel."""
        return False


@dataclass(frozen=True)
class _Jacobian:
    """A Jacobian, (K, B, P), and what it was asked for."""

    evaluator: CircuitEvaluator
    rows: Floats
    observables: list[Observable]
    wanted: frozenset[int]
    values: Floats

    def is_for(
        self, evaluator: CircuitEvaluator, rows: Floats, observables: list[Observable], wanted: frozenset[int]
    ) -> bool:
        """Whether it is what is asked for now; every known circuit has evaluators of its own."""
        same = evaluator is self.evaluator and wanted <= self.wanted and observables == self.observables
        return same and np.array_equal(rows, self.rows)


@contextmanager
def _kept_tensors() -> Iterator[None]:
    """Nothing is recorded, and tensors that are kept serve outside of inference mode too."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _all_the_same(entries: Sequence[object]) -> bool:
    """Whether a list, which may be long, holds one object over and over."""
    return all(map(is_, entries, repeat(entries[0])))


def _check_lengths(entries: int, **arguments: Any) -> None:
    for name, argument in arguments.items():
        if len(argument) != entries:
            raise ValueError(f"there are {entries} circuits, but {len(argument)} {name}; one is needed for each")


def _checked_rows(circuit: QuantumCircuit, parameter_values: _Rows) -> Floats:
    if not circuit.num_parameters:
        raise ValueError(f"circuit {circuit.name!r} has no parameters, so there is no gradient")
    if isinstance(parameter_values, np.ndarray) and parameter_values.ndim == 2:
        lengths = {parameter_values.shape[1]}
    else:
        lengths = {len(row) for row in parameter_values}
    if lengths != {circuit.num_parameters}:
        raise ValueError(
            f"circuit {circuit.name!r} has {circuit.num_parameters} parameters, but rows of parameter_values have "
            f"{sorted(lengths)} values"
        )
    return np.asarray(parameter_values, dtype=float)


def _columns(circuit: QuantumCircuit, wanted: list[Parameter]) -> list[int]:
    """The indices of parameters among the circuit's."""
    place = {parameter: index for index, parameter in enumerate(circuit.parameters)}
    absent = [parameter.name for parameter in wanted if parameter not in place]
    if absent:
        raise ValueError(f"parameters {absent} do not occur in circuit {circuit.name!r}")
    return [place[parameter] for parameter in wanted]


@bind_layer.register
def _(connector: TorchConnector, x: torch.Tensor, lift: torch.Tensor, *, cost: MapCost) -> FixedPointMap:
    """An equilibrium of a stock connector: one Jacobian where autograd would ask for one product an output."""
    from qdeq_qiskit.backends.connector import connector_map

    return connector_map(connector, x, lift)
