"""The picture of a processor: all of it, the chosen qubits ringed and labelled, with their errors."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure
from qiskit.circuit.library import CZGate, Measure
from qiskit.transpiler import InstructionProperties, Target

from qdeq_qiskit.hardware.coupling_figure import coupling_figure
from qdeq_qiskit.noise.snapshots import Snapshot


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(("name", "physical"), [("fake_torino", (81, 80, 92, 99)), ("fake_manila", (3, 2, 4, 1))])
def test_wires_stand_on_their_qubits_with_the_calibrated_errors(name: str, physical: tuple[int, ...]) -> None:
    target = Snapshot.fake(name).target
    figure = coupling_figure(target, physical, name=name)
    figure.savefig("/dev/null", format="png")  # laid out and drawn without complaint
    labels = texts(figure)
    for wire, qubit in enumerate(physical):
        error = target["measure"][(qubit,)].error
        assert f"q{wire}\n{100 * error:.2g} %" in labels
    whole, close = figure.axes[:2]
    assert {text.get_text() for text in whole.texts} == {str(qubit) for qubit in range(target.num_qubits)}
    assert {str(qubit) for qubit in physical} <= {text.get_text() for text in close.texts}
    assert f"{target.num_qubits} qubits, 4 chosen" in whole.get_title(loc="left")


def test_wires_beyond_the_models_are_said_to_be_there_for_routing() -> None:
    figure = coupling_figure(Snapshot.fake("fake_manila").target, (0, 1, 2, 3, 4), name="manila", wires=4)
    labels = [label.split("\n")[0] for label in texts(figure)]
    assert labels.count("routing") == 1
    assert {"q0", "q1", "q2", "q3"} <= {*labels}
    assert "q4" not in labels


def test_of_several_gates_on_a_pair_the_best_counts_and_what_is_not_known_is_said_to_be_unknown() -> None:
    target = Target(num_qubits=3)
    target.add_instruction(
        CZGate(), {(0, 1): InstructionProperties(error=0.02), (1, 0): InstructionProperties(error=0.013), (1, 2): None}
    )
    target.add_instruction(Measure(), {(0,): InstructionProperties(error=0.031), (1,): None, (2,): None})
    labels = texts(coupling_figure(target, (0, 1, 2), name="small"))
    assert "1.3 %" in labels
    assert "unknown" in labels
    assert "q0\n3.1 %" in labels
    assert "q1\nunknown" in labels
