"""Snapshots: calibrated copies of processors, and the noise on the qubits in use."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def fake_backends() -> dict[str, type[Any]]:
    """The fake backends of Qiskit Runtime that are installed, by name."""
    from qiskit_ibm_runtime import fake_provider
    from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

    named: dict[str, type[Any]] = {}
    for item in vars(fake_provider).values():
        if isinstance(item, type) and issubclass(item, FakeBackendV2) and "backend_name" in vars(item):
            named[vars(item)["backend_name"]] = item
    return dict(sorted(named.items()))
