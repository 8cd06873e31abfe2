"""The backend that an experiment asks for by noise, shots and mitigation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend, Backend
from qdeq_qiskit.noise import MitigationRecipe, NoiseRecipe
from qdeq_qiskit.recipes import RecipeError


def chosen_backend(
    *,
    noise: NoiseRecipe | None,
    shots: int | None,
    seed: int | None = None,
    mitigation: str | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    source: str,
) -> Backend:
    """The backend with this noise, so many shots, and this mitigation.

    Args:
        noise: None for the ideal circuit.
        shots: of each circuit; None for exact expectation values.
        seed: of the shots; None for the backend's own default.
        mitigation: a mitigation recipe, as short names or a mapping; None for none. Only with noise.
        options: further keys of the noisy backend's recipe; of these, the ideal circuit takes `precision` alone.
        source: what errors call all this.

    Raises:
        RecipeError: an option that the backend does not take, or a value out of range.
    """
    further = dict(options or {})
    clash = sorted({"kind", "noise", "shots", "seed", "mitigation", "description"} & set(further))
    if clash:
        raise RecipeError(f"{source}: backend.{clash[0]}: is chosen by the study's axes; leave it out")
    data: dict[str, Any]
    if noise is None:
        if mitigation is not None:
            raise RecipeError(f"{source}: mitigation: the ideal circuit has no errors to mitigate; give noise, too")
        if shots is None:
            data = {"kind": "exact", **{key: further[key] for key in ("precision",) if key in further}}
        else:
            data = {"kind": "shots", "shots": shots}
    else:
        data = {"kind": "noisy", "noise": noise.model_dump(), "shots": shots, **further}
        if mitigation is not None:
            data["mitigation"] = recipes.check(mitigation, MitigationRecipe, source=f"{source}: mitigation")
    if seed is not None and data["kind"] != "exact":
        data["seed"] = seed
    backend = recipes.check(data, AnyBackend, source=source)
    assert isinstance(backend, Backend)
    return backend


def mitigation_given(text: str) -> str | dict[str, Any]:
    """What a command line says of mitigation: short names, which the recipe reads itself, or a mapping in YAML."""
    if not text.lstrip().startswith("{"):
        return text
    _, mapping = recipes.parse_override(f"mitigation={text}")
    return dict(mapping)
