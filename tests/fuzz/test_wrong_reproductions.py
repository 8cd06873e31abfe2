"""Wrong reproductions, drawn as other wrong recipes are: each is answered in a sentence before anything is trained."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import wrong_recipes as drawing
import yaml
from commands import answer_of, stop_before_long_work
from hypothesis import HealthCheck, Phase, given, seed, settings
from oracle import faults

KIND = "reproductions"
SMALL = """
description: "A small one."
depth_target: fake_manila
tables:
  - {name: first, title: "First", seeds: 2, rows: [tiny.yaml]}
  - {name: second, title: "Second", rows: [direct.yaml]}
published:
  - {name: theirs, source: "somewhere", rows: {tiny: {accuracy: 0.9, seconds: 12}}}
quick: {set: [optimisation.epochs=1], seeds: 1, warmup_steps: 2}
"""
CONTRADICTIONS = (
    {"extends": "nowhere"},
    {"tables": "[]"},
    {"tables": "[{name: a, title: A, rows: []}]"},
    {"tables": "[{name: a, title: A, rows: [nowhere]}]"},
    {"tables": "[{name: a, title: A, rows: [wrong.yaml]}]"},
    {"tables": "[{name: a, title: A, rows: [depolarizing]}]"},
    {"tables": "[{name: a, title: A, rows: [tiny.yaml, tiny.yaml]}]"},
    {"tables": "[{name: a, title: A, rows: [mnist4]}]", "quick": "{set: [seed=0]}"},
    {"tables": "[{name: ../a, title: A, rows: [tiny.yaml]}]"},
    {"published": "[{name: theirs, source: s, rows: {tyni: {accuracy: 0.9}}}]"},
    {"published": "[{name: theirs, source: s, rows: {tiny: {accuracy: 90}}}]"},
    {"published": "[{name: theirs, source: s, rows: {tiny: {}}}]"},
    {"published": "[{name: a, source: s}, {name: a, source: s}]"},
    {"quick": "{set: [optimisation.epoch=1]}"},
    {"quick": "{set: [data.name=mnsit]}"},
    {"quick": "{set: [nothing]}"},
    {"quick": "{set: [model.layers=1000000000]}"},
    {"depth_target": "fake_tornio"},
    {"depth_target": "aer_simulator"},
)


def check(draws: int, number: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw, run, judge."""
    stop_before_long_work(monkeypatch)
    monkeypatch.setitem(drawing.CONTRADICTIONS, KIND, CONTRADICTIONS)  # type: ignore[arg-type]
    small = yaml.safe_load(SMALL)
    monkeypatch.setattr(drawing, "tree_of", lambda *_: copy.deepcopy(small))
    (workplace / "direct.yaml").write_text("extends: tiny.yaml\nmodel: {mode: direct, layers: 2}\n", encoding="utf-8")
    accepted = []

    @settings(
        max_examples=draws,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(number)
    @given(wrong=drawing.wrong_recipes(KIND))
    def drawn(wrong: drawing.WrongRecipe) -> None:
        (workplace / "wrong.yaml").write_text(wrong.text, encoding="utf-8")
        answer = answer_of("reproduce", "wrong.yaml", "--quick", "--out", "out")
        accepted.append(answer.accepted)
        assert answer.exception is None, f"{answer.exception!r}\n{wrong.text[:3000]}"
        if not answer.accepted:
            # What does not suit a row is told of the row's own recipe.
            sources = ["wrong.yaml", "tiny.yaml", "direct.yaml", "tiny: ", "direct: "]
            # Without a table, what speaks of its rows elsewhere is wrong.
            changed = () if any(piece is None for _, piece in wrong.changed) else wrong.changed
            found = faults(answer.message, sources=sources, changed=changed)
            assert not found, f"{found}\n{answer.message[:600]}\n{wrong.text[:3000]}"
            assert answer.code == 2

    drawn()
    assert any(accepted)
    assert not all(accepted)


def test_a_wrong_reproduction_is_answered_in_a_sentence(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(60, 5, workplace, monkeypatch)


@pytest.mark.slow
def test_a_thousand_wrong_reproductions_are(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(1000, 23, workplace, monkeypatch)
