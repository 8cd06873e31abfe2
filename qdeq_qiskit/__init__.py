"""Quantum Deep Equilibrium Models on Qiskit (arXiv 2410.23940)."""

__version__ = "0.1.0"
