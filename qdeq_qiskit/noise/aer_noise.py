"""Between `CircuitNoise` and Aer's `NoiseModel`, both ways, at the precision of the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.circuit import Delay
from qiskit.quantum_info import Kraus, Pauli, SuperOp

from qdeq_qiskit.aer import require_aer_noise
from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Location

if TYPE_CHECKING:
    from qiskit_aer.noise import NoiseModel, QuantumError


def noise_model_of(noise: CircuitNoise) -> NoiseModel:
    """The noise for an `AerSimulator`."""
    aer = require_aer_noise()
    from qdeq_qiskit.noise._delay_relaxation import DelayRelaxation

    model = aer.NoiseModel(basis_gates=["id", "rz"])  # a gate with an error joins them below
    for (name, qubits), superop in noise.errors.items():
        if not np.array_equal(superop, np.eye(len(superop))):
            model.add_quantum_error(_quantum_error(superop), name, list(qubits), warnings=False)
    for qubit, matrix in noise.assignments.items():
        # Aer's rows are what was prepared.
        model.add_readout_error(aer.ReadoutError(matrix.T), [qubit], warnings=False)
    if noise.idle:
        times = np.full((2, noise.num_qubits), np.inf)
        for wire, values in noise.idle.items():
            times[:, wire] = values
        model._custom_noise_passes.append(DelayRelaxation(list(times[0]), list(times[1]), noise.dt))
    return model


def noise_of_model(model: NoiseModel, gates: Sequence[Location], physical: Sequence[int]) -> CircuitNoise:
    """The noise that a model puts on gates and readouts; `physical` is the model's qubit for each wire."""
    if "measure" in {*model._local_quantum_errors, *model._default_quantum_errors}:
        raise ValueError(
            "the noise model has a quantum error at measurements, which would be lost; give it as a readout error"
        )
    wires = range(len(physical))
    errors = {}
    for name, qubits in gates:
        error = _error_at(model, name, tuple(physical[qubit] for qubit in qubits))
        if error is not None:
            errors[name, qubits] = superop_of(error)
    assignments = {wire: matrix for wire in wires if (matrix := _assignment_at(model, physical[wire])) is not None}
    return CircuitNoise(
        len(physical),
        errors=errors,
        assignments=assignments,
        idle=_relaxing_wires(model, physical),
        names=frozenset(model.noise_instructions) - {"measure"},
    )


def superop_of(error: QuantumError) -> np.ndarray:
    """An Aer error's superoperator."""
    return np.asarray(SuperOp(error.to_quantumchannel()).data)


def _quantum_error(superop: np.ndarray) -> QuantumError:
    """An Aer error: a mixture of Paulis where it is one, which every simulation method handles best."""
    aer = require_aer_noise()
    probabilities = channels.pauli_probabilities(superop)
    if probabilities is None:
        return aer.QuantumError(Kraus(channels.kraus_operators(superop)))
    return aer.QuantumError([(Pauli(label), probability) for label, probability in probabilities.items()])


def _error_at(model: NoiseModel, name: str, qubits: tuple[int, ...]) -> QuantumError | None:
    """The error after a gate; one for its qubits goes before one for all, as in Aer."""
    local = model._local_quantum_errors.get(name, {})
    return local.get(qubits, model._default_quantum_errors.get(name))


def _assignment_at(model: NoiseModel, qubit: int) -> np.ndarray | None:
    joint = [qubits for qubits in model._local_readout_errors if len(qubits) > 1]
    if joint:
        raise ValueError(
            f"the noise model has a joint readout error of qubits {joint[0]}; "
            "readout errors must be independent, one a qubit"
        )
    error = model._local_readout_errors.get((qubit,), model._default_readout_error)
    return None if error is None else np.array(error.probabilities).T


def _relaxing_wires(model: NoiseModel, physical: Sequence[int]) -> dict[int, tuple[float, float]]:
    """(T1, T2) of the wires that Aer's pass for delays lets relax."""
    idle: dict[int, tuple[float, float]] = {}
    for noise_pass in model._custom_noise_passes:
        t1s, t2s = _delay_times(noise_pass)
        if max(physical, default=-1) >= len(t1s):
            raise ValueError(
                f"the noise model lets {len(t1s)} qubits relax during delays, and the circuit uses qubit "
                f"{max(physical)}; give a noise model of at least as many qubits"
            )
        for wire, qubit in enumerate(physical):
            t1, t2 = float(t1s[qubit]), float(t2s[qubit])
            if t1 == t2 == np.inf:
                continue
            if not 0 < t2 <= 2 * t1:
                raise ValueError(
                    f"the noise model lets qubit {qubit} relax during delays with T1 = {t1:g} s and T2 = {t2:g} s; "
                    "T2 is positive and at most 2·T1"
                )
            idle[wire] = (t1, t2)
    return idle


def _delay_times(noise_pass: Any) -> tuple[np.ndarray, np.ndarray]:
    """T1 and T2 of a pass that relaxes qubits during delays towards |0⟩."""
    aer = require_aer_noise()
    if isinstance(noise_pass, aer.RelaxationNoisePass):
        only_delays = noise_pass._ops == (Delay,) and noise_pass._method == "append"
        if only_delays and not np.any(noise_pass._p1s):
            return noise_pass._t1s, noise_pass._t2s
    raise ValueError(
        f"the noise model has a pass of its own ({type(noise_pass).__name__}) that is more than relaxation towards |0⟩ "
        "during delays; errors must depend on a gate's name and qubits only"
    )
