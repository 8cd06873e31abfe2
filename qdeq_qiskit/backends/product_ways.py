"""The exact ways to evaluate a circuit behind a product-state encoder, and which of them a call takes."""

from __future__ import annotations

from functools import cached_property
from typing import final

import torch
from torch import Tensor

from qdeq_qiskit.backends.analysis import DENSE_LIMIT
from qdeq_qiskit.backends.cut import Cut, best_cut
from qdeq_qiskit.backends.engines import Engine, TorchEngine
from qdeq_qiskit.backends.maps import (
    BlochEncoder,
    CircleEncoder,
    CutBlock,
    EncodedBlock,
    ProductMap,
    ProductOutputs,
    WireStates,
    circle_coefficients,
    pauli_coefficients,
)
from qdeq_qiskit.backends.product_choice import FEWEST_QUBITS, Planned, ProductChoice, Way
from qdeq_qiskit.backends.product_form import ProductForm
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.equilibrium import MapCost


@final
class ProductWays:
    """Operators, states, and states up to a cut, each made when it is first taken.

    Args:
        form: the circuit.
        num_features: d.
        readout: the observables.
        engine: of the weight block.
        cost: circuits that a machine would need.
    """

    def __init__(
        self, form: ProductForm, num_features: int, *, readout: Readout, engine: Engine, cost: MapCost
    ) -> None:
        self._form, self._num_features = form, num_features
        self._readout, self._engine, self._cost = readout, engine, cost
        self._outputs: dict[Way, ProductOutputs] = {}

    @property
    def explanation(self) -> str:
        """How the circuit is evaluated, in one sentence."""
        moved, wires = self._form.parts.prefix.num_qubits, self._form.parts.suffix.num_qubits
        which = f"{wires} qubits" if moved == wires else f"{wires} qubits, {moved} of which inputs move"
        if not self._has_operators:
            return (
                f"product-state encoder on {which}: every sample's state through the fused weight block or part of it"
            )
        text = f"product-state encoder on {which}: one operator on {moved} qubits for each observable"
        if not self._has_states:
            return text
        return f"{text}, or every sample's state through the weight block or part of it where that is cheaper"

    @property
    def usual(self) -> Way:
        """The way that serves every call."""
        return "operators" if self._has_operators else "states"

    def way(self, samples: int, planned: Planned, *, gradient: bool) -> Way:
        """The cheapest way, see `ProductChoice.way`."""
        return self._choice.way(samples, planned, gradient=gradient) if self._has_states else "operators"

    def build(self, way: Way, angles: Tensor) -> Tensor:
        """What a way needs of the weight block: coefficients, factors of W, or both of its parts.

        Args:
            way: which one.
            angles: φ, (G,), of the weight block.
        """
        if way == "states":
            return self._engine.factors(angles)
        if way == "cut":
            block = self.outputs("cut")
            assert isinstance(block, CutBlock)
            return block.block(angles)
        columns = self._engine.columns(angles)
        if self._form.real:
            return circle_coefficients(self._readout.real_operators(columns))
        return pauli_coefficients(self._readout.hermitian_operators(columns))

    def map_of(self, way: Way, block: Tensor, x: Tensor, lift: Tensor) -> ProductMap:
        """The map of a batch, given what `build` gives."""
        return ProductMap(block, x, lift, self.outputs(way), self._cost)

    def outputs(self, way: Way) -> ProductOutputs:
        """What computes q and its derivatives."""
        if way not in self._outputs:
            with torch.inference_mode(False):  # what is kept must serve outside of inference mode too
                self._outputs[way] = self._make(way)
        return self._outputs[way]

    def _make(self, way: Way) -> ProductOutputs:
        encoder, device, dtype = self._form.parts.prefix, self._engine.device, self._engine.dtype
        if way == "states":
            states = WireStates(encoder, self._num_features, device=device, dtype=dtype)
            return EncodedBlock(states, self._engine, self._readout)
        if way == "cut":
            assert self._cut is not None
            states = WireStates(self._form.whole_encoder, self._num_features, device=device, dtype=dtype)
            return CutBlock(self._cut, states, self._form.observables, device=device, dtype=dtype)
        if self._form.real:
            return CircleEncoder(encoder, self._num_features)
        return BlochEncoder.of(encoder, self._num_features, device=device, dtype=dtype)

    @property
    def _has_operators(self) -> bool:
        return self._form.parts.num_columns <= DENSE_LIMIT

    @property
    def _has_states(self) -> bool:
        # Another engine has no more of W than its columns.
        moved = self._form.parts.prefix.num_qubits
        can = isinstance(self._engine, TorchEngine) or moved == self._form.parts.suffix.num_qubits
        return not self._has_operators or (can and moved >= FEWEST_QUBITS)

    @cached_property
    def _cut(self) -> Cut | None:
        if not isinstance(self._engine, TorchEngine):
            return None
        return best_cut(self._form.parts.suffix, self._form.supports)

    @cached_property
    def _choice(self) -> ProductChoice:
        parts = self._form.parts
        return ProductChoice(
            parts.prefix.num_qubits,
            self._readout.num_outputs,
            self._engine.factor_rows,
            width=parts.suffix.num_qubits,
            real=self._form.real,
            cut=self._cut,
            operators=self._has_operators,
        )
