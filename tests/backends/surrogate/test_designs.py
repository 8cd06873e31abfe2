"""Probe designs: their states by Qiskit's own simulation, and the variances that theory says."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, SparsePauliOp, Statevector, random_statevector

from qdeq_qiskit.backends.surrogate.designs import DESIGNS, CliffordDesign, Preparations, TetrahedralDesign, make_design
from qdeq_qiskit.backends.surrogate.designs.stabiliser_bases import cheapest_circuits, is_real
from qdeq_qiskit.backends.surrogate.dual_frame import DualFrame
from qdeq_qiskit.backends.surrogate.errors import SurrogateError

LINE = [(0, 1), (1, 2), (2, 3)]
STAR = [(0, 1), (2, 1), (1, 3)]


def kets(preparations: Preparations) -> np.ndarray:
    """The states, wire 0 most significant, (N, 2ᵐ)."""
    found = []
    for row in preparations.angles:
        circuit = QuantumCircuit(preparations.num_wires)
        for wire, (polar, azimuth) in enumerate(row.reshape(-1, 2)):
            circuit.ry(polar, wire)
            circuit.rz(azimuth, wire)
        found.append(Statevector(circuit.compose(preparations.entangler).reverse_bits()).data)
    return np.array(found)


def all_kets(design: str, num_wires: int, edges: list[tuple[int, int]]) -> np.ndarray:
    return np.concatenate([kets(each) for each in make_design(design).preparations(num_wires, edges)])


def coordinates(states: np.ndarray) -> np.ndarray:
    """Tr(P ρ), (N, 4ᵐ), strings in the order 1, X, Y, Z, wire 0 first."""
    m = states.shape[1].bit_length() - 1
    labels = ["".join("IXYZ"[digit] for digit in digits) for digits in np.ndindex(*(4,) * m)]
    paulis = np.array([SparsePauliOp(label).to_matrix() for label in labels])  # a label's first letter is wire 0 here
    return np.einsum("ni,pij,nj->np", states.conj(), paulis, states).real


def test_tetrahedral_states_of_a_wire_have_overlap_one_third() -> None:
    overlaps = np.abs(all_kets("tetrahedral", 1, []) @ all_kets("tetrahedral", 1, []).conj().T) ** 2
    assert np.allclose(overlaps, (2 * np.eye(4) + 1) / 3, atol=1e-12)


def test_tetrahedral_preparations_are_all_products_of_one_circuit_without_two_qubit_gates() -> None:
    (only,) = TetrahedralDesign().preparations(3, [])
    assert not only.entangler.data
    assert len(only.angles) == TetrahedralDesign().count(3) == 64
    assert np.linalg.matrix_rank(coordinates(kets(only))) == 64


@pytest.mark.parametrize("edges", [LINE, STAR])
def test_clifford_states_are_nine_real_mutually_unbiased_bases(edges: list[tuple[int, int]]) -> None:
    states = all_kets("clifford", 4, edges)
    assert len(states) == CliffordDesign().count(4) == 144
    largest = states[np.arange(144), np.abs(states).argmax(axis=1)]
    assert np.abs((states * (largest.conj() / np.abs(largest))[:, None]).imag).max() < 1e-12
    overlaps = np.abs(states.conj() @ states.T) ** 2
    blocks = overlaps.reshape(9, 16, 9, 16)
    for one in range(9):
        for other in range(9):
            expected = np.eye(16) if one == other else np.full((16, 16), 1 / 16)
            assert np.allclose(blocks[one, :, other], expected, atol=1e-12)


@pytest.mark.parametrize("edges", [LINE, STAR])
def test_clifford_circuits_join_only_wires_that_the_processor_joins(edges: list[tuple[int, int]]) -> None:
    allowed = {tuple(sorted(edge)) for edge in edges}
    for preparations in CliffordDesign().preparations(4, edges):
        for instruction in preparations.entangler.data:
            qubits = tuple(sorted(preparations.entangler.find_bit(qubit).index for qubit in instruction.qubits))
            assert len(qubits) == 1 or qubits in allowed


def test_the_search_finds_every_stabiliser_basis_with_no_more_gates_than_three_cz_where_all_wires_are_joined() -> None:
    found = cheapest_circuits(4, [(a, b) for b in range(4) for a in range(b)])
    # ∏ (2ⁱ + 1), and 2 ∏ (2ⁱ + 1) over i < 4 of them real (maximal totally singular subspaces of a hyperbolic quadric)
    assert len(found) == 3 * 5 * 9 * 17
    assert sum(is_real(basis, 4) for basis in found) == 2 * 3 * 5 * 9
    # every graph state of four qubits is locally a product, a pair, two pairs, three joined, a star or a path
    assert max(circuit.num_cz for circuit in found.values()) == 3


def test_duals_reproduce_the_coordinates_of_any_real_state() -> None:
    for design in DESIGNS:
        frame = DualFrame.of(coordinates(all_kets(design, 4, LINE)), np.eye(16))
        generator = np.random.default_rng(0)
        v = generator.normal(size=16)
        operator = np.asarray(DensityMatrix(random_statevector(16, seed=3)).data)
        states = all_kets(design, 4, LINE)
        values = np.einsum("ni,ij,nj->n", states.conj(), operator, states).real
        found = (frame.matrices.numpy() * values[:, None, None]).sum(axis=0)
        assert v @ found @ v == pytest.approx(v @ operator.real @ v, rel=1e-10)
        assert np.allclose(found, operator.real, atol=1e-12)


def test_variances_are_those_of_theory() -> None:
    import torch

    v = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tetrahedral = DualFrame.of(coordinates(all_kets("tetrahedral", 4, [])), np.eye(16))
    # Σ c² = 4⁻ᵐ Σ_P 3^|P| F_P², and F_P² is 1/9 on average for each of the 135 real strings but the identity, which
    # have Σ 3^|P| = ((1 + 9)⁴ + (1 + 3)⁴)/2 − 1.
    assert float(tetrahedral.variance(v).mean()) == pytest.approx((1 + 5127 / 9) / 256, rel=5e-3)
    # Two Bell pairs: ((1 + 3·9)/16)²
    assert tetrahedral.worst_variance() == pytest.approx((28 / 16) ** 2, rel=1e-3)
    clifford = DualFrame.of(coordinates(all_kets("clifford", 4, LINE)), np.eye(16))
    # 1 − 1/d + 1/(dB) for every state
    assert np.allclose(clifford.variance(v[:100]).numpy(), 1 - 1 / 16 + 1 / 144, atol=1e-12)


def test_what_a_design_cannot_do_is_refused() -> None:
    with pytest.raises(SurrogateError, match="on 2 or 4 wires, not on 3; the tetrahedral"):
        make_design("clifford").preparations(3, LINE[:2])
    with pytest.raises(SurrogateError, match="not connected"):
        make_design("clifford").preparations(4, LINE[:2])
    with pytest.raises(SurrogateError, match="did you mean 'clifford'"):
        make_design("cliford")
    few = coordinates(all_kets("tetrahedral", 2, []))[:9]
    with pytest.raises(SurrogateError, match="9 preparations do not determine"):
        DualFrame.of(few, np.eye(4))
