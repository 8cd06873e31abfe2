"""The noisy backends for users of a V2 estimator: a stock `EstimatorQNN` in a stock `TorchConnector`, say."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any, Protocol, final

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVectorElement
from qiskit.primitives import BaseEstimatorV2, DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers import EstimatorPubLike
from qiskit.providers import Options
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from qiskit.quantum_info.operators.base_operator import BaseOperator
from qiskit_machine_learning.gradients import BaseEstimatorGradient, EstimatorGradientResult

from qdeq_qiskit.backends.estimator import CompletedJob
from qdeq_qiskit.backends.known_circuits import SeenCircuit
from qdeq_qiskit.backends.machine import Machine
from qdeq_qiskit.backends.pairs import CheckedPub, Floats, Observable, Pairs
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.backends.recent import Recent
from qdeq_qiskit.circuits import QNNCircuit

# What EstimatorQNN calls the inputs of its circuit.
_INPUTS = "inputs"
# Circuits, and machines that run them, that are remembered.
_KEPT = 16


class MachineBackend(Protocol):
    """A backend that can run a circuit: one of kind `shots`, `noisy` or `snapshot`."""

    def machine(self, qnn: QNNCircuit) -> Machine:
        """The machine that runs the circuit."""


@final
class NoisyEstimator(BaseEstimatorV2):
    """Expectation values on a noisy backend, exact or with shots, all observables of a circuit from the same shots.

    A circuit is compiled once, its parameters divided into inputs and weights as in a `QNNCircuit`, so that values are
    those of the backend's own layers. Several PUBs of one circuit with the same rows are run once.

    Args:
        backend: a backend recipe of kind `shots`, `noisy` or `snapshot`.
        input_params: the parameters that carry a sample. If None, the elements of a vector named "inputs", as
            `EstimatorQNN` names them; in a circuit without such, all parameters.
    """

    def __init__(self, backend: MachineBackend, *, input_params: Sequence[Parameter] | None = None) -> None:
        self.backend = backend
        self.input_params = None if input_params is None else frozenset(input_params)
        self._machines: Recent[tuple[Machine, QNNCircuit]] = Recent(_KEPT)
        self._circuits: list[tuple[int, SeenCircuit]] = []
        self._numbers = count()

    def run(self, pubs: Iterable[EstimatorPubLike], *, precision: float | None = None) -> CompletedJob:
        """Expectation values of each PUB.

        Args:
            pubs: (circuit, observables, parameter values) in any of the shapes of the V2 interface.
            precision: the target, for which ⌈1/precision²⌉ shots are taken; if None or 0, the backend's own number.
                Of no effect where the backend is exact, as the metadata of each result say.

        Returns:
            A job that has finished.

        Raises:
            ValueError: a circuit that does not suit the backend, or an observable that is not Hermitian.
        """
        checked = [CheckedPub.of(pub, 0.0 if precision is None else precision) for pub in pubs]
        groups: defaultdict[tuple[int, float], list[int]] = defaultdict(list)
        for index, pub in enumerate(checked):
            groups[id(pub.circuit), pub.precision].append(index)
        results: dict[int, PubResult] = {}
        for group in groups.values():
            results.update(zip(group, self._run_circuit([checked[index] for index in group]), strict=True))
        return CompletedJob(PrimitiveResult([results[index] for index in range(len(checked))], {"version": 2}))

    def machine(self, circuit: QuantumCircuit, observables: Sequence[Observable]) -> tuple[Machine, QNNCircuit]:
        """What runs the circuit and measures the observables, kept for the next call; and the circuit's division."""
        key = (self._number(circuit), tuple(observables), self.input_params)
        return self._machines.get(key, lambda: self._made(circuit, observables))

    def angles(self, qnn: QNNCircuit, circuit: QuantumCircuit, rows: torch.Tensor) -> torch.Tensor:
        """Angles of the machine's slots, (R, G), for rows of values of the circuit's parameters; differentiable."""
        ordered = [*qnn.input_parameters, *qnn.weight_parameters]
        place = {parameter: index for index, parameter in enumerate(circuit.parameters)}
        program = program_of(qnn.circuit, ordered)
        return program.angle_map.compile()(rows[:, [place[parameter] for parameter in ordered]])

    def _run_circuit(self, pubs: list[CheckedPub]) -> list[PubResult]:
        """PUBs that share a circuit and a precision."""
        circuit, precision = pubs[0].circuit, pubs[0].precision
        shots = math.ceil(1 / precision**2) if precision else None
        pairs = Pairs.of_pubs(pubs)
        exact = False

        def values(rows: Floats, observables: list[Observable]) -> Floats:
            nonlocal exact
            machine, qnn = self.machine(circuit, observables)
            exact = machine.shots is None
            measured = machine.run(self.angles(qnn, circuit, torch.as_tensor(rows)), shots=shots)
            spread = measured.covariance.diagonal(dim1=1, dim2=2).sqrt()
            return torch.stack((measured.values, spread), dim=-1).transpose(0, 1).numpy()

        flat = pairs.evaluate(values)
        results, start = [], 0
        for pub in pubs:
            size = math.prod(pub.shape)
            evs, stds = (flat[start : start + size, part].reshape(pub.shape) for part in (0, 1))
            start += size
            metadata = {"target_precision": precision, "circuit_metadata": circuit.metadata, "exact": exact}
            results.append(PubResult(DataBin(evs=evs, stds=stds, shape=evs.shape), metadata=metadata))
        return results

    def _made(self, circuit: QuantumCircuit, observables: Sequence[Observable]) -> tuple[Machine, QNNCircuit]:
        inputs = [parameter for parameter in circuit.parameters if self._is_input(parameter)]
        if not inputs:
            inputs = list(circuit.parameters)
        weights = [parameter for parameter in circuit.parameters if parameter not in set(inputs)]
        sparse = (SparseObservable.from_list(list(observable)) for observable in observables)
        operators = [SparsePauliOp.from_sparse_observable(observable) for observable in sparse]
        qnn = QNNCircuit(circuit, inputs, weights, operators)
        return self.backend.machine(qnn), qnn

    def _is_input(self, parameter: Parameter) -> bool:
        if self.input_params is not None:
            return parameter in self.input_params
        return isinstance(parameter, ParameterVectorElement) and parameter.vector.name == _INPUTS

    def _number(self, circuit: QuantumCircuit) -> int:
        """The circuit's number among those seen last, by comparison: one that was changed in place is another."""
        for place, (number, known) in enumerate(self._circuits):
            if known.is_of(circuit):
                self._circuits.insert(0, self._circuits.pop(place))
                return number
        self._circuits.insert(0, (next(self._numbers), SeenCircuit.of(circuit)))
        del self._circuits[_KEPT:]
        return self._circuits[0][0]


@final
class NoisyGradient(BaseEstimatorGradient):
    """Gradients by the shift rules of the circuit as it was written, for a `NoisyEstimator`.

    All shifted circuits are one compiled circuit at other angles, so that gradients are those of the values; a gradient
    of qiskit_machine_learning would have circuits of its own compiled.

    Args:
        estimator: whose backend runs the circuits.

    Raises:
        TypeError: another kind of estimator.
    """

    def __init__(self, estimator: NoisyEstimator) -> None:
        if not isinstance(estimator, NoisyEstimator):
            raise TypeError(f"NoisyGradient needs a NoisyEstimator, not a {type(estimator).__name__}")
        super().__init__(estimator)
        self._noisy = estimator

    def _run(
        self,
        circuits: Sequence[QuantumCircuit],
        observables: Sequence[BaseOperator],
        parameter_values: Sequence[Sequence[float]] | Floats,
        parameters: Sequence[Sequence[Parameter]],
        **options: Any,
    ) -> EstimatorGradientResult:
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index, circuit in enumerate(circuits):
            groups[id(circuit)].append(index)
        gradients: dict[int, Floats] = {}
        for group in groups.values():
            circuit = circuits[group[0]]
            rows = np.asarray([parameter_values[index] for index in group], dtype=float)
            pairs = Pairs.of_entries(rows, [observables[index] for index in group], circuit)
            whole = pairs.evaluate(partial(self._jacobian, circuit))
            place = {parameter: index for index, parameter in enumerate(circuit.parameters)}
            for index, gradient in zip(group, whole, strict=True):
                gradients[index] = gradient[[place[parameter] for parameter in parameters[index]]]
        metadata = [{"parameters": list(some)} for some in parameters]
        return EstimatorGradientResult([gradients[index] for index in range(len(circuits))], metadata, Options())

    def _jacobian(self, circuit: QuantumCircuit, rows: Floats, observables: list[Observable]) -> Floats:
        """∂⟨O_k⟩/∂p, (K, R, P)."""
        machine, qnn = self._noisy.machine(circuit, observables)
        values = torch.as_tensor(rows)
        angles = self._noisy.angles(qnn, circuit, values)
        shifted = machine.run_shifted(angles, list(range(angles.shape[1])))
        tangents = [
            torch.func.jvp(lambda some: self._noisy.angles(qnn, circuit, some), (values,), (unit.expand_as(values),))[1]
            for unit in torch.eye(values.shape[1], dtype=values.dtype)
        ]
        jacobian = torch.bmm(shifted.derivatives, torch.stack(tangents, dim=-1))  # (R, K, P)
        return jacobian.transpose(0, 1).numpy()
