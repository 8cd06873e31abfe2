"""A reproduction of seconds, and how to look at what it did."""

from __future__ import annotations

import json
from pathlib import Path

TINY = """
description: "a tiny run"
data: {name: digits, classes: [0, 3, 6], limit: 40}
circuit: qdeq4-amplitude
backend: {kind: exact}
model: {features: {pool: {kernel: 2}}}
optimisation: {epochs: 2, batch_size: 16, learning_rate: 0.05}
"""
DIRECT = "extends: tiny.yaml\nmodel: {mode: direct, layers: 2}\n"
COHERENT = "extends: tiny.yaml\nmodel: {mode: coherent, layers: 2}\n"
REPRODUCTION = """
description: "A tiny reproduction."
tables:
  - {name: first, title: "The first table", seeds: 2, rows: [tiny.yaml, direct.yaml]}
  - {name: second, title: "The second table", rows: [coherent.yaml]}
published:
  - {name: theirs, source: "somewhere, by somebody", rows: {direct: {accuracy: 0.875, seconds: 1200}}}
  - {name: nobody's, source: "could not be checked here"}
quick: {set: [optimisation.epochs=1]}
"""


def write_reproduction(folder: Path, text: str = REPRODUCTION) -> Path:
    """The reproduction's file, beside the training recipes of its rows."""
    for name, content in (("tiny", TINY), ("direct", DIRECT), ("coherent", COHERENT), ("small", text)):
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    return folder / "small.yaml"


def computed(directory: Path) -> list[str]:
    """Keys of all that was ever computed, in order; a key stands there as often as it was."""
    journal = directory / "journal.jsonl"
    return [json.loads(line)["key"] for line in journal.read_text().splitlines()] if journal.exists() else []


def trained(directory: Path) -> list[str]:
    """The runs that were trained, in order, each as often as it was."""
    return [key.removeprefix("train-") for key in computed(directory) if key.startswith("train-")]
