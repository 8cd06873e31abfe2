"""The paper's ansätze, gate by gate."""

from collections import Counter

import numpy as np
import pytest
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator

from qdeq_qiskit.circuits import ANSATZE, paper_block, qdeq_ansatz, random_layer


def gates_of(circuit):
    """(name, wires) of every gate in order."""
    return [(i.operation.name, [circuit.find_bit(q).index for q in i.qubits]) for i in circuit.data]


@pytest.mark.parametrize(
    ("num_qubits", "counts", "first"),
    [
        (4, {"rx": 11, "ry": 11, "rz": 13, "cx": 15}, "rx2 ry1 rx1 rz3 rx1 rx2"),
        (10, {"rx": 19, "ry": 14, "rz": 7, "cx": 10}, "rx3 rz5 rx5 rx7 ry4 rx8"),
    ],
)
def test_the_random_layer_is_that_of_the_paper(num_qubits, counts, first):
    gates = gates_of(random_layer(num_qubits))
    assert Counter(name for name, _ in gates) == counts
    assert " ".join(f"{name}{wires[0]}" for name, wires in gates[:6]) == first


def test_the_random_layer_follows_the_published_recipe_of_draws():
    random = np.random.RandomState(7)
    for name, wires in gates_of(random_layer(5, num_gates=30, seed=7)):
        kind = random.choice(["rx", "ry", "rz", "cx"], p=[0.25, 0.25, 0.25, 0.25])
        assert name == kind
        assert wires == list(random.choice(range(5), 2 if kind == "cx" else 1, replace=False))


def test_the_random_layers_weights_come_in_the_order_of_its_rotations():
    circuit = random_layer(4)
    driven = [i.operation.params[0] for i in circuit.data if i.operation.name != "cx"]
    assert all(isinstance(p, Parameter) for p in driven)
    assert [p.name for p in driven] == [f"θ[{j}]" for j in range(35)] == [p.name for p in circuit.parameters]


def test_the_papers_block_at_six_qubits():
    assert gates_of(paper_block(6)) == [
        *(("rx", [0]), ("ry", [1]), ("rz", [3]), ("crx", [0, 2])),
        *(("rx", [2]), ("ry", [3]), ("rz", [5]), ("crx", [2, 4])),
        *(("h", [3]), ("sx", [2]), ("cx", [3, 0])),
        *(("h", [5]), ("sx", [4]), ("cx", [5, 2])),
    ]


@pytest.mark.parametrize(("num_qubits", "weights"), [(4, 4), (5, 4), (10, 16)])
def test_the_block_fills_the_wires_by_default(num_qubits, weights):
    assert paper_block(num_qubits).num_parameters == weights


def test_fewer_blocks_may_be_asked_for():
    assert [name for name, _ in gates_of(paper_block(10, blocks=1))] == ["rx", "ry", "rz", "crx", "h", "sx", "cx"]


@pytest.mark.parametrize(("num_qubits", "weights"), [(4, 39), (10, 56)])
def test_the_qdeq_ansatz_has_the_papers_number_of_weights(num_qubits, weights):
    circuit = qdeq_ansatz(num_qubits)
    assert circuit.num_parameters == weights
    assert [p.name for p in circuit.parameters] == [f"θ[{j}]" for j in range(weights)]


def test_the_qdeq_ansatz_is_the_random_layer_and_then_the_block():
    theta = np.random.default_rng(0).uniform(-3, 3, size=39)
    layer = Operator(random_layer(4).assign_parameters(theta[:35]))
    block = Operator(paper_block(4).assign_parameters(theta[35:]))
    both = Operator(qdeq_ansatz(4).assign_parameters(theta))
    np.testing.assert_allclose(both.data, block.data @ layer.data, atol=1e-14)


def test_the_qdeq_recipe_names_the_weights_of_its_parts():
    ansatz = ANSATZE["qdeq"]().build(4)
    assert ansatz.weight_groups == {"random_layer": tuple(range(35)), "block": (35, 36, 37, 38)}


@pytest.mark.parametrize("kind", sorted(ANSATZE))
def test_every_kind_of_ansatz_builds_with_its_defaults(kind):
    circuit = ANSATZE[kind]().build(4).circuit
    assert circuit.num_qubits == 4
    assert circuit.num_parameters > 0


def test_qiskits_ansatze_take_their_options():
    assert ANSATZE["real_amplitudes"](reps=1, entanglement="linear").build(3).circuit.num_parameters == 6
    su2 = ANSATZE["efficient_su2"](reps=1, su2_gates=("rx", "rz", "ry")).build(3).circuit
    assert su2.num_parameters == 18
    assert [name for name, _ in gates_of(su2)][:9] == ["rx"] * 3 + ["rz"] * 3 + ["ry"] * 3


def test_an_ansatz_with_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="leave nothing to train"):
        ANSATZE["efficient_su2"](su2_gates=("h",)).build(3)


def test_too_few_qubits_are_refused():
    with pytest.raises(ValueError, match="random_layer: num_qubits must be at least 2"):
        random_layer(1)
    with pytest.raises(ValueError, match="paper_block: num_qubits must be at least 4, not 3"):
        paper_block(3)
    with pytest.raises(ValueError, match="num_gates must be at least 1, not 0"):
        random_layer(4, num_gates=0)


@pytest.mark.parametrize("blocks", [0, 3])
def test_blocks_that_do_not_fit_are_refused(blocks):
    with pytest.raises(ValueError, match=f"6 qubits have room for 1 to 2 blocks, not {blocks}"):
        paper_block(6, blocks)
