"""What every backend is: a recipe that turns a circuit into a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Solver


class Backend(BaseModel, ABC):
    """Where circuits are evaluated. A subclass adds `kind: Literal["name"] = "name"` and its own options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(default="", description="One line about the backend, shown in listings.")

    @property
    @abstractmethod
    def exact(self) -> bool:
        """Whether values are expectation values without shot noise, so that they repeat and can be differentiated."""

    @property
    @abstractmethod
    def noisy(self) -> bool:
        """Whether gates or readouts err."""

    @abstractmethod
    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> nn.Module:
        """A layer from features, (B, d), to outputs, (B, K), that is `Bindable`.

        Args:
            qnn: the circuit.
            weight: its weights, (P,), to share with another layer; None for new ones.

        Raises:
            ValueError: the circuit does not fit on the backend.
        """

    @abstractmethod
    def default_solver(self) -> Solver:
        """The solver that suits the backend."""

    @abstractmethod
    def describe(self) -> str:
        """The backend in a few words, for tables and reports."""
