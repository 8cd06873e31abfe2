"""The recipe of a training run of a second or two."""

TINY = """
description: "a tiny run"
data: {name: digits, classes: [0, 3, 6], limit: 40}
circuit: qdeq4-amplitude
backend: {kind: exact}
model:
  features: {pool: {kernel: 2}}
  dropout: 0.2
optimisation: {epochs: 4, batch_size: 16, learning_rate: 0.05}
seed: 11
"""
