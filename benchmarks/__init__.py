"""Measurements of the library, beside stock Qiskit where that can do the same: `python -m benchmarks`.

One module a subject. Each yields rows (`row.Row`); `__main__` prints them as a table and writes them as JSON.
"""
