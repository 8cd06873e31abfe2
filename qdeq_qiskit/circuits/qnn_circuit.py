"""The one object that says what is computed: a circuit, its inputs, its weights and its observables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Barrier, ControlFlowOp, Gate, Instruction, Parameter, ParameterExpression
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target

from ._limits import check_gates
from .encoders.amplitude import amplitude_angles
from .resources import CircuitResources, count_resources


@final
class QNNCircuit:
    """A quantum neural network's circuit: q_k(v; θ) = ⟨O_k⟩ in the state that the circuit prepares from v and θ.

    Immutable: the circuit and the observables are copied in, and copies are handed out. Any circuit will do whose
    gates are unitary; `compose` joins an encoder and an ansatz.

    Args:
        circuit: unitary gates only, nothing measured.
        input_parameters: the parameters that carry a sample, in the order in which values are given.
        weight_parameters: the trainable parameters, in the order in which values are given.
        observables: O_0, ..., O_{K-1}, Hermitian, on as many qubits as the circuit has.
        num_amplitudes: d, if the inputs are the gate angles of `amplitude_encoder(n, d)`, to be computed from d
            features; None if the features are the inputs.
        weight_groups: named parts of the weights, each the indices of its weights; together they are all the weights,
            each once. One part, "ansatz", if None.

    Raises:
        ValueError, TypeError: if any of this does not hold.
    """

    __slots__ = (
        "_circuit",
        "_encoder_size",
        "_input_parameters",
        "_num_amplitudes",
        "_observables",
        "_weight_groups",
        "_weight_parameters",
    )

    def __init__(
        self,
        circuit: QuantumCircuit,
        input_parameters: Iterable[Parameter],
        weight_parameters: Iterable[Parameter],
        observables: Iterable[SparsePauliOp],
        *,
        num_amplitudes: int | None = None,
        weight_groups: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        inputs, weights = tuple(input_parameters), tuple(weight_parameters)
        if weight_groups is None:
            weight_groups = {"ansatz": range(len(weights))}
        _check_circuit(circuit)
        _check_parameters(circuit, inputs, weights)
        self._circuit = circuit.copy()
        self._encoder_size: int | None = None  # instructions of the encoder, where `compose` has joined it
        self._input_parameters = inputs
        self._weight_parameters = weights
        self._observables = _checked_observables(observables, circuit.num_qubits)
        self._num_amplitudes = _checked_amplitudes(num_amplitudes, circuit.num_qubits, len(inputs))
        self._weight_groups = _checked_groups(weight_groups, len(weights))

    @classmethod
    def compose(
        cls,
        encoder: QuantumCircuit,
        ansatz: QuantumCircuit,
        observables: Iterable[SparsePauliOp],
        *,
        num_amplitudes: int | None = None,
        weight_groups: Mapping[str, Sequence[int]] | None = None,
    ) -> Self:
        """The encoder followed by the ansatz; their parameters, in Qiskit's order, are the inputs and the weights.

        Args:
            encoder: its parameters become the inputs.
            ansatz: its parameters become the weights.
            observables: as for the class.
            num_amplitudes: d, if `encoder` is `amplitude_encoder(n, d)`; None if features are its parameters.
            weight_groups: as for the class.

        Raises:
            ValueError, TypeError: if the two do not fit together, or as for the class.
        """
        _check_circuit(encoder)
        _check_circuit(ansatz)
        if encoder.num_qubits != ansatz.num_qubits:
            raise ValueError(
                f"compose: the encoder has {encoder.num_qubits} qubits, the ansatz {ansatz.num_qubits}; they must agree"
            )
        shared = sorted({p.name for p in encoder.parameters} & {p.name for p in ansatz.parameters})
        if shared:
            raise ValueError(
                f"compose: encoder and ansatz both have parameters named {_names(shared)}; rename one side's"
            )
        circuit = QuantumCircuit(encoder.num_qubits)
        circuit.compose(encoder, inplace=True)
        circuit.compose(ansatz, inplace=True)
        joined = cls(
            circuit,
            encoder.parameters,
            ansatz.parameters,
            observables,
            num_amplitudes=num_amplitudes,
            weight_groups=weight_groups,
        )
        joined._encoder_size = len(encoder.data)
        return joined

    def repeated(self, layers: int) -> QNNCircuit:
        """The same encoding once, then the ansatz `layers` times with the same weights, then one measurement.

        A circuit that `compose` has not joined is split after its last gate with an input.

        Raises:
            ValueError: `layers` is less than 1, or weights act before the last input does, so that there is no ansatz
                to be repeated without the encoder.
        """
        if not isinstance(layers, int) or layers < 1:
            raise ValueError(f"repeated: layers must be an integer, at least 1; it is {layers!r}")
        size = self._encoder_size
        if size is None:
            size = _size_of_encoder(self._circuit, self._input_parameters, self._weight_parameters)
        ansatz = self._circuit.data[size:]
        check_gates("the circuit", layers * len(ansatz), "take fewer layers")
        circuit = self._circuit.copy()
        for _ in range(layers - 1):
            for instruction in ansatz:
                circuit.append(instruction)
        deep = QNNCircuit(
            circuit,
            self._input_parameters,
            self._weight_parameters,
            self._observables,
            num_amplitudes=self._num_amplitudes,
            weight_groups=self._weight_groups,
        )
        deep._encoder_size = size
        return deep

    @property
    def circuit(self) -> QuantumCircuit:
        """A copy of the circuit."""
        return self._circuit.copy()

    @property
    def input_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that carry a sample, in order."""
        return self._input_parameters

    @property
    def weight_parameters(self) -> tuple[Parameter, ...]:
        """The trainable parameters, in order."""
        return self._weight_parameters

    @property
    def observables(self) -> tuple[SparsePauliOp, ...]:
        """Copies of the observables, in order."""
        return tuple(observable.copy() for observable in self._observables)

    @property
    def num_amplitudes(self) -> int | None:
        """The features d, if the inputs are gate angles of the amplitude encoder; None if they are the features."""
        return self._num_amplitudes

    @property
    def weight_groups(self) -> Mapping[str, tuple[int, ...]]:
        """Named parts of the weights, each the indices of its weights."""
        return MappingProxyType(self._weight_groups)

    @property
    def num_qubits(self) -> int:
        """The number of wires, n."""
        return self._circuit.num_qubits

    @property
    def num_inputs(self) -> int:
        """The number of input parameters."""
        return len(self._input_parameters)

    @property
    def num_weights(self) -> int:
        """The number of weights, P."""
        return len(self._weight_parameters)

    @property
    def num_outputs(self) -> int:
        """The number of observables, K."""
        return len(self._observables)

    @property
    def num_features(self) -> int:
        """The number of features of a sample, d: amplitudes, or as many as there are inputs."""
        return self.num_inputs if self._num_amplitudes is None else self._num_amplitudes

    def input_values(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        """Values of the input parameters for a batch of samples: gate angles of the amplitudes, or the features.

        Args:
            features: shape (B, d) with d = `num_features`, or (d,) for one sample.

        Returns:
            Shape (B, `num_inputs`), or (`num_inputs`,).

        Raises:
            ValueError: if the last axis is not d.
        """
        features = np.asarray(features)
        if features.ndim not in (1, 2) or features.shape[-1] != self.num_features:
            raise ValueError(
                f"input_values: features must have shape (B, {self.num_features}) or ({self.num_features},), "
                f"not {features.shape}"
            )
        return features if self._num_amplitudes is None else amplitude_angles(features, self.num_qubits)

    def draw(self, output: str = "text", **options: Any) -> Any:
        """The circuit drawn, as `QuantumCircuit.draw` does: 'text', 'mpl' (a matplotlib figure) or 'latex'."""
        return self._circuit.draw(output=output, **options)

    def resources(
        self, target: Target | BackendV2 | None = None, *, optimization_level: int = 2, seed: int = 0
    ) -> CircuitResources:
        """Depth, two-qubit gates and parameters on a target.

        Args:
            target: a transpilation target, or a backend whose target it is; None to count the circuit as written.
            optimization_level: effort of the transpiler, 0 to 3.
            seed: seed of the transpiler; another one may give other counts.

        Raises:
            ValueError: if the circuit does not fit on the target.
        """
        return count_resources(
            self._circuit,
            num_weights=self.num_weights,
            num_inputs=self.num_inputs,
            target=target,
            optimization_level=optimization_level,
            seed=seed,
        )

    def __repr__(self) -> str:
        features = f"{self.num_features} {'features' if self._num_amplitudes is None else 'amplitudes'}"
        return (
            f"QNNCircuit({self.num_qubits} qubits, {features}, {self.num_weights} weights, {self.num_outputs} outputs)"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _check_circuit(circuit: QuantumCircuit) -> None:
    if not isinstance(circuit, QuantumCircuit):
        raise TypeError(f"QNNCircuit: the circuit must be a QuantumCircuit, not {type(circuit).__name__}")
    if circuit.num_qubits == 0:
        raise ValueError("QNNCircuit: the circuit has no qubits")
    for instruction in circuit.data:
        culprit = _not_unitary(instruction.operation)
        if culprit == "measure":
            raise ValueError(
                "QNNCircuit: the circuit contains a measurement; leave measurements out, the observables say "
                "what is read (remove_final_measurements() strips them)"
            )
        if culprit is not None:
            raise ValueError(f"QNNCircuit: the circuit contains {culprit!r}, which is not a unitary gate")


def _not_unitary(operation: Any) -> str | None:
    """The name of an instruction in `operation` that is not a unitary gate; None if there is none."""
    if isinstance(operation, Gate | Barrier):
        return None
    # A whole circuit wrapped into one instruction (Qiskit's RealAmplitudes class, say) is as good as its contents.
    wrapped = isinstance(operation, Instruction) and not isinstance(operation, ControlFlowOp)
    if wrapped and operation.definition is not None:
        return next(filter(None, (_not_unitary(inner.operation) for inner in operation.definition.data)), None)
    return operation.name


def _size_of_encoder(circuit: QuantumCircuit, inputs: tuple[Parameter, ...], weights: tuple[Parameter, ...]) -> int:
    """How many instructions there are up to the last one with an input."""
    size, weighted = 0, None
    for place, instruction in enumerate(circuit.data):
        parameters = {p for value in instruction.operation.params for p in getattr(value, "parameters", ())}
        if weighted is None and parameters & set(weights):
            weighted = place
        if parameters & set(inputs):
            size = place + 1
    if weighted is not None and weighted < size:
        raise ValueError(
            f"repeated: the circuit has weights in its instruction {weighted} "
            f"({circuit.data[weighted].operation.name}), before its last input in instruction {size - 1} "
            f"({circuit.data[size - 1].operation.name}), so it does not split into an encoder and an ansatz that could "
            "be repeated; QNNCircuit.compose joins two that do"
        )
    return size


def _check_parameters(circuit: QuantumCircuit, inputs: tuple[Parameter, ...], weights: tuple[Parameter, ...]) -> None:
    for argument, parameters in (("input_parameters", inputs), ("weight_parameters", weights)):
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"QNNCircuit: {argument} must hold Parameters, not {parameter!r}")
        twice = {p.name for p in parameters if parameters.count(p) > 1}
        if twice:
            raise ValueError(f"QNNCircuit: {argument} lists {_names(twice)} more than once")
    if not inputs:
        raise ValueError("QNNCircuit: input_parameters is empty; at least one parameter must carry the sample")
    both = set(inputs) & set(weights)
    if both:
        raise ValueError(f"QNNCircuit: {_names(p.name for p in both)} cannot be both input and weight")
    listed, present = {*inputs, *weights}, set(circuit.parameters)
    if present - listed:
        missing = _names(p.name for p in present - listed)
        raise ValueError(f"QNNCircuit: the circuit's parameters {missing} are neither inputs nor weights")
    if listed - present:
        absent = _names(p.name for p in listed - present)
        raise ValueError(f"QNNCircuit: {absent} are listed as inputs or weights, but do not occur in the circuit")


def _checked_observables(observables: Iterable[SparsePauliOp], num_qubits: int) -> tuple[SparsePauliOp, ...]:
    if isinstance(observables, SparsePauliOp):
        raise TypeError("QNNCircuit: observables must be a sequence of SparsePauliOp, not a single one")
    copies = []
    for k, observable in enumerate(observables):
        if not isinstance(observable, SparsePauliOp):
            raise TypeError(
                f"QNNCircuit: observable {k} must be a SparsePauliOp, not {type(observable).__name__}; "
                f"SparsePauliOp({observable!r}) may be what you want"
            )
        if observable.num_qubits != num_qubits:
            raise ValueError(
                f"QNNCircuit: observable {k} acts on {observable.num_qubits} qubits, the circuit has {num_qubits}"
            )
        if observable.coeffs.dtype == object and any(isinstance(c, ParameterExpression) for c in observable.coeffs):
            raise ValueError(f"QNNCircuit: observable {k} has parameters in its coefficients; they must be numbers")
        coefficients = observable.simplify().coeffs
        if not np.all(np.isfinite(coefficients)):
            raise ValueError(f"QNNCircuit: observable {k} has coefficients that are not finite")
        if np.any(coefficients.imag != 0):
            raise ValueError(f"QNNCircuit: observable {k} is not Hermitian; its coefficients must be real")
        copies.append(observable.copy())
    if not copies:
        raise ValueError("QNNCircuit: observables is empty; at least one is needed")
    return tuple(copies)


def _checked_amplitudes(num_amplitudes: int | None, num_qubits: int, num_inputs: int) -> int | None:
    if num_amplitudes is None:
        return None
    if not 2 <= num_amplitudes <= 2**num_qubits:
        raise ValueError(
            f"QNNCircuit: num_amplitudes is {num_amplitudes}; {num_qubits} qubits hold 2 to {2**num_qubits} amplitudes"
        )
    angles = 2 ** (num_amplitudes - 1).bit_length() - 1
    if num_inputs != angles:
        raise ValueError(
            f"QNNCircuit: num_amplitudes={num_amplitudes} means {angles} input parameters, the gate angles of "
            f"amplitude_encoder, but there are {num_inputs}"
        )
    return num_amplitudes


def _checked_groups(groups: Mapping[str, Sequence[int]], num_weights: int) -> dict[str, tuple[int, ...]]:
    checked = {str(name): tuple(int(index) for index in indices) for name, indices in groups.items()}
    if sorted(index for indices in checked.values() for index in indices) != list(range(num_weights)):
        raise ValueError(
            f"QNNCircuit: weight_groups must hold each weight index from 0 to {num_weights - 1} exactly once, "
            f"not {checked}"
        )
    return checked


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
