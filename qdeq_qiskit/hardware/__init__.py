"""Trained models on processors: what it will take, the work itself, what came of it.

`submission` plans, `solving` carries out and goes on, `methods` are what can be done; all that was asked of a processor
and answered is in the run's ledger.
"""
