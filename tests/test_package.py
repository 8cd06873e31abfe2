"""What importing the package costs and gives."""

import subprocess
import sys

import pytest

import qdeq_qiskit

HEAVY = ("torch", "qiskit_aer", "qiskit_machine_learning", "qiskit_ibm_runtime", "lightning", "matplotlib", "sklearn")


def imported_by(statement):
    code = f"import sys; {statement}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert imported_by("import qdeq_qiskit") == set()


def test_the_floors_import_what_they_are_built_on_and_no_more():
    assert imported_by("import qdeq_qiskit.equilibrium") == {"torch"}
    assert imported_by("import qdeq_qiskit.circuits") == set()
    assert imported_by("import qdeq_qiskit.hardware") == set()
    assert imported_by("from qdeq_qiskit.backends import ExactLayer") == {"torch"}


def test_names_are_found_on_first_use_and_others_are_not():
    assert {name for name in dir(qdeq_qiskit) if not name.startswith("_")} == {
        "Equilibrium",
        "QDEQClassifier",
        "QNNCircuit",
    }
    assert all(getattr(qdeq_qiskit, name) for name in qdeq_qiskit.__all__)
    with pytest.raises(AttributeError, match="QDEQClasifier"):
        _ = qdeq_qiskit.QDEQClasifier


def test_the_equilibrium_and_the_circuits_import_nothing_else_of_ours():
    for floor in ("circuits", "equilibrium"):
        code = f"import sys, qdeq_qiskit.{floor}; print(*(n for n in sys.modules if n.startswith('qdeq_qiskit.')))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        # `first_use` belongs to the package itself, which Python loads before any floor of it; `recipes` is the ground
        # that kinds of circuits stand on, and knows nothing of physics.
        ground = {"first_use", "recipes"} if floor == "circuits" else {"first_use"}
        assert {name.split(".")[1] for name in done.stdout.split()} - ground == {floor}
