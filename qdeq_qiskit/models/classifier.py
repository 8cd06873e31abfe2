"""The QDEQ image classifier: features x, equilibrium w* = q(R w* + x) of a quantum circuit, linear head.

The model of arXiv 2410.23940, its parts named as there.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from qdeq_qiskit.backends.engines import torch_device_and_dtype
from qdeq_qiskit.backends.kinds import Backend
from qdeq_qiskit.backends.kinds.exact import ExactBackend
from qdeq_qiskit.backends.solver_choice import SolverChoice
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Equilibrium, nearest_lift
from qdeq_qiskit.models.classical_map import INITIAL_BOUND, ClassicalLayer
from qdeq_qiskit.models.equilibrium_model import EquilibriumModel
from qdeq_qiskit.models.recipe import ClassifierRecipe, ModelRecipe
from qdeq_qiskit.recipes import nearest


@final
class QDEQClassifier(EquilibriumModel):
    """Images → features x → equilibrium z* = R w* → dropout → ReLU → linear head → logits.

    Args:
        circuit: the circuit q; its outputs are the reduced state w, n = number of observables. In coherent mode its
            ansatz is repeated; with `model.map` classical, a map with as many weights takes its place.
        backend: where the circuit is evaluated.
        num_classes: number of logits.
        model: everything else; its defaults are the paper's.
        seed: of the initial weights, uniform in (−π, π) (of a classical map, ±√3), and of the head; None for torch's
            current generator.

    Raises:
        ValueError: a part does not fit; the message says which.
    """

    def __init__(
        self,
        circuit: QNNCircuit,
        *,
        backend: Backend,
        num_classes: int,
        model: ModelRecipe | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; expected at least 2")
        self.options = model or ModelRecipe()
        self.circuit, self.backend, self.num_classes = circuit, backend, num_classes
        self.recipe: ClassifierRecipe | None = None
        layer = _layer_of(self.options, circuit, backend)
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())) if seed is None else seed)
        weight = _weight_of(layer)
        with torch.no_grad():
            bound = INITIAL_BOUND if isinstance(layer, ClassicalLayer) else math.pi
            weight.uniform_(-bound, bound, generator=generator)
        _train_only(weight, circuit, self.options.trainable)

        solver = self.options.solver.make() if self.options.solver is not None else backend.default_solver()
        test_solver = self.options.test_solver
        penalty = self.options.penalty
        self.penalty_weight = penalty.weight if penalty is not None else 0.0
        self.penalty_schedule = penalty.schedule if penalty is not None else None
        self.equilibrium = Equilibrium(
            layer,
            lift=nearest_lift(circuit.num_features, circuit.num_outputs).to(weight),
            solver=solver,
            test_solver=None if test_solver is None else test_solver.make(),
            adjoint=self.options.adjoint.make(),
            penalty=penalty.make() if penalty is not None and penalty.weight > 0 else None,
            mode=self.options.mode,
            layers=self.options.layers if self.options.mode == "direct" else 1,
            warmup_steps=self.options.warmup_steps,
            warmup_layers=self.options.warmup_layers,
            on_failure="record",
        )
        self.dropout = nn.Dropout(self.options.dropout)
        self.head = _seeded_linear(circuit.num_features, num_classes, generator).to(weight)

    @classmethod
    def from_recipe(cls, recipe: ClassifierRecipe, *, seed: int | None = None) -> Self:
        """Build a classifier from a recipe; only such a one can be saved, with the solver that ran written out."""
        classifier = cls(
            recipe.circuit.build(),
            backend=recipe.backend,
            num_classes=len(recipe.class_names),
            model=recipe.model,
            seed=seed,
        )
        if recipe.model.solver is None and recipe.model.mode == "implicit":
            choice = SolverChoice.of(classifier.equilibrium.solver)
            recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"solver": choice})})
        classifier.recipe = recipe
        return classifier

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Mask the gradients again: a copy or a pickle of a tensor leaves its hooks behind."""
        super().__setstate__(state)
        _train_only(self.weight, self.circuit, self.options.trainable)

    @property
    def weight(self) -> Tensor:
        """The weights θ of the circuit, or of the classical map in its place, (P,)."""
        return _weight_of(self.equilibrium.layer)

    def describe(self) -> str:
        """Where the map is evaluated, in a few words."""
        if self.options.map == "quantum":
            return self.backend.describe()
        precision = "double" if self.weight.dtype == torch.float64 else "single"
        return f"a classical map on {self.weight.device}, {precision} precision"

    def features(self, images: Tensor) -> Tensor:
        """Features x of images, (B, d), on the model's device and in its precision.

        Args:
            images: (B, height, width), pixels in 0 … 1, or unsigned bytes, which are divided by 255.

        Raises:
            ValueError: images of another size than the circuit takes, or with pixels that are not finite.
        """
        features = self.options.features.of(images).to(self.head.weight)
        if features.shape[1] != self.circuit.num_features:
            height, width = images.shape[1:]
            hint = self.options.features.hint(height, width, self.circuit.num_features)
            side = self.options.features.resize
            resized = "" if side is None else f", resized to {side}×{side},"
            raise ValueError(
                f"images of {height}×{width} pixels{resized} give {features.shape[1]} features, but the circuit takes "
                f"{self.circuit.num_features}; change model.features.pool{hint} or the circuit"
            )
        if not torch.isfinite(features).all():
            bad = (~torch.isfinite(features).all(dim=1)).nonzero().flatten()
            raise ValueError(f"{len(bad)} images have NaN or infinite pixels, the first is image {int(bad[0])}")
        return features

    def on_backend(self, backend: Backend) -> QDEQClassifier:
        """The same weights, copied, on another backend.

        Between exact backends the solvers stay; towards a sampled one, that backend's own default takes over.
        """
        if self.recipe is not None:
            other = QDEQClassifier.from_recipe(self.recipe.on_backend(backend), seed=0)
        else:
            model = self.options.on_backend(self.backend, backend)
            other = QDEQClassifier(self.circuit, backend=backend, num_classes=self.num_classes, model=model, seed=0)
        other.load_tensors(self.tensors())
        return other.train(self.training)

    def _read(self, state: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.dropout(state)))
        return logits

    def _learned(self) -> dict[str, Tensor]:
        name = "circuit.weight" if self.options.map == "quantum" else "map.weight"
        return {name: self.weight, "head.weight": self.head.weight, "head.bias": self.head.bias}

    def save(self, directory: str | Path) -> None:
        """Write `model.safetensors` and `model.yaml` into a folder; see `models.storage`."""
        from qdeq_qiskit.models.storage import save_classifier

        save_classifier(self, Path(directory))

    @classmethod
    def load(cls, directory: str | Path, *, backend: Backend | None = None) -> QDEQClassifier:
        """Read a classifier back, on the backend that it was saved with or on another; no code is executed."""
        from qdeq_qiskit.models.storage import load_classifier

        return load_classifier(Path(directory), backend=backend)


def _layer_of(model: ModelRecipe, circuit: QNNCircuit, backend: Backend) -> nn.Module:
    """The layer q: the circuit on the backend, or the control in its place."""
    model.check_backend(backend)
    if model.map == "quantum":
        return backend.layer(model.circuit(circuit))
    assert isinstance(backend, ExactBackend)
    device, dtype = torch_device_and_dtype(backend.device, backend.precision)
    return ClassicalLayer(circuit.num_features, circuit.num_outputs, circuit.num_weights, device=device, dtype=dtype)


def _weight_of(layer: Any) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _train_only(weight: Tensor, circuit: QNNCircuit, group: str) -> None:
    """Let only one group of weights learn: the gradients of the others are masked."""
    if group == "all":
        return
    groups = circuit.weight_groups
    if group not in groups:
        valid = ["all", *groups]
        close = nearest(group, valid)
        hint = f"did you mean {close!r}? " if close else ""
        raise ValueError(f"trainable is {group!r}; {hint}this circuit has {', '.join(valid)}")
    mask = torch.zeros_like(weight, requires_grad=False)
    mask[list(groups[group])] = 1
    weight.register_hook(lambda gradient: gradient * mask.to(gradient.device))


def _seeded_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with torch's usual initial distribution, drawn from a generator of our own."""
    linear = nn.Linear(inputs, outputs)
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        linear.weight.uniform_(-bound, bound, generator=generator)
        linear.bias.uniform_(-bound, bound, generator=generator)
    return linear
