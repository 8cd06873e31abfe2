"""A model of one's own parts: any equilibrium, any head."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from qdeq_qiskit.equilibrium import Equilibrium
from qdeq_qiskit.models.equilibrium_model import EquilibriumModel
from qdeq_qiskit.models.penalty_schedule import PenaltySchedule


@final
class DEQClassifier(EquilibriumModel):
    """Inputs → embedding → equilibrium z* → dropout → head → logits, of any torch modules.

    The equilibrium may be that of a circuit on a backend, of a quantum neural network of one's own, or of a classical
    layer. With a head that gives numbers instead of logits, and another loss, it is a regressor.

    Args:
        equilibrium: of the embedded inputs.
        head: from the state z* = R w*, (B, d), or (B, n) without a lift, to logits, (B, classes).
        embedding: from inputs, (B, ...), to what the equilibrium takes, trained with the rest; None where inputs are
            that already.
        dropout: the probability that an entry of the state is dropped in training.
        penalty_weight: the factor of the Jacobian penalty in the loss, where the equilibrium has a penalty.
        penalty_schedule: how that factor changes over the epochs; None for a constant one.

    Raises:
        ValueError: a part is no torch module, or a number is out of range.
    """

    def __init__(
        self,
        equilibrium: Equilibrium,
        head: nn.Module,
        *,
        embedding: nn.Module | None = None,
        dropout: float = 0.0,
        penalty_weight: float = 0.8,
        penalty_schedule: PenaltySchedule | None = None,
    ) -> None:
        super().__init__()
        _check_module("equilibrium", equilibrium, Equilibrium)
        _check_module("head", head, nn.Module)
        if embedding is not None:
            _check_module("embedding", embedding, nn.Module)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; expected a probability from 0 to less than 1")
        if not 0 <= penalty_weight < float("inf"):
            raise ValueError(f"penalty_weight is {penalty_weight}; expected 0 or a finite number greater than it")
        self.embedding = embedding
        self.equilibrium = equilibrium
        self.dropout = nn.Dropout(dropout)
        self.head = head
        self.penalty_weight = penalty_weight
        self.penalty_schedule = penalty_schedule

    def features(self, inputs: Tensor) -> Tensor:
        """Inputs, (B, ...), as `classify` takes them: finite, on the model's device and in its precision.

        Raises:
            ValueError: there are inputs that are NaN or infinite, or no real numbers at all.
        """
        if inputs.is_complex():
            raise ValueError(f"inputs are of type {inputs.dtype}; expected real numbers")
        inputs = inputs.to(self._like())
        bad = (~torch.isfinite(inputs).flatten(1).all(dim=1)).nonzero().flatten() if inputs.ndim > 1 else inputs[:0]
        if len(bad):
            raise ValueError(f"{len(bad)} inputs hold NaN or infinite values, the first is input {int(bad[0])}")
        return inputs

    def _embedded(self, features: Tensor) -> Tensor:
        return features if self.embedding is None else self.embedding(features)

    def _read(self, state: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(state))
        return logits

    def _learned(self) -> dict[str, Tensor]:
        """Parameters, and buffers such as a running mean; not how many warm-up steps there were."""
        extra = "_extra_state"
        return {name: tensor for name, tensor in self.state_dict(keep_vars=True).items() if not name.endswith(extra)}

    def _like(self) -> Tensor:
        """A tensor on the model's device and in its precision."""
        known = [self.equilibrium.lift, *self.parameters()]
        return next((each for each in known if each is not None and each.is_floating_point()), torch.zeros(()))


def _check_module(name: str, value: object, wanted: type[nn.Module]) -> None:
    if not isinstance(value, wanted):
        raise ValueError(f"{name} must be of type {wanted.__name__}; it is {value!r}")
