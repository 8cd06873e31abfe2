"""The QDEQ classifier as a scikit-learn estimator."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from qdeq_qiskit.equilibrium import NotConvergedWarning
from qdeq_qiskit.models import ClassifierOutput, ClassifierRecipe, QDEQClassifier
from qdeq_qiskit.sklearn.choices import chosen_backend, chosen_model, chosen_optimisation
from qdeq_qiskit.sklearn.feature_layout import FeatureLayout, lay_out

if TYPE_CHECKING:
    from qdeq_qiskit.training import OptimisationRecipe

CHUNK = 2048  # samples that are solved at a time, which bounds the memory in use


@final
class EquilibriumClassifier(ClassifierMixin, BaseEstimator):
    """A Quantum Deep Equilibrium Model (arXiv 2410.23940) for tables of features, (N, d).

    The d columns, a constant and zeros are the features x of a quantum circuit q, whose equilibrium w* = q(R w* + x)
    is found for each row and read by a linear head. Columns are best of unit size and zero mean: put a
    `StandardScaler` before. Arguments are checked when `fit` is called.

    Args:
        encoder: "amplitude" (2ⁿ features on n qubits), "angle" (each feature a rotation, in radians), or a mapping
            with `kind` and options, as a circuit recipe has it.
        num_qubits: n; None for as many as the features need: the least n ≥ 4 with 2ⁿ amplitudes (at most 10), or for
            angles one for every two features, 4 to 6.
        ansatz: "qdeq" (the paper's, 4 qubits or more), "real_amplitudes", "efficient_su2", "random_layer",
            "paper_block", or a mapping with `kind` and options.
        readout: "z" (Z on every wire), or a mapping with `kind` and options; the outputs are the state w.
        feature_scale: what the columns are multiplied by before they are amplitudes or angles.
        constant: one more feature, the same for all rows, after the columns; 0 for none. None is √d with amplitude
            encoding, which without a constant knows only the direction of x + R w, and not its sign; none otherwise.
        map: "quantum" (the circuit), or "classical": in its place a classical map with exactly as many weights, as a
            control; see `ClassicalLayer`.
        mode: "implicit" (the equilibrium), "direct" (q applied `layers` times), "coherent" (one circuit, its ansatz
            repeated `layers` times).
        layers: of the modes "direct" and "coherent".
        solver: "newton", "anderson", "broyden", …, or a mapping with `kind` and options; None for the backend's own.
        test_solver: the solver that predicts and validates, in the same way; None for the same as in training.
        adjoint: "implicit", "jfb", "unrolled", …, or a mapping with `kind` and options.
        penalty: the weight of the reduced Jacobian penalty in the loss, 0 or None for none; or a mapping with `kind`,
            `weight` and options. Of the mode "implicit" only.
        dropout: the probability that an entry of the state is dropped in training.
        backend: the name of a backend recipe ("exact", "shots", "noisy", …), the path of one, a mapping, or a
            `Backend`. None for exact expectation values in double precision.
        epochs: passes over the samples.
        batch_size: samples in an optimiser step.
        learning_rate: the optimiser's step size; with a schedule, the full one.
        optimiser: "adam", "adamw", "sgd", "rmsprop", or a mapping with `kind` and torch's options.
        schedule: of the learning rate: "cosine", or a mapping with `kind` (cosine, step, exponential, plateau,
            constant) and torch's options; None for a constant rate. A warm start begins it anew.
        gradient_clip: the largest norm of the gradient; None for no limit.
        validation_fraction: share of the samples that is held out to choose the best epoch; None to train on all of
            them and keep the last epoch.
        early_stopping_patience: stop after so many epochs without a better validation loss; None for never.
        warm_start: whether `fit` goes on from the weights of the `fit` before, if there was one.
        verbose: whether progress is shown on the terminal.
        random_state: of initial weights, batches, dropout and held-out samples: an integer, a RandomState, or None
            for NumPy's global one. Shots have the backend's own seed, too.

    Attributes:
        classes_: the labels, sorted, (classes,).
        n_features_in_: d.
        feature_names_in_: the columns' names, if they were given as strings, (d,).
        model_: the trained `QDEQClassifier`, a torch module; `model_.save(folder)` keeps it without pickling.
        layout_: the circuit's recipe, and how rows become its features.
        n_iter_: epochs trained, over all warm starts.
        history_: figures of each of them (`train_loss`, `train_accuracy`, `train_residual`, `valid_loss`, …).
        circuits_: circuits that training took.
        shots_: shots that training took; 0 on an exact backend.
    """

    classes_: NDArray[Any]
    model_: QDEQClassifier
    layout_: FeatureLayout
    n_iter_: int
    history_: list[dict[str, Any]]
    circuits_: int
    shots_: int

    def __init__(
        self,
        *,
        encoder: Any = "amplitude",
        num_qubits: int | None = None,
        ansatz: Any = "qdeq",
        readout: Any = "z",
        feature_scale: float = 1.0,
        constant: float | None = None,
        map: str = "quantum",
        mode: str = "implicit",
        layers: int = 1,
        solver: Any = None,
        test_solver: Any = None,
        adjoint: Any = "implicit",
        penalty: Any = 0.8,
        dropout: float = 0.05,
        backend: Any = None,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.02,
        optimiser: Any = "adam",
        schedule: Any = None,
        gradient_clip: float | None = 0.25,
        validation_fraction: float | None = None,
        early_stopping_patience: int | None = None,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.encoder = encoder
        self.num_qubits = num_qubits
        self.ansatz = ansatz
        self.readout = readout
        self.feature_scale = feature_scale
        self.constant = constant
        self.map = map
        self.mode = mode
        self.layers = layers
        self.solver = solver
        self.test_solver = test_solver
        self.adjoint = adjoint
        self.penalty = penalty
        self.dropout = dropout
        self.backend = backend
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimiser = optimiser
        self.schedule = schedule
        self.gradient_clip = gradient_clip
        self.validation_fraction = validation_fraction
        self.early_stopping_patience = early_stopping_patience
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train.

        Args:
            X: (N, d), finite numbers.
            y: (N,), labels of any kind, of at least two classes.

        Raises:
            ValueError: an argument, X or y cannot be used.
            TrainingError: the loss is not finite any more.
        """
        from qdeq_qiskit.sklearn.training import train_on_share
        from qdeq_qiskit.training.batches import epoch_seed
        from qdeq_qiskit.training.in_memory import ONE_AT_A_TIME

        goes_on = self.warm_start and hasattr(self, "model_")
        X, y = validate_data(self, X, y, reset=not goes_on, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y holds one class only, {classes.tolist()[0]!r}; expected at least two classes")
        optimisation = self._optimisation()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        layout, recipe = self._recipe(X.shape[1], classes)
        if goes_on:
            self._check_same(layout, classes)
        done = list(self.history_) if goes_on else []
        # Whatever is drawn or seeded here, torch's global generator is afterwards what it was before.
        with ONE_AT_A_TIME, torch.random.fork_rng(devices=_gpus(recipe)):
            model = QDEQClassifier.from_recipe(recipe, seed=seed)
            if goes_on:
                model.load_tensors(self.model_.tensors())
            trained = train_on_share(
                model,
                _features(layout, model, X),
                labels.astype(np.int64),
                optimisation,
                validation_fraction=self.validation_fraction,
                seed=epoch_seed(seed, len(done)) if done else seed,
                verbose=bool(self.verbose),
            )
        self.classes_, self.model_, self.layout_ = classes, model, layout
        self.history_ = done + [row | {"epoch": row["epoch"] + len(done)} for row in trained.history]
        self.n_iter_ = len(self.history_)
        self.circuits_ = trained.circuits + (self.circuits_ if goes_on else 0)
        self.shots_ = trained.shots + (self.shots_ if goes_on else 0)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each row, (N,)."""
        check_is_fitted(self)
        return self.classes_[self._logits(X).argmax(axis=1)]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of each class, in the order of `classes_`, (N, classes)."""
        check_is_fitted(self)
        return softmax(self._logits(X), axis=1)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The logits, (N, classes); for two classes the second's minus the first's, (N,)."""
        check_is_fitted(self)
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def solve(self, X: Any) -> ClassifierOutput:
        """Logits and equilibria of all rows at once: residuals, iterations, why each search ended, what it cost."""
        check_is_fitted(self)
        features = self._features(X)
        self._restart_shots()
        with torch.no_grad():
            return self.model_.classify(features)

    def on_backend(self, backend: Any) -> Self:
        """A copy with the same weights, fitted, on another backend, for instance with shots or noise.

        Between exact backends the solvers stay; towards a sampled one, that backend's own default takes over.
        """
        check_is_fitted(self)
        old, new = self.model_.backend, chosen_backend(backend)
        other = copy.copy(self)
        other.backend = backend
        if not (old.exact and new.exact):
            other.solver = other.test_solver = None
        other.model_ = self.model_.on_backend(new)
        return other

    def _logits(self, X: Any) -> NDArray[np.float64]:
        """Logits, (N, classes); a warning counts the rows whose equilibrium was not found."""
        features = self._features(X)
        self._restart_shots()
        with torch.no_grad():
            outputs = [self.model_.classify(part) for part in features.split(CHUNK)]
        if self.model_.options.mode == "implicit":
            failed = sum(int((~output.solution.converged).sum()) for output in outputs)
            if failed:
                warnings.warn(
                    f"{failed} of {len(features)} samples did not converge; solve(X) tells which, and why",
                    NotConvergedWarning,
                    stacklevel=3,
                )
        return torch.cat([output.logits for output in outputs]).double().cpu().numpy()

    def _features(self, X: Any) -> Tensor:
        """The circuit's features, (N, D), of new rows."""
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        return _features(self.layout_, self.model_, X)

    def _restart_shots(self) -> None:
        """The same rows get the same shots, whatever was predicted before."""
        from qdeq_qiskit.training.batches import AFTER_TRAINING, epoch_seed

        self.model_.restart_shots(epoch_seed(0, AFTER_TRAINING))

    def _recipe(self, num_columns: int, classes: NDArray[Any]) -> tuple[FeatureLayout, ClassifierRecipe]:
        """The arguments as the circuit with its features, and the classifier."""
        layout = lay_out(
            num_columns,
            encoder=self.encoder,
            ansatz=self.ansatz,
            readout=self.readout,
            num_qubits=self.num_qubits,
            scale=self.feature_scale,
            constant=self.constant,
        )
        model = chosen_model(
            map=self.map,
            mode=self.mode,
            layers=self.layers,
            solver=self.solver,
            test_solver=self.test_solver,
            adjoint=self.adjoint,
            penalty=self.penalty,
            dropout=self.dropout,
        )
        backend = chosen_backend({"kind": "exact", "precision": "double"} if self.backend is None else self.backend)
        model.check_backend(backend)
        names = tuple(str(label) for label in classes)
        return layout, ClassifierRecipe(class_names=names, circuit=layout.circuit, backend=backend, model=model)

    def _optimisation(self) -> OptimisationRecipe:
        return chosen_optimisation(
            validation_fraction=self.validation_fraction,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            optimiser=self.optimiser,
            schedule=self.schedule,
            gradient_clip=self.gradient_clip,
            early_stopping_patience=self.early_stopping_patience,
        )

    def _check_same(self, layout: FeatureLayout, classes: NDArray[Any]) -> None:
        """A warm start goes on with the same circuit and the same classes."""
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start goes on with the classes of the fit before, {self.classes_.tolist()}, but y holds "
                f"{classes.tolist()}; set warm_start=False to begin anew"
            )
        if layout != self.layout_:
            raise ValueError(
                "warm_start goes on with the weights of the fit before, whose circuit or layout of features was "
                "another; set warm_start=False to begin anew"
            )


def _features(layout: FeatureLayout, model: QDEQClassifier, table: NDArray[np.floating]) -> Tensor:
    """The circuit's features, (N, D), on the model's device and in its precision."""
    features = torch.from_numpy(layout.of(table)).to(model.head.weight)
    bad = (~torch.isfinite(features).all(dim=1)).nonzero().flatten()
    if len(bad):
        raise ValueError(
            f"X has {len(bad)} rows with values beyond the range of the backend's numbers, the first is row "
            f"{int(bad[0])}; scale the features, as with StandardScaler"
        )
    return features


def _gpus(recipe: ClassifierRecipe) -> list[int]:
    """The GPU whose generator a model draws from, if it is on one."""
    device = torch.device(getattr(recipe.backend, "device", "cpu"))
    return [device.index or 0] if device.type == "cuda" else []
