"""Newton's method with a kept Jacobian: its iterates, when it asks for another one, and what that costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from equilibrium_maps import case
from gradient_maps import model
from sampled_maps import noisy
from torch import Tensor

from qdeq_qiskit.equilibrium import ChordNewton, FunctionMap, KrasnoselskiiMann, Newton, Picard, Reason, solve


def counted_map(name: str, samples: int) -> tuple[FunctionMap, Tensor, Tensor]:
    """The named case, the start, and how many Jacobians of each sample were taken."""
    problem = case(name, samples=samples)
    taken = torch.zeros(samples, dtype=torch.int64)

    class Counted(FunctionMap):
        def with_inputs(self, inputs: tuple[Tensor, ...]) -> Counted:
            return Counted(self._function, inputs, batched=2)

        def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
            taken[self.inputs[1][:, 0].long()] += 1
            return super().value_and_jacobian(w)

    numbers = torch.arange(samples).double().unsqueeze(1)
    counted = Counted(lambda w, x, _: problem.layer(w, x), (problem.x, numbers), batched=2)
    return counted, torch.zeros(samples, problem.state_size).double(), taken


@torch.no_grad()
@pytest.mark.parametrize("stall", [0.02, 0.3, 1.0])
def test_the_iterates_are_the_textbooks(stall: float) -> None:
    problem, visited = case("quantum", samples=1), []

    def layer(w: Tensor, x: Tensor) -> Tensor:
        visited.append(w[0].detach().numpy().copy())
        return problem.layer(w, x)

    def value(w: np.ndarray) -> np.ndarray:
        return problem.layer(torch.from_numpy(w).unsqueeze(0), problem.x)[0].numpy()

    def jacobian(w: np.ndarray) -> np.ndarray:
        step = 1e-6
        columns = [(value(w + step * e) - value(w - step * e)) / (2 * step) for e in np.eye(3)]
        return np.stack(columns, axis=1)

    solver = ChordNewton(tolerance=0, max_iterations=7, stall=stall)
    root = solve(FunctionMap(layer, (problem.x,), batched=1), torch.zeros(1, 3).double(), solver)
    w, before, matrix, taken, expected = value(np.zeros(3)), np.inf, None, 0, [np.zeros(3)]
    for _ in range(6):
        expected.append(w)
        size = np.linalg.norm(value(w) - w)
        if matrix is None or size > stall * before:
            matrix, taken = np.eye(3) - jacobian(w), taken + 1
        w, before = w + np.linalg.solve(matrix, value(w) - w), size
    # A Jacobian by autograd evaluates the layer once more where it is.
    visits = [visit for i, visit in enumerate(visited) if i == 0 or not np.array_equal(visit, visited[i - 1])]
    for visit, wanted in zip(visits, [*expected, w], strict=True):
        np.testing.assert_allclose(visit, wanted, atol=1e-7)
    assert int(root.jacobian_evaluations) == taken


@torch.no_grad()
def test_only_samples_that_stall_are_charged_for_another_jacobian() -> None:
    fixed_point_map, start, taken = counted_map("quantum", 24)
    # Loose enough that some samples are done while others still ask.
    root = solve(fixed_point_map, start, ChordNewton(tolerance=1e-4, stall=0.05))
    assert root.unconverged <= 2
    assert root.jacobian_evaluations.tolist() == taken.tolist()
    assert len(set(taken.tolist())) > 2, "the samples need different numbers of Jacobians"


@torch.no_grad()
def test_a_linear_map_takes_one_jacobian_and_one_step_from_it() -> None:
    problem = model("contraction")
    root = solve(FunctionMap(problem.layer, (problem.x,), batched=1), torch.zeros(2, 3).double(), ChordNewton())
    assert root.evaluations.tolist() == [3, 3]  # at w₀, after a plain step, after Newton's
    assert root.jacobian_evaluations.tolist() == [1, 1]


@torch.no_grad()
def test_without_refreshes_each_sample_takes_one_jacobian() -> None:
    fixed_point_map, start, taken = counted_map("quantum", 24)
    root = solve(fixed_point_map, start, ChordNewton(refreshes=0, max_iterations=20, stall=0.01))
    assert taken.tolist() == [1] * 24 == root.jacobian_evaluations.tolist()


@torch.no_grad()
def test_it_takes_fewer_jacobians_than_newton() -> None:
    problem = model("amplitude")
    fixed_point_map = problem.equilibrium().map(problem.x).frozen()
    chord, newton = (
        solve(fixed_point_map, torch.zeros(2, 4).double(), solver)
        for solver in (ChordNewton(tolerance=1e-10), Newton(tolerance=1e-10))
    )
    assert chord.unconverged == newton.unconverged == 0
    assert int(chord.jacobian_evaluations.max()) < int(newton.jacobian_evaluations.min())
    assert fixed_point_map.cost.circuits(chord.evaluations, chord.jacobian_evaluations) < fixed_point_map.cost.circuits(
        newton.evaluations, newton.jacobian_evaluations
    )


@torch.no_grad()
def test_shrinking_steps_with_one_jacobian_average_the_noise_of_evaluations() -> None:
    problem = case("tanh", samples=300)
    generator = torch.Generator().manual_seed(3)

    def sampled(w: Tensor, x: Tensor) -> Tensor:
        return problem.layer(w, x) + 0.05 * torch.randn(w.shape, generator=generator, dtype=w.dtype)

    class WithExactJacobian(FunctionMap):
        def with_inputs(self, inputs: tuple[Tensor, ...]) -> WithExactJacobian:
            return WithExactJacobian(self._function, inputs, batched=1)

        def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
            return FunctionMap(problem.layer, self.inputs, batched=1).value_and_jacobian(w)

    start = torch.zeros(300, 3).double()
    exact = solve(FunctionMap(problem.layer, (problem.x,), batched=1), start, Newton(tolerance=1e-12)).w
    errors = {}
    for name, solver in {
        "chord": ChordNewton(max_iterations=40, refreshes=0, decay=1.0),
        "picard": Picard(max_iterations=40),
        "mean": KrasnoselskiiMann(max_iterations=40, average=True),
    }.items():
        root = solve(WithExactJacobian(sampled, (problem.x,), batched=1), start, solver)
        errors[name] = float((root.w - exact).norm(dim=1).median())
    assert errors["chord"] < 0.4 * errors["picard"]
    assert errors["chord"] < 1.5 * errors["mean"]


@torch.no_grad()
def test_a_budget_that_pays_no_jacobian_ends_the_search_before_it() -> None:
    fixed_point_map, start = noisy("tanh", samples=4, shots=100)
    # Two evaluations of four samples on three circuits, and less than what their Jacobians take on five.
    fixed_point_map.budget = 2 * 4 * 3 * 100 + 4 * 5 * 100 - 1
    root = solve(fixed_point_map, start, ChordNewton(tolerance=1e-9))
    assert root.reason.tolist() == [int(Reason.BUDGET)] * 4
    assert root.evaluations.tolist() == [2] * 4
    assert root.jacobian_evaluations.tolist() == [0] * 4
    assert fixed_point_map.spent() == 2 * 4 * 3 * 100


@torch.no_grad()
def test_an_empty_batch_is_solved() -> None:
    problem = model("tanh")
    fixed_point_map = FunctionMap(problem.layer, (problem.x[:0],), batched=1)
    assert solve(fixed_point_map, torch.zeros(0, 3).double(), ChordNewton()).w.shape == (0, 3)
