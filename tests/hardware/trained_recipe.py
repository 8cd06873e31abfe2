"""The recipe of the model that runs on processors here."""

TRAINING = """
description: "three digits, on four qubits"
data: {name: digits, classes: [0, 3, 6]}
circuit: qdeq4-amplitude
backend: {kind: exact, precision: double}
model: {features: {pool: {kernel: 2}}}
optimisation: {epochs: 3, batch_size: 32, learning_rate: 0.05}
"""
