"""What solvers, adjoints and penalties cost in circuits: `Solution` and what a machine ran, against formulas.

On a machine that only evaluates circuits a sample's step takes E evaluations of f, S_θ circuits for the weights (two
shifts a rotation, four a controlled one), and C_J for each ∂f/∂w along the n columns of R: 2n for noiseless amplitude
inputs, 2d for angles, where a column of R touches several gates.
"""

from __future__ import annotations

import pytest
import torch
from counted_models import SAMPLES, D, N, gates_of_the_weights, layer, of_jacobian, solved
from multinomial_machine import MultinomialMachine
from torch import Tensor

from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.equilibrium import (
    JFB,
    Adjoint,
    Anderson,
    Broyden,
    ChordNewton,
    Equilibrium,
    ImplicitAdjoint,
    KrasnoselskiiMann,
    Newton,
    ParameterShiftPenalty,
    PhantomGradient,
    Picard,
    Shine,
    Solution,
    Solver,
    nearest_lift,
)

EVALUATIONS = 10
STEPS = {"tolerance": 0, "max_iterations": EVALUATIONS - 1}
SOLVERS: dict[str, Solver] = {
    "picard": Picard(**STEPS),
    "krasnoselskii_mann": KrasnoselskiiMann(**STEPS),
    "anderson": Anderson(**STEPS),
    "broyden": Broyden(**STEPS),
    "broyden, line search": Broyden(**STEPS, backtracks=2),
    "chord_newton": ChordNewton(**STEPS, refreshes=2),
    "newton": Newton(**STEPS, pseudo_steps=(1.0,)),
}
ADJOINTS: dict[str, Adjoint] = {
    "jfb": JFB(),
    "shine": Shine(),
    "phantom": PhantomGradient(),
    "implicit": ImplicitAdjoint(),
    "implicit, iterative": ImplicitAdjoint(solver=Broyden(tolerance=0, max_iterations=9)),
}


def jacobians_of(solver: Solver, solution: Solution, further: int) -> list[int]:
    """How many the solver takes of each sample, by its rule."""
    if solver.kind == "newton":
        return [EVALUATIONS - 1] * SAMPLES  # none at the start
    if solver.kind == "chord_newton":
        taken = (solution.jacobian_evaluations - further).tolist()
        assert all(1 <= count <= 3 for count in taken)  # the first, and up to two refreshes
        return taken
    return [0] * SAMPLES


@pytest.mark.parametrize("encoding", ["amplitude", "angle"])
@pytest.mark.parametrize("adjoint", ADJOINTS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_circuits_are_those_of_the_formulas_and_those_that_ran(solver: str, adjoint: str, encoding: str) -> None:
    if adjoint == "shine" and not SOLVERS[solver].estimates_inverse:
        pytest.skip("estimates no inverse")
    chosen, c_j, s_theta = SOLVERS[solver], of_jacobian(encoding), gates_of_the_weights(encoding)
    assert s_theta == layer(encoding).circuits_per_weight_gradient == 80
    solution, forward, backward = solved(encoding, solver=chosen, adjoint=ADJOINTS[adjoint])
    # Newton gives the Jacobian at its answer, which was not its last iterate here, whether it will be used or not.
    for_answer = int(solver == "newton" or adjoint in ("implicit", "phantom"))
    jacobians = jacobians_of(chosen, solution, for_answer)
    assert solution.evaluations.tolist() == [EVALUATIONS] * SAMPLES
    assert solution.jacobian_evaluations.tolist() == [count + for_answer for count in jacobians]
    expected = sum(EVALUATIONS + c_j * (count + for_answer) for count in jacobians)
    assert solution.circuits == forward == expected
    assert solution.shots == 256 * forward
    products = 0
    if adjoint == "implicit, iterative":
        assert solution.backward is not None
        assert solution.backward.products.tolist() == [10] * SAMPLES
        products = solution.backward.circuits
        assert products == 10 * c_j * SAMPLES
    assert backward == SAMPLES * s_theta + products


@pytest.mark.parametrize(
    ("encoding", "penalty", "circuits"),
    [
        ("angle", ParameterShiftPenalty(columns=3), 6),
        ("amplitude", ParameterShiftPenalty(rule="quadratic", columns=3), 7),
        ("amplitude", ParameterShiftPenalty(rule="quadratic", columns=4, space="reduced"), 9),
    ],
)
def test_the_parameter_shift_penalty_takes_two_circuits_a_column_and_is_counted(
    encoding: str, penalty: ParameterShiftPenalty, circuits: int
) -> None:
    solution, forward, _ = solved(encoding, solver=SOLVERS["broyden"], adjoint=JFB(), penalty=penalty)
    assert solution.circuits == forward == SAMPLES * (EVALUATIONS + circuits)
    assert solution.penalty.requires_grad
    before = layer(encoding).circuits_run
    solution.penalty.backward()
    # Each of these values has a gradient for the weights.
    assert layer(encoding).circuits_run - before == SAMPLES * circuits * gates_of_the_weights(encoding)


def test_the_table_of_the_documentation_is_that_of_the_amplitude_model_with_ten_evaluations() -> None:
    totals = {}
    for name, adjoint in ADJOINTS.items():
        _, forward, backward = solved("amplitude", solver=SOLVERS["broyden"], adjoint=adjoint)
        totals[name] = (forward + backward) // SAMPLES
    assert totals == {"jfb": 90, "shine": 90, "phantom": 98, "implicit": 98, "implicit, iterative": 10 + 80 + 10 * 8}


@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_a_floor_raises_the_singular_values_of_a_measured_jacobian_and_says_where(floor: float) -> None:
    adjoint = ImplicitAdjoint(floor=floor)
    x = torch.randn(200, D, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    few = SampledLayer(
        layer("amplitude").qnn,
        MultinomialMachine(layer("amplitude").qnn, shots=16, seed=5),
        weight=layer("amplitude").weight,
    )
    equilibrium = Equilibrium(
        few, lift=nearest_lift(D, N).double(), solver=Broyden(**STEPS), adjoint=adjoint, on_failure="record"
    )
    solution = equilibrium(x)
    assert solution.jacobian is not None
    least = torch.linalg.svdvals(torch.eye(N).double() - solution.jacobian)[:, -1]
    if not floor:
        assert solution.floored is None
        assert float(least.min()) < 0.2
        return
    assert float(least.min()) >= 0.2 - 1e-12
    assert solution.floored is not None
    assert 0 < int(solution.floored.sum()) < 100
    torch.testing.assert_close(least[solution.floored], torch.full_like(least[solution.floored], 0.2))
    # The gradient is that of these Jacobians: (I − Jᵀ) u = g.
    gradient = gradient_of_features(solution, x)
    assert gradient.isfinite().all()


def gradient_of_features(solution: Solution, x: Tensor) -> Tensor:
    """Of the weights, which all samples share; its size is bounded by the floor."""
    weight = layer("amplitude").weight
    return torch.autograd.grad(solution.value.sum() / len(x), weight)[0]
