r"""The fast exact engine: gates fused into blocks of four wires, one adjoint pass for all weights.

Within a block, :math:`B = T\, U_L \cdots U_1` with layers :math:`U_l = \prod_j e^{-iφ_j H_j / 2} F_l` of commuting
rotations and prefix products :math:`V_l = U_l \cdots U_1`. With Λ the cotangent of B and X = Λ†B,

.. math:: \partial L / \partial φ_j = \tfrac12 \operatorname{Im} \langle V_l X^†, H_j V_l \rangle ,

V_l that of its layer, so all weights of all blocks cost one batched matrix product.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.engines.blocks import MOST_TERMS, Block, cut_into_blocks, layers
from qdeq_qiskit.backends.engines.engine import Engine
from qdeq_qiskit.backends.engines.reached import ReachedColumns
from qdeq_qiskit.backends.evolution import complex_dtype
from qdeq_qiskit.backends.program import GateProgram

# Blocks of 4 wires were the fastest at 10 qubits (3 is similar, 5 and 6 slower).
BLOCK_WIDTH = 4


class _Forward(NamedTuple):
    """What the backward pass reuses: prefix products, block matrices, and the columns that enter each block."""

    prefixes: Tensor  # (rows, D, D), in the scan's order
    matrices: Tensor  # (blocks, D, D)
    acting: list[Tensor]  # what acts of each matrix
    entering: list[Tensor]  # per block, (inputs, rest)


class TorchEngine(Engine):
    """Columns of W(φ) in torch, on any device.

    Attributes:
        block_wires: the wires of each of the `factors`, the first one most significant.
    """

    name: ClassVar[str] = "torch"

    def __init__(self, program: GateProgram, *, num_columns: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(program, num_columns=num_columns, device=device, dtype=dtype)
        widest = max((len(operation.wires) for operation in program.operations), default=1)
        width = min(program.num_qubits, max(widest, BLOCK_WIDTH))
        blocks = _covering(cut_into_blocks(program, width), program.num_qubits, width)
        self.block_wires = [block.wires for block in blocks]
        self._layout = _Layout(program.num_qubits, self.block_wires)
        self._reached = ReachedColumns(program.num_qubits, num_columns, self.block_wires)
        self._build_constants(blocks, 2**width)

    def evaluate(self, angles: Tensor) -> tuple[Tensor, _Forward]:
        prefixes, matrices = self._block_products(angles)
        acting = [self._reached.acting(index, matrix) for index, matrix in enumerate(matrices.unbind())]
        entering = [self._reached.start(matrices)]
        for index, part in enumerate(acting):
            entering.append(self._reached.advance(index, part @ entering[index]))
        return entering.pop(), _Forward(prefixes, matrices, acting, entering)

    def pullback(self, angles: Tensor, kept: _Forward, cotangent: Tensor) -> Tensor:
        gradients = torch.zeros_like(kept.matrices)
        current = cotangent
        for index in range(len(kept.acting) - 1, self._first_block - 1, -1):
            current = self._reached.retreat(index, current)
            if self._slots_of_block[index]:
                gradients[index] = self._reached.whole(index, current @ kept.entering[index].mH)
            if index > self._first_block:
                current = kept.acting[index].mH @ current
        return self._slot_gradients(kept.prefixes, torch.matmul(kept.matrices.mH, gradients))

    def derivatives(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        columns, kept = self.evaluate(angles)
        shape = (self.program.num_slots, *columns.shape)
        result = columns.new_zeros(shape)
        generated = self._generated(kept.prefixes)
        for index, slots in enumerate(self._slots_of_block):
            if not slots:
                continue
            v = kept.prefixes[self._place[slots]]
            # ∂B/∂φ_j = B V_j† (−i H_j/2) V_j
            moved = kept.matrices[index] @ (v.mH @ (-0.5j * generated[slots]))
            parts = [self._reached.acting(index, derivative) for derivative in moved.unbind()]
            tangents = [self._reached.advance(index, part @ kept.entering[index]) for part in parts]
            for later in range(index + 1, len(kept.matrices)):
                tangents = [self._reached.advance(later, kept.acting[later] @ tangent) for tangent in tangents]
            result[slots] = torch.stack(tangents)
        return columns, result

    @property
    def column_multiplications(self) -> int:
        return self._reached.multiplications

    @property
    def factor_rows(self) -> int:
        return self._scan.blocks * self._scan.size

    def factors(self, angles: Tensor) -> Tensor:
        """The blocks' matrices, (blocks, D, D): to apply them costs blocks·D·2ⁿ a state, not 4ⁿ."""
        factors: Tensor = _Factors.apply(angles, self)
        return factors

    def apply(self, factors: Tensor, states: Tensor) -> Tensor:
        current = self._layout.enter_first(states)
        for index, factor in enumerate(factors.unbind()):
            current = self._layout.advance(index, factor @ current)
        return current.reshape(states.shape)

    def apply_adjoint(self, factors: Tensor, states: Tensor) -> Tensor:
        current = states
        for index in range(len(factors) - 1, -1, -1):
            current = factors[index].mH @ self._layout.retreat(index, current)
        return self._layout.leave_first(current).reshape(states.shape)

    def _build_constants(self, blocks: list[Block], size: int) -> None:
        """Tables of all blocks' layers, padded with identities so that every block has as many."""
        parts = [layers(block) for block in blocks]
        self._slots_of_block = [[slot for layer in some for slot in layer.slots] for some, _ in parts]
        # No gradient is wanted of what comes before.
        self._first_block = next((index for index, slots in enumerate(self._slots_of_block) if slots), len(blocks))
        self._scan = _Scan(max(1, *(len(some) for some, _ in parts)), len(blocks), size)
        slots, rows = self.program.num_slots, self._scan.rows
        terms = torch.zeros(rows, MOST_TERMS, size, size, dtype=torch.complex128)
        terms[:, 0] = torch.eye(size)
        read = torch.zeros(2, rows, MOST_TERMS, dtype=torch.long)
        place = torch.zeros(slots, dtype=torch.long)
        source = torch.zeros(slots, size, dtype=torch.long)
        factor = torch.zeros(slots, size, 1, dtype=torch.complex128)
        start = {"cos": 1, "sin": 1 + slots}
        for index, (some, _) in enumerate(parts):
            for level, layer in enumerate(some):
                row = self._scan.row(level, index)
                for term, (weights, matrix) in enumerate(layer.terms):
                    terms[row, term] = torch.as_tensor(matrix)
                    for which, (slot, function) in enumerate(weights.items()):
                        read[which, row, term] = start[function] + slot
                for slot, h in zip(layer.slots, layer.generators, strict=True):
                    # A row of H has one entry, or none, so H V is rows of V with factors.
                    assert np.count_nonzero(h, axis=1).max() == 1
                    entry = torch.as_tensor(np.abs(h).argmax(axis=1))
                    place[slot], source[slot] = row, row * size + entry
                    factor[slot] = torch.as_tensor(h + 0j).gather(1, entry.unsqueeze(1))
        dtype = complex_dtype(self.dtype)
        # Real weights, products of 1, cos φ/2 and sin φ/2, multiply real and imaginary parts alike.
        self._terms = torch.view_as_real(terms.to(self.device, dtype)).reshape(rows, MOST_TERMS, -1)
        self._factor = factor.to(self.device, dtype)
        self._read, self._place, self._source = (
            table.to(self.device) for table in (read.flatten(), place, source.flatten())
        )
        self._one = torch.ones(1, dtype=self.dtype, device=self.device)
        trailing = torch.stack([torch.as_tensor(t) for _, t in parts])
        is_identity = torch.equal(trailing, torch.eye(size, dtype=trailing.dtype).expand_as(trailing))
        self._trailing = None if is_identity else trailing.to(self.device, dtype)

    def _block_products(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Prefix products in the scan's rows, (rows, D, D), and block matrices, (blocks, D, D)."""
        half = angles.to(self.dtype) / 2
        table = torch.cat((self._one, half.cos(), half.sin())).index_select(0, self._read)
        weights = table.view(2, len(self._terms), 1, MOST_TERMS).prod(0)
        gates = torch.view_as_complex(torch.bmm(weights, self._terms).view(len(self._terms), -1, 2))
        prefixes, products = self._scan(gates)
        return prefixes, products if self._trailing is None else torch.bmm(self._trailing, products)

    def _generated(self, prefixes: Tensor) -> Tensor:
        """H_j V_j for every slot, (G, D, D)."""
        rows = prefixes.flatten(0, 1).index_select(0, self._source)
        return rows.view(*self._factor.shape[:2], prefixes.shape[-1]) * self._factor

    def _slot_gradients(self, prefixes: Tensor, x_adjoint: Tensor) -> Tensor:
        """½ Im⟨V_j X†, H_j V_j⟩ for every slot, (G,); `x_adjoint` is X† = B†Λ of each block, (blocks, D, D)."""
        products = torch.bmm(prefixes.view(len(x_adjoint), -1, x_adjoint.shape[-1]), x_adjoint)
        left = products.view_as(prefixes).index_select(0, self._place)
        right = self._generated(prefixes)
        return 0.5 * torch.linalg.vecdot(left.flatten(1), right.flatten(1)).imag


def _covering(blocks: list[Block], num_qubits: int, width: int) -> list[Block]:
    """The blocks and, for wires that none of them acts on, blocks of nothing; one at the least."""
    idle = [wire for wire in range(num_qubits) if not any(wire in block.wires for block in blocks)]
    others = [wire for wire in range(num_qubits) if wire not in idle]
    found = list(blocks)
    while idle:
        some, idle = idle[:width], idle[width:]
        found.append(Block((*some, *others[: width - len(some)]), ()))
        others = [*some, *others]
    return found


class _Factors(torch.autograd.Function):
    """The blocks' matrices with the gradient of all weights as one product; second derivatives by autograd."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, engine: TorchEngine) -> Tensor:
        prefixes, matrices = engine._block_products(angles.detach())
        ctx.engine = engine
        ctx.save_for_backward(angles, prefixes)
        return matrices.clone()  # they may be a view of the prefixes

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        angles, prefixes = ctx.saved_tensors
        if not ctx.engine.program.num_slots:
            return torch.zeros_like(angles), None
        if torch.is_grad_enabled():
            matrices = ctx.engine._block_products(angles)[1]
            (gradient,) = torch.autograd.grad(matrices, angles, cotangents[0], create_graph=True)
            return gradient, None
        last = ctx.engine._scan.last(prefixes)
        if ctx.engine._trailing is not None:
            last = torch.bmm(ctx.engine._trailing, last)
        return ctx.engine._slot_gradients(prefixes, torch.matmul(last.mH, cotangents[0])), None


class _Scan:
    """Prefix products V_l = U_l ⋯ U_1 of every block in about 2√L batched products instead of L.

    The L factors of a block form groups; the products within all groups advance step by step together, then each
    group is multiplied by what comes before it. Factors stand in rows: row (block, group, step).
    """

    def __init__(self, length: int, blocks: int, size: int) -> None:
        self.steps = max(1, math.isqrt(length))
        self.groups = -(-length // self.steps)
        self.blocks = blocks
        self.size = size

    @property
    def rows(self) -> int:
        """All factors, padding included."""
        return self.blocks * self.groups * self.steps

    def row(self, level: int, block: int) -> int:
        """Where a factor of a block stands."""
        return block * self.groups * self.steps + level

    def __call__(self, factors: Tensor) -> tuple[Tensor, Tensor]:
        """All prefix products, (rows, D, D), and the last one of every block, (blocks, D, D)."""
        size = self.size
        steps = factors.view(-1, self.steps, size, size).unbind(1)
        within = [steps[0]]
        for step in steps[1:]:
            within.append(torch.bmm(step, within[-1]))
        products = torch.stack(within, dim=1)
        if self.groups > 1:
            *totals, _ = within[-1].view(self.blocks, self.groups, size, size).unbind(1)
            carried = [torch.eye(size, dtype=factors.dtype, device=factors.device).expand_as(totals[0]), totals[0]]
            for total in totals[1:]:
                carried.append(torch.bmm(total, carried[-1]))
            before = torch.stack(carried, dim=1).view(-1, size, size)
            products = torch.bmm(products.view(len(before), -1, size), before)
        prefixes = products.reshape(-1, size, size)
        return prefixes, self.last(prefixes)

    def last(self, prefixes: Tensor) -> Tensor:
        """The last prefix product of every block, (blocks, D, D), of all, (rows, D, D)."""
        return prefixes.view(self.blocks, -1, self.size, self.size)[:, -1]


class _Layout:
    """How the columns' axes are permuted between blocks: the wires of the next block in front, one permutation each."""

    def __init__(self, num_qubits: int, wires: list[tuple[int, ...]]) -> None:
        standard = tuple(range(num_qubits))
        orders = [(*chosen, *(wire for wire in standard if wire not in chosen)) for chosen in wires]
        self._qubits = num_qubits
        self._front = 2 ** len(wires[0])
        self._first = _permutation(standard, orders[0])
        self._forward = [_permutation(a, b) for a, b in zip(orders, [*orders[1:], standard], strict=True)]
        self._backward = [_inverse(permutation) for permutation in self._forward]

    def enter_first(self, columns: Tensor) -> Tensor:
        """(2ⁿ, ...) in wire order → (D, 2ⁿ d / D) as the first block wants it."""
        return self._permute(self._first, columns)

    def leave_first(self, columns: Tensor) -> Tensor:
        """The inverse of `enter_first`."""
        return self._permute(_inverse(self._first), columns)

    def advance(self, index: int, columns: Tensor) -> Tensor:
        """From the order of block `index` to the next block's, or to wire order after the last."""
        return self._permute(self._forward[index], columns)

    def retreat(self, index: int, columns: Tensor) -> Tensor:
        """The inverse of `advance`."""
        return self._permute(self._backward[index], columns)

    def _permute(self, permutation: tuple[int, ...] | None, columns: Tensor) -> Tensor:
        rest = columns.numel() // 2**self._qubits
        if permutation is not None:
            columns = columns.reshape((2,) * self._qubits + (rest,)).permute(*permutation, len(permutation))
        return columns.reshape(self._front, 2**self._qubits // self._front * rest)


def _permutation(current: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if current == wanted else tuple(current.index(wire) for wire in wanted)


def _inverse(permutation: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if permutation is None else tuple(sorted(range(len(permutation)), key=permutation.__getitem__))
