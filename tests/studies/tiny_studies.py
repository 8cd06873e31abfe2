"""A study of seconds, and how to look at what it did."""

from __future__ import annotations

import json
from pathlib import Path

from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.plan import Plan, make_plan

TRAINING = """
description: "a tiny run"
data: {name: digits, classes: [0, 3, 6], limit: 40}
circuit: qdeq4-amplitude
backend: {kind: exact}
model: {features: {pool: {kernel: 2}}}
optimisation: {epochs: 2, batch_size: 16, learning_rate: 0.05}
"""
STUDY = """
description: "a tiny study"
training: tiny.yaml
models:
  - {name: implicit, seeds: [3, 4]}
  - {name: direct two, set: [model.mode=direct, model.layers=2], seeds: [3]}
noise:
  - {recipe: depolarizing, scales: [1, 4]}
shots: [null, 64]
samples: 20
"""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """The study's file, beside the training recipe that it names."""
    (folder / "tiny.yaml").write_text(TRAINING, encoding="utf-8")
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return folder / "study.yaml"


def computed(directory: Path) -> list[str]:
    """Keys of all that was ever computed for a study, in order; a key stands there as often as it was."""
    journal = directory / "journal.jsonl"
    return [json.loads(line)["key"] for line in journal.read_text().splitlines()] if journal.exists() else []


def planned(directory: Path) -> Plan:
    """The plan of a study's folder."""
    study = StudyDirectory.open(directory)
    return make_plan(study.recipe(), source="study", data_dir=None)
