"""Readout errors undone: observables that have the inverse of the assignment matrix in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product

from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.noise.circuit_noise import CircuitNoise


def inverted_assignment(observables: Iterable[SparsePauliOp], noise: CircuitNoise) -> tuple[SparsePauliOp, ...]:
    r"""Observables whose values, read with assignment errors, are those of the given ones, read without.

    A readout that takes 0 for 1 with probability :math:`ε_0`, and 1 for 0 with :math:`ε_1`, turns a Pauli P of its
    wire into :math:`a P + b` with :math:`a = 1 - ε_0 - ε_1` and :math:`b = ε_1 - ε_0`. So each P becomes
    :math:`(P - b)/a`: the inverse of the tensor product of assignment matrices, on the outcome distribution of each
    basis, seen from the observables. Values are unbiased; the variance grows by about :math:`a^{-2}` a wire. The
    assignment matrices are taken as known exactly.

    Args:
        observables: on the noise's wires; they are to be measured with the noise's readout, not twirled.
        noise: gives each wire's assignment matrix.

    Raises:
        ValueError: a wire's readout tells 0 from 1 no better than by chance, so there is no inverse; or every readout
            is ideal, so there is nothing to invert.
    """
    observables = list(observables)
    check_readout(observables, noise)
    return tuple(_inverted(observable, noise) for observable in observables)


def _inverted(observable: SparsePauliOp, noise: CircuitNoise) -> SparsePauliOp:
    terms: list[tuple[str, list[int], complex]] = []
    for paulis, wires, coefficient in observable.to_sparse_list():
        lines = [readout_line(noise, wire) for wire in wires]
        for kept in product((True, False), repeat=len(wires)):
            factor = math.prod(1 / a if keep else -b / a for keep, (a, b) in zip(kept, lines, strict=True))
            if factor:
                label = "".join(pauli for pauli, keep in zip(paulis, kept, strict=True) if keep)
                terms.append((label, [w for w, keep in zip(wires, kept, strict=True) if keep], coefficient * factor))
    return SparsePauliOp.from_sparse_list(terms, num_qubits=observable.num_qubits).simplify(atol=0)


def readout_line(noise: CircuitNoise, wire: int) -> tuple[float, float]:
    """a and b such that a wire's readout turns ⟨P⟩ into a⟨P⟩ + b.

    Raises:
        ValueError: a is not positive.
    """
    assignment = noise.assignment(wire)
    zero_as_one, one_as_zero = float(assignment[1, 0]), float(assignment[0, 1])
    slope = 1 - zero_as_one - one_as_zero
    if slope <= 0:
        raise ValueError(
            f"readout: wire {wire} reads 0 as 1 with probability {zero_as_one:g} and 1 as 0 with {one_as_zero:g}; "
            "only a readout whose two errors sum to less than 1 can be mitigated"
        )
    return slope, one_as_zero - zero_as_one


def check_readout(observables: Sequence[SparsePauliOp], noise: CircuitNoise) -> None:
    """Raises ValueError if a wire's readout cannot be mitigated, see `readout_line`; or if none that counts errs."""
    wires = {wire for observable in observables for _, indices, _ in observable.to_sparse_list() for wire in indices}
    if all(readout_line(noise, wire) == (1, 0) for wire in wires):
        raise ValueError(
            "mitigation: readout: matrix and trex undo readout errors, and in this noise no readout that counts errs; "
            "leave readout out (none), or add a source of noise with readout errors, such as "
            "{kind: readout, error: 0.02}"
        )
