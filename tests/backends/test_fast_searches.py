"""Newton on small closed-form maps by the drivers that are fast there, against the one for every map and solver."""

import math
from importlib.util import find_spec

import pytest
import torch

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import ReducedQuadraticMap
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.equilibrium import Newton, nearest_lift
from qdeq_qiskit.equilibrium._carried import search_carrying
from qdeq_qiskit.equilibrium._search import _Search
from qdeq_qiskit.equilibrium._solve import solve

needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")


def maps_to_solve(samples, precision="double", seed=1, num_qubits=4):
    torch.manual_seed(seed)
    encoder = amplitude_encoder(num_qubits, num_amplitudes=2**num_qubits)
    qnn = QNNCircuit.compose(encoder, qdeq_ansatz(num_qubits), z_readout(num_qubits), num_amplitudes=2**num_qubits)
    layer = ExactLayer(qnn, precision=precision)
    features = torch.randn(samples, 2**num_qubits, dtype=torch.double).to(layer.dtype)
    lift = nearest_lift(2**num_qubits, num_qubits).to(features)
    with torch.no_grad():
        frozen = layer.bind(features, lift).frozen()
    assert isinstance(frozen, ReducedQuadraticMap)
    return frozen, features.new_zeros(samples, num_qubits)


def by_the_general_driver(fixed_point_map, start, solver):
    search = _Search(fixed_point_map, start, solver, interval=1, keep_jacobian=True, trace=True)
    return search.answer()


def by_carrying(fixed_point_map, start, solver):
    return search_carrying(fixed_point_map, start, solver, interval=1, trace=True)


def by_carrying_as_on_a_gpu(fixed_point_map, start, solver):
    return search_carrying(fixed_point_map, start, solver, interval=4, trace=True)


def by_the_compiled_loop(fixed_point_map, start, solver):
    return fixed_point_map.compiled_root(start, solver)


fast = pytest.mark.parametrize(
    "search", [by_carrying, by_carrying_as_on_a_gpu, pytest.param(by_the_compiled_loop, marks=needs_numba)]
)


@torch.no_grad()
@fast
@pytest.mark.parametrize("samples", [1, 16, 37, 256])
@pytest.mark.parametrize(
    "solver",
    [
        Newton(),
        Newton(tolerance=1e-9),
        Newton(picard_steps=0, pseudo_steps=(3.0,)),
        Newton(picard_steps=2, pseudo_steps=(math.inf, 1.0)),
    ],
    ids=str,
)
def test_answers_and_counts_are_those_of_the_general_driver(search, samples, solver):
    fixed_point_map, start = maps_to_solve(samples)
    expected = by_the_general_driver(fixed_point_map, start, solver)
    found = search(fixed_point_map, start, solver)
    assert expected.unconverged == 0
    assert found is not None
    assert found.unconverged == 0
    for name in ("iterations", "evaluations", "jacobian_evaluations", "converged", "reason"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for name in ("w", "residual", "relative_residual", "jacobian"):
        assert (getattr(found, name) - getattr(expected, name)).abs().max() < 1e-12, name
    if found.trace is not None:
        for now, then in zip(found.trace, expected.trace, strict=False):
            assert (now - then).abs().max() < 1e-12


@torch.no_grad()
@fast
def test_more_state_entries_than_qubits_of_the_shipped_circuits_are_solved_alike(search):
    fixed_point_map, start = maps_to_solve(50, num_qubits=6)
    expected = by_the_general_driver(fixed_point_map, start, Newton())
    found = search(fixed_point_map, start, Newton())
    assert expected.unconverged == 0
    assert (found.w - expected.w).abs().max() < 1e-12
    assert (found.jacobian - expected.jacobian).abs().max() < 1e-12


@torch.no_grad()
@fast
def test_in_single_precision_answers_agree_to_rounding(search):
    fixed_point_map, start = maps_to_solve(256, precision="single")
    expected = by_the_general_driver(fixed_point_map, start, Newton())
    found = search(fixed_point_map, start, Newton())
    assert found.w.dtype == torch.float32
    assert (found.w - expected.w).abs().max() < 1e-5
    assert bool((found.relative_residual <= 1e-4).all())


@torch.no_grad()
@fast
def test_a_batch_with_a_hard_or_a_spoilt_sample_is_left_to_the_general_driver(search):
    fixed_point_map, start = maps_to_solve(20)
    assert search(fixed_point_map, start, Newton(tolerance=0)) is None
    start[3, 1] = math.nan
    assert search(fixed_point_map, start, Newton()) is None
    root = solve(fixed_point_map, start, Newton(compiled=True))
    assert root.converged.tolist() == [sample != 3 for sample in range(20)]


@torch.no_grad()
@needs_numba
def test_newton_takes_the_compiled_loop_if_asked_to(monkeypatch):
    fixed_point_map, start = maps_to_solve(20)
    asked = []
    monkeypatch.setattr(ReducedQuadraticMap, "compiled_root", lambda *arguments: asked.append(arguments))
    solve(fixed_point_map, start, Newton(), keep_jacobian=True)
    assert not asked
    root = solve(fixed_point_map, start, Newton(compiled=True), keep_jacobian=True)
    assert len(asked) == 1
    assert root.unconverged == 0


def test_compiled_is_true_or_false():
    with pytest.raises(ValueError, match="compiled must be true or false; it is 'yes'"):
        Newton(compiled="yes")
