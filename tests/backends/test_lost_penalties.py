"""Penalties that would have no gradient are not paid for where circuits are counted."""

from __future__ import annotations

import pytest
from counted_models import SAMPLES, gates_of_the_weights, of_jacobian, solved

from qdeq_qiskit.equilibrium import (
    JFB,
    Broyden,
    FullJacobianPenalty,
    HutchinsonPenalty,
    ImplicitAdjoint,
    JacobianPenalty,
    Newton,
    ReducedJacobianPenalty,
)

PENALTIES: dict[str, JacobianPenalty] = {
    "reduced": ReducedJacobianPenalty(),
    "full": FullJacobianPenalty(),
    "hutchinson": HutchinsonPenalty(probes=2),
    "hutchinson, reduced": HutchinsonPenalty(space="reduced"),
}


@pytest.mark.parametrize("encoding", ["amplitude", "angle"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("solver", ["broyden", "newton"])
def test_a_penalty_without_a_gradient_is_warned_of_and_takes_no_circuits(
    solver: str, penalty: str, encoding: str
) -> None:
    steps = {"tolerance": 0, "max_iterations": 5}
    chosen = Broyden(**steps) if solver == "broyden" else Newton(**steps, pseudo_steps=(1.0,))
    for adjoint, jacobians in ((JFB(), 0), (ImplicitAdjoint(), 1)):
        with pytest.warns(RuntimeWarning, match="penalty has no gradient"):
            solution, forward, backward = solved(encoding, solver=chosen, adjoint=adjoint, penalty=PENALTIES[penalty])
        assert solution.penalty is None
        # Newton takes one at its answer, whatever the adjoint; its first step is that of plain iteration.
        taken = 6 if solver == "newton" else jacobians
        assert solution.circuits == forward == SAMPLES * (6 + taken * of_jacobian(encoding))
        assert backward == SAMPLES * gates_of_the_weights(encoding)
