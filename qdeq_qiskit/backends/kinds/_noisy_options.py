"""What the backends with noise have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import nn

from qdeq_qiskit.backends.compiled import CompiledCircuit, compile_circuit
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.backends.machine import Machine
from qdeq_qiskit.backends.memory import check_density_matrices
from qdeq_qiskit.backends.mitigated import check_shots, mitigated_machine, readout_corrected
from qdeq_qiskit.backends.noisy import (
    AerMachine,
    EffectiveMachine,
    NoisyCircuit,
    NoisyLayer,
    NotEffectiveError,
    check_outcomes,
)
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.backends.spsa import WeightGradient
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Newton, SampledSolver, Solver
from qdeq_qiskit.noise import CircuitNoise, MitigationRecipe, NoiseRecipe, check_touched

_log = logging.getLogger(__name__)


class NoisyOptions(Backend):
    """A backend with noise; a subclass says what the noise is."""

    shots: int | None = Field(
        default=None,
        ge=1,
        le=10**16,
        description="Shots of each circuit; null for exact expectation values of the noisy circuit.",
    )
    seed: int | None = Field(default=0, ge=0, lt=2**63, description="Seed of the shots; null for a new one every time.")
    transpiler_seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the transpiler.")
    optimization_level: Literal[0, 1, 2, 3] = Field(default=3, description="Effort of the transpiler, 0 to 3.")
    encoder_noise: bool = Field(
        default=True, description="False leaves the noise of the encoder's gates out, which no machine does."
    )
    allow_untouched: bool = Field(
        default=False, description="Whether noise may leave two-qubit gates of the circuit without an error."
    )
    method: Literal["auto", "effective", "aer"] = Field(
        default="auto",
        description="effective: operators and states in closed form; aer: every circuit on Aer; auto: effective where "
        "the circuit allows it.",
    )
    weight_gradient: WeightGradient = Field(
        default="parameter_shift",
        description="How gradients of the weights are measured with shots: parameter_shift, or spsa (two circuits a "
        "sample).",
    )
    mitigation: MitigationRecipe | None = Field(
        default=None, description="What is done against the noise: short names, such as trex+zne, or a mapping."
    )
    precision: Literal["single", "double"] = Field(
        default="single", description="Precision of exact expectation values, single or double."
    )
    device: str = Field(
        default="cpu",
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="Where exact expectation values are computed: cpu, cuda, or cuda:1 for the second GPU.",
    )

    @model_validator(mode="after")
    def _mitigates_what_it_runs(self) -> Self:
        recipe = self.mitigation
        if recipe is None or not recipe.needs_estimator:
            return self
        check_shots(recipe, self.shots)
        if not self.encoder_noise:
            raise ValueError(
                f"mitigation {recipe.describe()} runs whole circuits with all of their noise, so encoder_noise cannot "
                "be false"
            )
        if self.method == "effective":
            raise ValueError(
                f"mitigation {recipe.describe()} runs circuits of its own on Aer, so method cannot be effective; "
                "leave it out"
            )
        return self

    @model_validator(mode="after")
    def _measures_the_gradients_it_chooses(self) -> Self:
        if self.shots is None and self.weight_gradient != "parameter_shift":
            raise ValueError(
                f"weight_gradient is {self.weight_gradient!r}, but without shots gradients are exact: give shots, or "
                "leave weight_gradient out"
            )
        return self

    @property
    def exact(self) -> bool:
        return self.shots is None

    @property
    def noisy(self) -> bool:
        return True

    @abstractmethod
    def noise_recipe(self) -> NoiseRecipe:
        """What goes wrong."""

    @abstractmethod
    def basis(self) -> tuple[str, ...] | None:
        """Native gates, where no processor says what they are; None for the circuit's own gates."""

    def compile(self, qnn: QNNCircuit) -> tuple[CompiledCircuit, CircuitNoise]:
        """The circuit in native gates, and what goes wrong there.

        Raises:
            ValueError: the circuit does not fit on the processor, or the noise does not suit the circuit.
        """
        recipe = self.noise_recipe()
        processor = recipe.processor
        compiled = compile_circuit(
            qnn,
            target=processor,
            basis_gates=None if processor is not None else self.basis(),
            optimization_level=self.optimization_level,
            seed=self.transpiler_seed,
            idle=any(getattr(source, "idle_relaxation", False) for source in recipe.sources),
        )
        noise = recipe.build(compiled)
        check_touched(compiled.circuit, noise, allow_untouched=self.allow_untouched)
        return compiled, noise

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> nn.Module:
        runs = self._prepared(qnn, outcomes=self.shots is not None)
        if isinstance(runs, NoisyCircuit) and self.shots is None:
            return NoisyLayer(runs, device=self.device, precision=self.precision, weight=weight)
        if self.device != "cpu":
            _log.warning(
                "device = %r is of no use here: shots, and circuits that are run one by one, are computed on the CPU",
                self.device,
            )
        return SampledLayer(
            qnn,
            self._machine(runs),
            noisy_encoder=self.encoder_noise,
            weight_gradient=self.weight_gradient,
            weight=weight,
        )

    def machine(self, qnn: QNNCircuit) -> Machine:
        """What runs the circuit, row by row of its angles, in double precision; exact where `shots` is null.

        Raises:
            ValueError: as `layer`.
        """
        return self._machine(self._prepared(qnn, outcomes=True))

    def _machine(self, runs: NoisyCircuit | Machine) -> Machine:
        return EffectiveMachine(runs, shots=self.shots, seed=self.seed) if isinstance(runs, NoisyCircuit) else runs

    def _prepared(self, qnn: QNNCircuit, *, outcomes: bool) -> NoisyCircuit | Machine:
        """The circuit taken apart for the effective route, or else the machine that runs it as a whole.

        Args:
            qnn: the circuit.
            outcomes: whether the probabilities of single outcomes are wanted, not only expectation values.
        """
        check_density_matrices(qnn.num_qubits)
        compiled, noise = self.compile(qnn)
        if self.mitigation is not None and self.mitigation.needs_estimator:
            return mitigated_machine(compiled, noise, self.mitigation, shots=self.shots, seed=self.seed)
        if self.mitigation is not None and self.mitigation.readout == "matrix":
            compiled = readout_corrected(compiled, noise)
        if self.method != "aer":
            try:
                circuit = NoisyCircuit(qnn, compiled, noise, encoder_noise=self.encoder_noise)
                if outcomes:
                    check_outcomes(circuit, insist=self.method == "effective")
                return circuit
            except NotEffectiveError as error:
                if self.method == "effective":
                    raise ValueError(f"method = 'effective': {error}; method = 'aer' runs every circuit") from error
                _log.warning("every circuit is run on Aer: %s", error)
        reference = AerMachine(compiled, noise, encoder_noise=self.encoder_noise, shots=self.shots, seed=self.seed)
        _log.warning("%s", reference.announcement())
        return reference

    def default_solver(self) -> Solver:
        return Newton() if self.exact else SampledSolver()

    def describe(self) -> str:
        shots = "exact expectation" if self.shots is None else f"{self.shots} shots"
        route = "" if self.method == "auto" else f", {self.method}"
        encoder = "" if self.encoder_noise else ", encoder without noise"
        mitigated = "" if self.mitigation is None or self.mitigation.is_none else f", {self.mitigation.describe()}"
        return f"{self.noise_recipe().describe()}; {shots}{route}{encoder}{mitigated}"
