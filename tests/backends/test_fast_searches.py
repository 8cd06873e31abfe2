"""Newton on small closed-form maps by the drivers that are fast there, against the one for every map and solver."""

import math
import sys
from importlib.util import find_spec

import pytest
import torch

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import ReducedQuadraticMap, quadratic
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.equilibrium import MapCost, Newton, _looks, nearest_lift
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
    return search_carrying(fixed_point_map, start, solver, in_one_go=False, keep_jacobian=True, trace=True)


def by_carrying_as_on_a_gpu(fixed_point_map, start, solver):
    return search_carrying(fixed_point_map, start, solver, in_one_go=True, keep_jacobian=True, trace=True)


def by_the_compiled_loop(fixed_point_map, start, solver):
    return fixed_point_map.compiled_root(start, solver, keep_jacobian=True)


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
        for now, then in zip(found.trace, expected.trace, strict=True):
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
@pytest.mark.parametrize(("max_iterations", "count"), [(20, 8), (7, 8), (2, 3)])
def test_on_a_gpu_there_is_one_look_after_a_fixed_number_of_evaluations(monkeypatch, max_iterations, count):
    fixed_point_map, start = maps_to_solve(20)
    evaluated, looks = [], []
    evaluate = ReducedQuadraticMap.value_and_jacobian
    monkeypatch.setattr(ReducedQuadraticMap, "value_and_jacobian", lambda *at: evaluated.append(at) or evaluate(*at))
    monkeypatch.setattr(_looks, "holds", lambda condition: looks.append(condition) or bool(condition))
    for tolerance in (0, 1e-2):
        solver = Newton(tolerance=tolerance, max_iterations=max_iterations, picard_steps=0)
        search_carrying(fixed_point_map, start, solver, in_one_go=True, keep_jacobian=False, trace=False)
        assert (len(evaluated), len(looks)) == (count, 1)
        evaluated.clear()
        looks.clear()


@torch.no_grad()
@needs_numba
def test_newton_takes_the_compiled_loop_if_asked_to(monkeypatch):
    fixed_point_map, start = maps_to_solve(20)
    asked = []
    monkeypatch.setattr(ReducedQuadraticMap, "compiled_root", lambda *arguments, **_: asked.append(arguments))
    solve(fixed_point_map, start, Newton(), keep_jacobian=True)
    assert not asked
    root = solve(fixed_point_map, start, Newton(compiled=True), keep_jacobian=True)
    assert len(asked) == 1
    assert root.unconverged == 0


@torch.no_grad()
@fast
def test_a_sample_that_picard_already_solves_has_paid_for_its_jacobian(search):
    fixed_point_map, start = maps_to_solve(30)
    solved = solve(fixed_point_map, start, Newton(tolerance=1e-12)).w
    start[:10] = solved[:10]
    expected = by_the_general_driver(fixed_point_map, start, Newton())
    found = search(fixed_point_map, start, Newton())
    assert expected.evaluations[:10].tolist() == [1] * 10
    assert bool((expected.evaluations[10:] > 2).all())
    for root in (expected, found):
        assert torch.equal(root.jacobian_evaluations, (expected.evaluations - 1).clamp(min=1))
        assert (root.jacobian - fixed_point_map.jacobian_at_root(root.w)).abs().max() < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("outputs", [1, 3, 5])
def test_another_number_of_outputs_than_of_state_entries_is_refused(outputs, compiled):
    torch.manual_seed(1)
    operators, lift = torch.randn(outputs, 16, 16), nearest_lift(16, 4)
    fixed_point_map = ReducedQuadraticMap.of(operators + operators.mT, torch.randn(6, 16), lift, MapCost())
    with pytest.raises(ValueError, match=rf"outputs of shape \(6, {outputs}\) for a state of shape \(6, 4\)"):
        solve(fixed_point_map, torch.zeros(6, 4), Newton(compiled=compiled))


@torch.no_grad()
def test_what_the_compiled_loop_is_not_for_is_carried(monkeypatch):
    large, start = maps_to_solve(5, num_qubits=7)
    assert not large.is_compiled
    monkeypatch.setattr(_Search, "answer", lambda _: pytest.fail("the general driver ran"))
    assert solve(large, start, Newton(compiled=True)).unconverged == 0


@torch.no_grad()
def test_a_numba_that_cannot_be_loaded_is_a_warning(monkeypatch):
    fixed_point_map, start = maps_to_solve(5)
    monkeypatch.setitem(sys.modules, "qdeq_qiskit.backends.maps.compiled_newton", None)
    quadratic._loop.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="numba cannot be loaded"):
            root = solve(fixed_point_map, start, Newton(compiled=True))
    finally:
        quadratic._loop.cache_clear()
    assert torch.equal(root.w, solve(fixed_point_map, start, Newton()).w)


@needs_numba
def test_where_no_folder_can_be_written_to_nothing_is_kept(monkeypatch):
    from numba.core import dispatcher

    from qdeq_qiskit.backends.maps.compiled_newton import _compiled

    def refuse(_):
        raise RuntimeError("cannot cache function 'doubled': no locator available")

    monkeypatch.setattr(dispatcher, "FunctionCache", refuse)
    assert _compiled(lambda x: 2 * x)(4) == 8


def test_compiled_is_true_or_false():
    with pytest.raises(ValueError, match="compiled must be true or false; it is 'yes'"):
        Newton(compiled="yes")
