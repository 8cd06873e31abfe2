"""The comparison with other libraries: equal numbers first, and nothing passed over in silence."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from fake_peers import SlowPeer, absent, fake
from qiskit.quantum_info import Statevector

from benchmarks.peers.agreement import assert_agreement
from benchmarks.peers.cell import Cell, Contest
from benchmarks.peers.circuits import problem_of, qnn_of
from benchmarks.peers.contenders import contenders
from benchmarks.peers.contenders.exact_layer import PEERS as EXACT
from benchmarks.peers.grid import cells
from benchmarks.peers.other_interpreter import OtherInterpreterPeer
from benchmarks.peers.peer import Peer
from benchmarks.peers.points import points_for
from benchmarks.peers.problem import Problem
from benchmarks.peers.report_rows import OURS, headlines
from benchmarks.timing import Timing


def quick_cells(*peers: Peer, batch: int = 4) -> list[Cell]:
    """On two qubits, where everything takes milliseconds."""
    return list(cells(quick=True, peers=peers, sizes=((2, batch),), encodings=("angle",)))


@pytest.mark.parametrize("wrong", [fake(offset=1e-9), fake(reversed_wires=True)])
def test_a_peer_with_other_numbers_is_refused_before_it_is_timed(wrong: Peer) -> None:
    with pytest.raises(AssertionError, match=r"fake.*forward, angle encoding, 2 qubits, batch 4.*differs from ours"):
        quick_cells(wrong)


def test_numbers_that_are_not_finite_or_of_another_shape_do_not_agree() -> None:
    ones = torch.ones(2, dtype=torch.double)
    for found in (ones * torch.nan, ones.repeat(2), ones + 1e-3):
        with pytest.raises(AssertionError, match="who"):
            assert_agreement(found, ones, tolerance=1e-5, who="who")
    assert assert_agreement(ones * 1000 + 1e-3, ones * 1000, tolerance=1e-5, who="who") == pytest.approx(1e-6)


def test_a_peer_with_our_numbers_is_timed_in_every_operation_and_precision() -> None:
    found = quick_cells(fake())
    assert {(cell.contest.operation, cell.precision) for cell in found} == {
        (operation, precision) for operation in ("forward", "jacobian", "step") for precision in ("single", "double")
    }
    assert all(cell.timing is not None and cell.timing.minimum > 0 for cell in found)
    assert max(cell.difference for cell in found if cell.precision == "double") < 1e-12


def test_a_peer_that_is_not_installed_is_in_the_table_with_the_remedy() -> None:
    missing = quick_cells(absent())
    assert len(missing) == 6
    assert all(cell.timing is None and "pip install -r requirements-peers.txt" in cell.reason for cell in missing)


def test_what_would_take_too_long_is_estimated_from_fewer_samples_and_marked() -> None:
    forward, *_ = quick_cells(SlowPeer(), batch=8)
    assert forward.timing is None
    assert forward.estimate_ms == 8000
    assert forward.reason.startswith("beyond 0.5 s")


def test_an_interpreter_that_is_not_there_or_lacks_the_package_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = OtherInterpreterPeer("other", "no_such_package", "x", ("single",), "QDEQ_TEST_PYTHON", "nowhere", "make it")
    monkeypatch.setenv("QDEQ_TEST_PYTHON", "/no/such/python")
    assert peer.missing() == "not installed: make it"
    monkeypatch.setenv("QDEQ_TEST_PYTHON", sys.executable)
    assert "No module named 'no_such_package'" in str(peer.missing())


def test_another_interpreter_gets_the_problem_as_plain_data() -> None:
    problem = problem_of("angle", 4)
    assert Problem.from_plain(json.loads(json.dumps(problem.plain()))) == problem


@pytest.mark.parametrize("encoding", ["amplitude", "angle"])
def test_the_gates_that_peers_are_given_are_those_of_our_circuit(encoding: str) -> None:
    problem = problem_of(encoding, 4)
    points = points_for(problem, 3)
    qnn = qnn_of(problem)
    expected = []
    for features in points.features[0].numpy():
        circuit = qnn.circuit
        inputs = qnn.input_values(features[None])[0] if encoding == "amplitude" else features
        values = {**dict(zip(qnn.input_parameters, inputs, strict=True))}
        values.update(zip(qnn.weight_parameters, points.weights[0].numpy(), strict=True))
        state = Statevector(circuit.assign_parameters(values))
        expected.append([state.expectation_value(observable).real for observable in qnn.observables])
    found = EXACT[0].case(problem, "double", points).value("forward")
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_headline_is_ours_against_the_fastest_other() -> None:
    contest = Contest("angle", 4, 256, "forward")

    def cell(name: str, seconds: float | None) -> Cell:
        timing = None if seconds is None else Timing((seconds,))
        return Cell(contest, name, name == OURS, "single", timing)

    (row,) = headlines([cell(OURS, 0.002), cell("slow", 0.05), cell("fast", 0.01), cell("absent", None)])
    assert (row.figure, row.peer, row.ratio) == (2.0, 10.0, 5.0)
    assert "fast" in row.peer_name


@pytest.mark.parametrize("package", ["pennylane", "pennylane_lightning"])
def test_pennylane_computes_what_we_compute(package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed: pip install -r requirements-peers.txt")
    kind = "lightning" if package.endswith("lightning") else "backprop"
    (peer,) = (peer for peer in contenders() if peer.name.startswith("PennyLane") and kind in peer.name)
    problem = problem_of("amplitude", 2)
    points = points_for(problem, 2)
    case = peer.case(problem, "double", points)
    for operation in ("forward", "jacobian"):
        expected = EXACT[0].case(problem, "double", points).value(operation)
        assert_agreement(case.value(operation), expected, tolerance=1e-10, who=peer.name)
