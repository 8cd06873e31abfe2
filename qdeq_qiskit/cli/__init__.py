"""The command: fit, evaluate, study, reproduce, report, cost, submit, resume, jobs, cancel, tune, recipes, info."""

# Each module adds its commands; `--help` lists them in the order in which they are imported.
from qdeq_qiskit.cli import training  # noqa: I001
from qdeq_qiskit.cli import studies
from qdeq_qiskit.cli import reproduction
from qdeq_qiskit.cli import hardware
from qdeq_qiskit.cli import listings
from qdeq_qiskit.cli._app import app, main

__all__ = ["app", "hardware", "listings", "main", "reproduction", "studies", "training"]
