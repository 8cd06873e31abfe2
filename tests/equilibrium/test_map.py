"""Maps: Jacobians and vector-Jacobian products by autograd."""

import torch
from equilibrium_maps import case
from torch import Tensor

from qdeq_qiskit.equilibrium import FunctionMap


def test_a_jacobian_is_autograds_own_sample_by_sample() -> None:
    problem = case("tanh")
    w = torch.randn(3, 3, dtype=torch.float64)
    value, jacobian = FunctionMap(problem.layer, (problem.x,), batched=1).value_and_jacobian(w)
    torch.testing.assert_close(value, problem.layer(w, problem.x))
    for b in range(3):
        expected = torch.autograd.functional.jacobian(
            lambda u, b=b: problem.layer(u.unsqueeze(0), problem.x[b : b + 1])[0], w[b]
        )
        torch.testing.assert_close(jacobian[b], expected)


def test_jacobians_are_recorded_only_where_grad_mode_is_on() -> None:
    problem = case("tanh")
    fixed_point_map = FunctionMap(problem.layer, (problem.x,), batched=1)
    w = torch.zeros(3, 3).double()
    assert all(tensor.requires_grad for tensor in fixed_point_map.value_and_jacobian(w))
    with torch.no_grad():
        assert not any(tensor.requires_grad for tensor in fixed_point_map.value_and_jacobian(w))


def test_the_jacobian_of_a_map_that_ignores_the_state_is_zero() -> None:
    x = torch.randn(4, 2)
    for function in (lambda w, x: x, lambda w, x: torch.stack((w[:, 1], x[:, 0]), dim=1)):
        value, jacobian = FunctionMap(function, (x,), batched=1).value_and_jacobian(torch.ones(4, 2))
        assert value.shape == (4, 2)
        assert jacobian.shape == (4, 2, 2)
    assert jacobian[0].tolist() == [[0, 1], [0, 0]]


def test_a_vjp_is_autograds_at_fixed_state() -> None:
    problem = case("tanh")
    x = problem.x.clone().requires_grad_()
    matrix = problem.layer.matrix.detach()

    def function(w: Tensor, x: Tensor, matrix: Tensor, weight: Tensor) -> Tensor:
        return torch.tanh(w @ matrix.T + x[:, :3] * weight)

    weight = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
    w, cotangent = torch.randn(3, 3).double().requires_grad_(), torch.randn(3, 3).double()
    of_x, of_matrix, of_weight = FunctionMap(function, (x, matrix, weight), batched=1).vjp(w, cotangent)
    expected = torch.autograd.grad(function(w.detach(), x, matrix, weight), (x, weight), cotangent)
    assert of_matrix is None
    torch.testing.assert_close((of_x, of_weight), expected)


def test_select_takes_rows_of_the_batched_inputs_only() -> None:
    x, weight = torch.arange(6.0).view(3, 2), torch.tensor([1.0, 2.0])
    chosen = FunctionMap(lambda w, x, weight: x * weight + w, (x, weight), batched=1).select(torch.tensor([2, 0]))
    assert chosen.value(torch.zeros(2, 2)).tolist() == [[4.0, 10.0], [0.0, 2.0]]
    assert chosen.inputs[1] is weight


def test_a_map_that_is_exact_measures_without_error_and_steers_by_its_jacobian() -> None:
    problem = case("tanh")
    fixed_point_map = FunctionMap(problem.layer, (problem.x,), batched=1).frozen()
    w = torch.randn(3, 3, dtype=torch.float64)
    value, covariance = fixed_point_map.measure(w, shots=10)
    assert torch.equal(value, problem.layer(w, problem.x))
    assert torch.equal(covariance, torch.zeros(3, 3, 3, dtype=torch.float64))
    assert not fixed_point_map.is_sampled
    assert fixed_point_map.steers_exactly
    assert torch.equal(fixed_point_map.value_and_steering(w)[1], fixed_point_map.value_and_jacobian(w)[1])
