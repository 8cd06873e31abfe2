"""The Lightning task: one model, its loss, its optimiser, and a row of figures for every epoch."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol, final, runtime_checkable

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from qdeq_qiskit.equilibrium import NotConvergedWarning, tell_put_off_warnings
from qdeq_qiskit.models import ClassifierOutput, PenaltySchedule
from qdeq_qiskit.training.clipping import clip_gradients, drop_gradients
from qdeq_qiskit.training.errors import TrainingError
from qdeq_qiskit.training.processes.gathering import of_all_processes
from qdeq_qiskit.training.recipe import OptimisationRecipe
from qdeq_qiskit.training.schedules import WATCHED, schedulers
from qdeq_qiskit.training.tally import RadiusTally, Tally

Batch = tuple[Tensor, Tensor]
Slice = tuple[Tensor, Tensor, float]
"""One process's part of a batch; see `processes.share.SharedBatches`."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits, (B, classes), and labels, (B,), to a scalar."""


class Trainable(Protocol):
    """What a model must have to be trained: a torch module with these methods, such as those of `models`.

    Attributes:
        penalty_weight: the factor of the Jacobian penalty in the loss.
    """

    penalty_weight: float

    def features(self, inputs: Tensor) -> Tensor:
        """Inputs as `classify` takes them: what is done once, before training."""

    def classify(self, features: Tensor) -> ClassifierOutput:
        """Logits, and the equilibrium that they were read from."""

    def restart_shots(self, stream: int) -> None:
        """Let shots from here on be those of `stream`."""

    def tensors(self) -> dict[str, Tensor]:
        """What is learned, by name."""

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what was learned."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As every torch module has them."""

    def train(self, mode: bool = True) -> Any:
        """As every torch module does."""

    def eval(self) -> Any:
        """As every torch module does."""

    def to(self, device: torch.device) -> Any:
        """As every torch module does."""


@runtime_checkable
class PenaltyScheduled(Protocol):
    """A model that changes the weight of its Jacobian penalty over the epochs.

    Attributes:
        penalty_schedule: how; None for not at all.
    """

    penalty_schedule: PenaltySchedule | None


@final
class ClassifierTask(pl.LightningModule):
    """Cross entropy, or another loss, plus the weighted Jacobian penalty, and what minimises it.

    Figures are kept per epoch in `history` and logged once an epoch: a log entry a step would cost as much as the
    step itself.

    Args:
        classifier: what is trained, in place.
        optimisation: batch size aside, how.
        loss: of logits and labels; None for cross entropy.
    """

    def __init__(
        self,
        classifier: Trainable,
        optimisation: OptimisationRecipe,
        loss: Loss | None = None,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.optimisation = optimisation
        self.loss = loss or torch.nn.functional.cross_entropy
        self.history: list[dict[str, Any]] = []
        self.circuits = 0
        self.shots = 0
        self.tally = Tally()
        self._validation = Tally()
        self._radius = RadiusTally()
        self._validated: dict[str, Any] = {}
        self._learning_rate = optimisation.learning_rate
        self._penalty_schedule = classifier.penalty_schedule if isinstance(classifier, PenaltyScheduled) else None
        self._penalty_factor = 1.0 if self._penalty_schedule is None else self._penalty_schedule.factor(0)
        self._epoch_started = 0.0
        self._train_seconds: float | None = None
        self._last_row = time.perf_counter()
        self._last_row_cpu = time.process_time()

    def training_step(self, batch: Batch | Slice, batch_idx: int) -> Tensor:
        """The loss of one batch, or of a part of it with that part's weight."""
        features, labels, *weight = batch
        output = self.classifier.classify(features)
        loss = self.loss(output.logits, labels)
        penalty = output.solution.penalty
        if penalty is not None:
            loss = loss + self._penalty_weight() * penalty
        if weight == [0.0]:  # a sample that another process counts
            self.tally.spend(output.solution)
        else:
            self.tally.add(loss, output.logits, labels, output.solution)
        return loss * weight[0] if weight else loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather one batch's figures; the loss is without the penalty."""
        features, labels = batch
        output = self.classifier.classify(features)
        loss = self.loss(output.logits, labels)
        self._validation.add(loss, output.logits, labels, output.solution)
        if self.optimisation.track_spectral_radius:
            self._radius.add(output.solution)

    def configure_optimizers(self) -> Any:
        """The optimiser, with the schedule of its learning rate where there is one."""
        options = self.optimisation
        optimiser = options.optimiser.make(self.classifier.parameters(), options.learning_rate)
        if options.schedule is None:
            return optimiser
        steps = int(self.trainer.estimated_stepping_batches) // options.epochs
        return [optimiser], schedulers(options.schedule, optimiser, epochs=options.epochs, steps_per_epoch=steps)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the joint norm of all gradients."""
        if gradient_clip_val is not None:
            clip_gradients(optimizer.param_groups[0]["params"], gradient_clip_val)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Drop the last step's gradients."""
        drop_gradients(optimizer.param_groups[0]["params"])

    def on_fit_start(self) -> None:
        """Start the clocks of the whole run."""
        self._last_row = time.perf_counter()
        self._last_row_cpu = time.process_time()

    def on_train_epoch_start(self) -> None:
        """Start counting."""
        self.tally, self._validation, self._validated, self._train_seconds = Tally(), Tally(), {}, None
        self._learning_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        if self._penalty_schedule is not None:
            self._penalty_factor = self._penalty_schedule.factor(self.current_epoch)
        self._epoch_started = time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        """Training's clock stops here."""
        self._train_seconds = time.perf_counter() - self._epoch_started
        self._validation, self._radius = Tally(), RadiusTally()

    def on_validation_epoch_end(self) -> None:
        """Publish the figure that early stopping and a schedule may watch."""
        if self.optimisation.processes > 1:
            self._validation, self._radius = self._validation.of_all_processes(), self._radius.of_all_processes()
        self._validated = self._validation.summary()
        self.log(WATCHED, self._validated["loss"])

    def on_train_epoch_end(self) -> None:
        """Close the epoch: one row of history (its `valid_` figures only where there was a validation), at most one
        warning.
        """
        if self.optimisation.processes > 1:
            self.tally = self.tally.of_all_processes()
        trained, validated = self.tally.summary(), self._validated
        tell_put_off_warnings()  # the summary has waited for the device
        if not torch.isfinite(torch.tensor(trained["loss"])):
            raise TrainingError(
                f"the loss of epoch {self.current_epoch + 1} is {trained['loss']}; a smaller "
                "optimisation.learning_rate or optimisation.gradient_clip may help"
            )
        self.circuits += self.tally.circuits + self._validation.circuits
        self.shots += self.tally.shots + self._validation.shots
        now, cpu = time.perf_counter(), time.process_time()
        tracked = bool(validated) and self.optimisation.track_spectral_radius
        row = {
            "epoch": self.current_epoch + 1,
            "step": self.global_step,
            **{f"train_{name}": trained[name] for name in _PER_EPOCH},
            **{f"valid_{name}": validated[name] for name in _PER_EPOCH if validated},
            **({f"valid_{name}": value for name, value in self._radius.summary().items()} if tracked else {}),
            "learning_rate": self._learning_rate,
            **({} if self._penalty_schedule is None else {"penalty_weight": self._penalty_weight()}),
            "train_seconds": now - self._epoch_started if self._train_seconds is None else self._train_seconds,
            "seconds": now - self._last_row,
            "cpu_seconds": self._of_all(cpu - self._last_row_cpu),
        }
        self._last_row, self._last_row_cpu = now, cpu
        self.history.append(row)
        self.log_dict({name: float(value) for name, value in row.items() if name not in ("epoch", "step")})
        if trained["unconverged"]:
            warnings.warn(
                f"epoch {self.current_epoch + 1}: {trained['unconverged']} of {trained['samples']} samples did not "
                f"converge (largest relative residual {trained['worst_residual']:.1e})",
                NotConvergedWarning,
                stacklevel=1,  # the caller is Lightning, whose own warnings are silenced
            )

    def _of_all(self, seconds: float) -> float:
        return sum(of_all_processes(seconds)) if self.optimisation.processes > 1 else seconds

    def _penalty_weight(self) -> float:
        return self._penalty_factor * self.classifier.penalty_weight

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """History and costs go with the weights."""
        checkpoint["qdeq"] = {"history": self.history, "circuits": self.circuits, "shots": self.shots}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up history and costs where the checkpoint left them."""
        kept = checkpoint["qdeq"]
        self.history, self.circuits, self.shots = kept["history"], kept["circuits"], kept["shots"]


_PER_EPOCH = ("loss", "accuracy", "residual", "iterations", "unconverged")
