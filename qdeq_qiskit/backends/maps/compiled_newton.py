# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Newton's method on a reduced quadratic map as one compiled loop; needs numba.

The steps are those of `Newton`, the forms those of `ReducedQuadraticMap`, and so the answers are the same to rounding.
Sixteen samples go side by side, the last axis of every array here, so that each instruction works on all of them.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numba import njit
from torch import Tensor

from qdeq_qiskit.equilibrium import Newton, Root
from qdeq_qiskit.equilibrium._root import MOST_ITERATIONS, converged_root

LANES = 16


def _compiled(function):
    """The function as machine code, kept on disk for the next process where there is a folder to write to."""
    compiled = partial(njit, error_model="numpy", fastmath={"contract"})
    try:
        return compiled(cache=True)(function)
    except RuntimeError:  # neither this folder, nor the user's cache, nor NUMBA_CACHE_DIR
        return compiled(function)


def newton_root(gram: Tensor, samples: Tensor, start: Tensor, solver: Newton, *, keep_jacobian: bool) -> Root | None:
    """What Newton's first attempt finds; None if not every sample converges soon.

    Args:
        gram: as that of `ReducedQuadraticMap`, ((K+1) n, n) with K = n, on the CPU.
        samples: likewise, ((K+1)(n+1) + n, B).
        start: the first iterate, (B, n), with B at least 1.
        solver: its options.
        keep_jacobian: whether `Root.jacobian` is wanted.
    """
    batch, states = start.shape
    w = start.clone(memory_format=torch.contiguous_format)
    residual, relative, jacobian = w.new_empty(2 * batch + batch * states**2).split((batch, batch, batch * states**2))
    jacobian = jacobian.view(batch, states, states)
    evaluations = torch.empty(batch, dtype=torch.int64)
    number = w.numpy().dtype.type
    converged = newton(
        gram.numpy(),
        samples.numpy(),
        number(solver.pseudo_steps[0]),
        solver.picard_steps,
        number(solver.tolerance),
        min(solver.max_iterations, MOST_ITERATIONS),
        number(torch.finfo(w.dtype).tiny ** 0.5),
        *(part.numpy() for part in (w, residual, relative, jacobian, evaluations)),
    )
    if not converged:
        return None
    kept = jacobian if keep_jacobian else None
    return converged_root(w, residual, relative, evaluations, jacobian=kept, picard_steps=solver.picard_steps)


@_compiled
def newton(gram, samples, delta, picard_steps, tolerance, most, tiny, w, residual, relative, jacobian, evaluations):
    """Whether all samples converged; if so, the last five arguments are filled in.

    Args:
        gram: see `newton_root`.
        samples: likewise.
        delta: δ₀ of the first attempt.
        picard_steps: steps w ← f(w) before Newton's own.
        tolerance: on the relative residual.
        most: most steps.
        tiny: what is added to ‖f(w)‖.
        w: the start, then the fixed points, (B, n).
        residual: (B,).
        relative: (B,).
        jacobian: ∂f/∂w, (B, n, n).
        evaluations: of each sample, (B,).
    """
    batch, n = w.shape
    table = np.empty((samples.shape[0], LANES), gram.dtype)
    at, u, step = np.empty((3, n, LANES), gram.dtype)
    slopes = np.empty((len(gram), LANES), gram.dtype)
    forms = np.empty((len(gram) // n, LANES), gram.dtype)
    slope, system = np.empty((2, n, n, LANES), gram.dtype)
    length, share = np.empty((2, LANES), gram.dtype)
    one = gram.dtype.type(1)  # a plain 1 would make doubles of singles
    for first in range(0, batch, LANES):
        count = min(LANES, batch - first)
        for row in range(len(table)):
            for lane in range(LANES):  # the last block is filled up with copies of the last sample
                table[row, lane] = samples[row, first + min(lane, count - 1)]
        for row in range(n):
            for lane in range(LANES):
                at[row, lane] = w[first + min(lane, count - 1), row]
        evaluations[first : first + count] = 1
        for iteration in range(most + 1):
            _evaluate(gram, table, at, u, slopes, forms)
            _measure(forms, at, tiny, step, length, share)
            if iteration >= picard_steps:
                _differentiate(slopes, forms, slope)
            converged = 0
            for lane in range(LANES):
                converged += share[lane] <= tolerance
            if converged == LANES:
                break
            if iteration == most:
                return False
            for lane in range(count):
                evaluations[first + lane] += share[lane] > tolerance
            if iteration >= picard_steps:
                for row in range(n):
                    for column in range(n):
                        for lane in range(LANES):
                            system[row, column, lane] = -slope[row, column, lane]
                    for lane in range(LANES):
                        system[row, row, lane] += one + share[lane] / delta
                _solve(system, step)
            for row in range(n):
                for lane in range(LANES):
                    at[row, lane] = at[row, lane] + step[row, lane] if share[lane] > tolerance else at[row, lane]
        if iteration < picard_steps:
            return False  # there is no Jacobian
        for lane in range(count):
            w[first + lane] = at[:, lane]
            residual[first + lane], relative[first + lane] = length[lane], share[lane]
            jacobian[first + lane] = slope[:, :, lane]
    return True


@_compiled
def _evaluate(gram, table, at, u, slopes, forms):
    """∂/∂w of the forms, ((K+1) n, LANES), and f(w) with the norm as last entry, (K+1, LANES)."""
    rows, n = gram.shape
    kinds = rows // n
    half = gram.dtype.type(0.5)
    for entry in range(n):
        for lane in range(LANES):
            u[entry, lane] = at[entry, lane] + table[rows + kinds + entry, lane]
    forms[:] = 0
    for row in range(rows):
        kind, entry = row // n, row % n
        for lane in range(LANES):
            slopes[row, lane] = table[row, lane]
        for column in range(n):
            for lane in range(LANES):
                slopes[row, lane] += gram[row, column] * u[column, lane]
        for lane in range(LANES):
            forms[kind, lane] += (slopes[row, lane] + table[row, lane]) * u[entry, lane]
    for kind in range(kinds):
        for lane in range(LANES):
            forms[kind, lane] = table[rows + kind, lane] + half * forms[kind, lane]
    for kind in range(kinds - 1):
        for lane in range(LANES):
            forms[kind, lane] /= forms[-1, lane]


@_compiled
def _measure(forms, at, tiny, step, length, share):
    """f(w) − w, (n, LANES), its norm and that divided by ‖f(w)‖, (LANES,)."""
    size = np.zeros_like(length)
    length[:] = 0
    for entry in range(len(at)):
        for lane in range(LANES):
            value = forms[entry, lane]
            step[entry, lane] = value - at[entry, lane]
            length[lane] += step[entry, lane] * step[entry, lane]
            size[lane] += value * value
    for lane in range(LANES):
        length[lane] = np.sqrt(length[lane])
        share[lane] = length[lane] / (np.sqrt(size[lane]) + tiny)


@_compiled
def _differentiate(slopes, forms, slope):
    """∂f/∂w, (n, n, LANES)."""
    n = len(slope)
    for row in range(n):
        for column in range(n):
            for lane in range(LANES):
                of_norm = slopes[n * n + column, lane]
                slope[row, column, lane] = (slopes[row * n + column, lane] - forms[row, lane] * of_norm) / forms[
                    -1, lane
                ]


@_compiled
def _solve(system, right):
    """Solves system · x = right in place, (n, n, LANES) and (n, LANES), with partial pivoting in every lane."""
    n = len(right)
    for pivot in range(n):
        for row in range(pivot + 1, n):
            _put_larger_first(system[pivot], system[row], right[pivot], right[row], pivot)
        for row in range(pivot + 1, n):
            for lane in range(LANES):
                system[row, pivot, lane] /= system[pivot, pivot, lane]
            for column in range(pivot + 1, n):
                for lane in range(LANES):
                    system[row, column, lane] -= system[row, pivot, lane] * system[pivot, column, lane]
            for lane in range(LANES):
                right[row, lane] -= system[row, pivot, lane] * right[pivot, lane]
    for row in range(n - 1, -1, -1):
        for column in range(row + 1, n):
            for lane in range(LANES):
                right[row, lane] -= system[row, column, lane] * right[column, lane]
        for lane in range(LANES):
            right[row, lane] /= system[row, row, lane]


@_compiled
def _put_larger_first(first, second, right_first, right_second, pivot):
    """Swaps two rows of a system, (n, LANES), and of its right side in the lanes whose second pivot is the larger."""
    for lane in range(LANES):
        one, other = right_first[lane], right_second[lane]
        swaps = abs(second[pivot, lane]) > abs(first[pivot, lane])
        right_first[lane], right_second[lane] = (other, one) if swaps else (one, other)
    for column in range(len(first) - 1, pivot - 1, -1):
        for lane in range(LANES):
            one, other = first[column, lane], second[column, lane]
            swaps = abs(second[pivot, lane]) > abs(first[pivot, lane])
            first[column, lane], second[column, lane] = (other, one) if swaps else (one, other)
