r"""Observables as the Pauli strings that an estimator is asked for, and values with their covariance from its answers.

An estimator tells a value and a spread of each observable, and nothing of how two that are read from the same shots go
together. So it is also asked for the product of every two strings that share a circuit, which costs no circuit more:
over M shots of one circuit the covariance of the means of P and Q is
:math:`(\langle PQ\rangle - \langle P\rangle\langle Q\rangle)/(M - 1)`.

With M shots shared by R random circuits the variance is that of the means of these circuits, which differ by more than
their shots where a twirled error does. How strings go together is taken from the shots all the same: such a variance of
few circuits is itself known to √(2/R) only, so most of what it is larger or smaller by is chance.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from qiskit.quantum_info import Pauli, PauliList, SparsePauliOp

from qdeq_qiskit.backends.measurement import Measurement
from qdeq_qiskit.backends.mitigated_variances import calibration_covariance, extrapolation_weights
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.mitigation import MitigationCost, MitigationRecipe

_log = logging.getLogger(__name__)
# The estimator evaluates its strings one by one, in Python, for each row: about 50 µs each.
_MAX_STRINGS = 1000
_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class JointReadout:
    """K observables as T Pauli strings, and what is asked of an estimator to know their covariance.

    Attributes:
        strings: what the estimator is asked for, K' of them: the T strings, then products.
        num_bases: circuits that measure them, for one row of angles.
        constants: the observables' share of the identity, (K,).
        weights: of the strings in the observables, (K, T).
        products: for each two strings the index of their product in `strings`, −1 for the identity, −2 where the two
            are not read from the same shots (or the covariance is not asked for), (T, T).
    """

    strings: tuple[SparsePauliOp, ...]
    num_bases: int
    constants: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    products: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, observables: Sequence[SparsePauliOp]) -> JointReadout:
        """What to ask for some observables, on any wires."""
        constants, table = _coefficients(observables)
        # An estimator must be asked for something.
        labels = [*table] or ["I" * observables[0].num_qubits]
        weights = np.stack([table.get(label, np.zeros(len(observables))) for label in labels], axis=1)
        asked, products, num_bases = _with_products(labels)
        return cls(tuple(SparsePauliOp(label) for label in asked), num_bases, constants, weights, products)

    def measurement(
        self, arrays: dict[str, np.ndarray], recipe: MitigationRecipe, cost: MitigationCost, noise: CircuitNoise | None
    ) -> Measurement:
        """Values of the observables and their covariance from the estimator's answers.

        Args:
            arrays: as `estimation.outcome_of` gives them.
            recipe: what was done against noise.
            cost: of one row and of a calibration.
            noise: on the observables' wires, whose readout trex calibrates; of no use without trex.
        """
        terms = self.weights.shape[1]
        values = arrays["evs"][:terms].T  # (N, T)
        covariance = self._of_shots(arrays, recipe, cost)
        if recipe.readout == "trex" and noise is not None:
            paulis = [string.paulis[0] for string in self.strings[:terms]]
            covariance = covariance + calibration_covariance(paulis, values, noise, cost)
        return Measurement(
            torch.as_tensor(self.constants + values @ self.weights.T),
            torch.as_tensor(_positive(self.weights @ covariance @ self.weights.T)),
        )

    def _of_shots(self, arrays: dict[str, np.ndarray], recipe: MitigationRecipe, cost: MitigationCost) -> np.ndarray:
        """The covariance of the strings' values that is due to shots and random circuits, (N, T, T)."""
        suffix = "" if recipe.zne is None else "_noise_factors"
        means = _with_factors(arrays["evs" + suffix], recipe)
        pooled = _with_factors(arrays["ensemble_stds" + suffix if suffix else "ensemble_standard_error"], recipe)
        spread = pooled if cost.randomizations == 1 else _with_factors(arrays["stds" + suffix], recipe)
        each = self._at_each_factor(means, pooled, spread, cost)  # (N, F, T, T)
        if recipe.zne is None:
            return each[:, 0]
        terms = self.weights.shape[1]
        variances = np.diagonal(each, axis1=2, axis2=3).transpose(2, 0, 1)  # (T, N, F)
        weights = extrapolation_weights(
            recipe.zne, arrays["curved"][:terms], arrays["evs"][:terms], means[:terms], variances
        )
        covariance = np.einsum("inf,nfij,jnf->nij", weights, each, weights, optimize=True)
        # No string is off by more than it can be: where a fit is nearly singular, that is what is known.
        deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        shrunk = 1 / np.maximum(deviation, 1.0)
        return np.asarray(shrunk[:, :, None] * covariance * shrunk[:, None, :])

    def _at_each_factor(
        self, means: np.ndarray, pooled: np.ndarray, spread: np.ndarray, cost: MitigationCost
    ) -> np.ndarray:
        """The covariance at each noise factor, (N, F, T, T), of means (K', N, F) with errors as the estimator has them.

        `pooled` are the errors that shots alone would have, `spread` those that random circuits show.
        """
        terms, shots = self.weights.shape[1], cost.randomizations * cost.shots_per_circuit
        # Trex multiplies a string's mean by a factor: that of its error, whose square would be 1 − mean² without.
        factors = np.sqrt(shots * pooled**2 + means**2)
        raw = means / np.where(factors > 0, factors, 1.0)
        if shots == 1:  # a single shot shows no spread: then the largest one that there can be
            return np.einsum("inf,ij->nfij", factors[:terms] ** 2, np.eye(terms))
        together = self._products_of(raw) - np.einsum("inf,jnf->nfij", raw[:terms], raw[:terms])
        scaled = np.einsum("inf,nfij,jnf->nfij", factors[:terms], together, factors[:terms])
        covariance = np.where(self.products == -2, 0.0, scaled) / (shots - 1)
        if cost.randomizations == 1:
            return np.asarray(covariance)
        # Runtime divides the spread over R circuits by R where an unbiased variance has R − 1.
        seen = (spread[:terms] ** 2 * (cost.randomizations / (cost.randomizations - 1))).transpose(1, 2, 0)
        of_shots = np.diagonal(covariance, axis1=2, axis2=3)
        known = of_shots > 1e-12
        ratio = np.sqrt(np.divide(seen, of_shots, out=np.zeros_like(seen), where=known))
        rest = np.where(known, 0.0, seen)
        return np.asarray(ratio[..., :, None] * covariance * ratio[..., None, :] + rest[..., None] * np.eye(terms))

    def _products_of(self, raw: np.ndarray) -> np.ndarray:
        """Mean of the product of every two strings, (N, F, T, T); anything where it is not known."""
        means = np.concatenate((raw, np.ones_like(raw[:1])))  # the last one, which −1 finds, is the identity's
        return means[np.where(self.products == -2, -1, self.products)].transpose(2, 3, 0, 1)


def _positive(covariance: np.ndarray) -> np.ndarray:
    """The nearest covariance without negative variances, (N, K, K).

    There may be some where a product is read from another circuit than its factors: that of XX and XI is IX, which a
    circuit that measures ZX has too, and the estimator takes the first one.
    """
    values, vectors = np.linalg.eigh(covariance)
    clipped = (vectors * np.maximum(values, 0)[..., None, :]) @ vectors.swapaxes(-1, -2)
    rounding = 1e-12 * np.abs(values).max(axis=-1, initial=0)
    return np.where((values.min(axis=-1, initial=0) < -rounding)[..., None, None], clipped, covariance)


def _with_factors(array: np.ndarray, recipe: MitigationRecipe) -> np.ndarray:
    return array[..., None] if recipe.zne is None else array


def _coefficients(observables: Sequence[SparsePauliOp]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of the identity in the observables, (K,), and of each other Pauli string, by its label, (K,)."""
    constants = np.zeros(len(observables))
    table: dict[str, np.ndarray] = {}
    for index, observable in enumerate(observables):
        for label, coefficient in observable.simplify(atol=0).to_list():
            column = table.setdefault(label, np.zeros(len(observables))) if set(label) != {"I"} else constants
            column[index] += np.real(coefficient)
    return constants, {label: column for label, column in table.items() if column.any()}


def _with_products(labels: list[str]) -> tuple[list[str], np.ndarray, int]:
    """The labels and those of products of two that share a circuit, where the products are, and how many circuits."""
    circuits, num_bases = _circuits(labels)
    pairs = [(i, j) for j in range(len(labels)) for i in range(j) if _commute(labels[i], labels[j])]
    asked = [(i, j) for i, j in pairs if circuits[i] == circuits[j]]
    # More strings may be divided among circuits in another way; what then shares one has to have its product too.
    for _ in range(_ROUNDS):
        strings = [*dict.fromkeys([*labels, *(_product(labels[i], labels[j]) for i, j in asked)])]
        places, bases = _circuits(strings)
        if len(strings) > _MAX_STRINGS or bases != num_bases:
            break
        together = [(i, j) for i, j in pairs if places[i] == places[j]]
        if {*together} <= {*asked}:
            products = _unrelated(len(labels))
            for i, j in together:
                products[i, j] = products[j, i] = strings.index(_product(labels[i], labels[j]))
            return strings, products, num_bases
        asked += [pair for pair in together if pair not in asked]
    _log.warning(
        "correlations between observables that are read from the same shots are left out: their %d Pauli strings have "
        "too many products, or products that would take more than %d circuits",
        len(labels),
        num_bases,
    )
    return labels, _unrelated(len(labels)), num_bases


def _unrelated(size: int) -> np.ndarray:
    return np.where(np.eye(size, dtype=bool), -1, -2)


def _circuits(labels: list[str]) -> tuple[list[int], int]:
    """Which circuit the estimator reads each string from, and how many there are.

    As in `qiskit_mitigation`'s `MitigationTask`: strings are grouped greedily, each is then read from the first group
    whose basis has it.
    """
    groups = PauliList(labels).group_commuting(qubit_wise=True)
    bases = [Pauli((group.z.any(axis=0), group.x.any(axis=0))) for group in groups]
    return [next(place for place, basis in enumerate(bases) if _is_read_in(Pauli(s), basis)) for s in labels], len(
        bases
    )


def _is_read_in(string: Pauli, basis: Pauli) -> bool:
    support = string.z | string.x
    return np.array_equal(string.z[support], basis.z[support]) and np.array_equal(string.x[support], basis.x[support])


def _commute(first: str, second: str) -> bool:
    """Whether two strings commute wire by wire."""
    return all("I" in (a, b) or a == b for a, b in zip(first, second, strict=True))


def _product(first: str, second: str) -> str:
    """Of two strings that commute wire by wire: where both have a letter, it is the same one."""
    return "".join("I" if a == b else (a if b == "I" else b) for a, b in zip(first, second, strict=True))
