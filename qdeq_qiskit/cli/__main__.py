"""`python -m qdeq_qiskit.cli`."""

from qdeq_qiskit.cli import main

if __name__ == "__main__":
    main()
