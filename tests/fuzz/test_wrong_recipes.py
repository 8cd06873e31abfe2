"""A thousand wrong recipes of every kind: each is answered in a sentence, or sets up all that precedes long work."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Answer, answer_of, arguments_for, stop_before_long_work
from hypothesis import HealthCheck, Phase, given, seed, settings
from oracle import faults
from wrong_recipes import WrongRecipe, wrong_recipes

DRAWS = {"training": 250, "circuits": 250, "backends": 200, "noise": 150, "studies": 150}
MANY = 2000

# Nothing is shrunk or kept: a failure is reported as it was drawn, and each run draws the same.
QUICKLY = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def judged(wrong: WrongRecipe, answer: Answer) -> list[str]:
    """What is wrong with an answer."""
    if answer.exception is not None:
        return [f"{type(answer.exception).__name__}: {str(answer.exception)[:300]}"]
    if answer.accepted:
        return []
    # A circuit alone is not run; what does not suit it is the training recipe that names it.
    if wrong.kind == "circuits" and "tiny.yaml" in answer.message:
        found = faults(answer.message, sources=["tiny.yaml"])
    else:
        found = faults(answer.message, sources=["wrong.yaml"], changed=wrong.changed)
    return found if answer.code == 2 else [*found, f"ends with exit code {answer.code}"]


def check(kind: str, draws: int, workplace: Path, trained: Path, *, number: int, large: bool = False) -> None:
    """Draw, run, judge."""

    @settings(max_examples=draws, **QUICKLY)
    @seed(number)
    @given(wrong=wrong_recipes(kind, large=large))
    def drawn(wrong: WrongRecipe) -> None:
        path = workplace / "wrong.yaml"
        path.write_text(wrong.text, encoding="utf-8")
        answer = answer_of(*arguments_for(kind, path, run=trained, tiny=workplace / "tiny.yaml"))
        assert not judged(wrong, answer), f"{answer.message[:600]}\n{wrong.text[:3000]}"

    drawn()


@pytest.mark.parametrize("kind", DRAWS)
def test_a_wrong_recipe_is_answered_in_a_sentence_with_file_key_value_and_remedy(
    kind: str, workplace: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_before_long_work(monkeypatch)
    check(kind, DRAWS[kind], workplace, trained, number=5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAWS)
def test_ten_thousand_wrong_recipes_are(
    kind: str, workplace: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_before_long_work(monkeypatch)
    check(kind, MANY, workplace, trained, number=23, large=True)
