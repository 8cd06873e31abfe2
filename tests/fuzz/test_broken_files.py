"""Files that are no recipes at all, names that lead nowhere, and overrides that are none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from commands import TINY, answer_of, arguments_for, stop_before_long_work
from oracle import faults
from wrong_recipes import KINDS, broken_files

BROKEN = broken_files(TINY.lstrip())


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_before_long_work(monkeypatch)


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_no_recipe_is_refused_within_a_second_or_two(what: str, workplace: Path, trained: Path) -> None:
    path = workplace / "broken.yaml"
    path.write_bytes(BROKEN[what])
    for kind in KINDS:
        started = time.process_time()
        answer = answer_of(*arguments_for(kind, path, run=trained, tiny=workplace / "tiny.yaml"))
        assert time.process_time() - started < 3
        assert answer.exception is None, answer.exception
        assert (answer.accepted, answer.code) == (False, 2)
        assert not faults(answer.message, sources=["broken.yaml"]), answer.message


def test_a_byte_order_mark_is_no_mistake(workplace: Path) -> None:
    (workplace / "marked.yaml").write_bytes(b"\xef\xbb\xbf" + TINY.encode())
    assert answer_of("fit", "marked.yaml").accepted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "no_such", "no/such.yaml", "", " ", ".", "..", "/", "../../../etc/passwd", "a\0b.yaml", "a" * 5000,
        "a/" * 3000 + "b.yaml",
        "~nobody_at_all/x.yaml", "/dev/null", "folder.yaml", "-", "é.yaml", "*.yaml", "https://example.org/x.yaml",
    ],
)  # fmt: skip
def test_a_name_that_leads_nowhere_is_said_to(name: str, kind: str, workplace: Path, trained: Path) -> None:
    (workplace / "folder.yaml").mkdir()
    if name.startswith("-"):
        name = f"./{name}"
    answer = answer_of(
        *arguments_for(kind, Path("X"), run=trained, tiny=workplace / "tiny.yaml")[:-1], *_last(kind, name)
    )
    assert answer.exception is None, answer.exception
    assert (answer.accepted, answer.code) == (False, 2)
    assert not faults(answer.message, sources=["recipe", "name"]), answer.message


def _last(kind: str, name: str) -> tuple[str, ...]:
    return (f"circuit={name or repr(name)}",) if kind == "circuits" else (name,)


def test_recipes_that_name_themselves_or_nothing_are_refused(workplace: Path, trained: Path) -> None:
    (workplace / "self.yaml").write_text(TINY.replace("qdeq4-amplitude", "self.yaml"), encoding="utf-8")
    answer = answer_of("fit", "self.yaml")
    assert not faults(answer.message, sources=["self.yaml"], changed=[(("circuit",), None)]), answer.message
    (workplace / "self.yaml").write_text("{kind: noisy, noise: self.yaml}", encoding="utf-8")
    answer = answer_of("evaluate", trained, "--backend", "self.yaml")
    assert not faults(answer.message, sources=["self.yaml"], changed=[(("noise",), None)]), answer.message
    (workplace / "self.yaml").write_text("{training: self.yaml, models: [{name: a}]}", encoding="utf-8")
    answer = answer_of("study", "self.yaml")
    assert not faults(answer.message, sources=["self.yaml"]), answer.message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["extends: self.yaml", "extends: 3", "extends: nowhere", "extends: other.yaml"])
def test_a_recipe_of_any_kind_that_extends_what_it_cannot_is_refused(
    text: str, kind: str, workplace: Path, trained: Path
) -> None:
    (workplace / "self.yaml").write_text(text, encoding="utf-8")
    (workplace / "other.yaml").write_text("extends: self.yaml", encoding="utf-8")
    answer = answer_of(*arguments_for(kind, Path("self.yaml"), run=trained, tiny=workplace / "tiny.yaml"))
    assert answer.exception is None, answer.exception
    assert (answer.accepted, answer.code) == (False, 2)
    assert not faults(answer.message, sources=["self.yaml"], changed=[(("extends",), None)]), answer.message


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("seed", "seed"),
        ("=3", "=3"),
        ("", "key=value"),
        ("a..b=3", "a..b"),
        ("seed=[", "seed"),
        ("seed={a: &x 1, b: *x}", "seed"),
        ("seed=!!python/object/apply:os.system ['true']", "seed"),
        ("seed='x", "seed"),
        ("seed.deeper=3", "seed"),
        ("sead=3", "seed"),
        ("optimisation.epoch=3", "epochs"),
        ("optimisation.epochs.more=3", "optimisation.epochs"),
        ("optimisation.epochs=three", "optimisation.epochs"),
        ("optimisation.epochs=true", "optimisation.epochs"),
        ("optimisation.epochs='3'", "optimisation.epochs"),
        ("optimisation.epochs=1" + "0" * 30, "optimisation.epochs"),
        ("optimisation.epochs=1" + "0" * 9000, "optimisation.epochs"),
        ("optimisation=3", "optimisation"),
        ("data.classes.9=3", "data.classes"),
        ("data.classes.x=3", "data.classes"),
        ("data.classes.-1=3", "data.classes"),
        ("data.classes." + "9" * 5000 + "=3", "data.classes"),
        ("circuit=nowhere", "circuit"),
        ("circuit.num_qubits=0", "circuit.num_qubits"),
        ("circuit.num_qubits.x=0", "circuit.num_qubits"),
        ("backend.noise=depolarizing", "noise"),
        ("model.solver.tolerance=1e-3", "model.solver.kind=newton"),
        ("model.solver={tolerance: 1}", "model.solver"),
        ("x." * 3000 + "y=1", "x"),
        ("model=" + "[" * 9000, "model"),
        ("token=my-secret", "token"),
        ("🙂=3", "🙂"),
    ],
    ids=lambda text: text[:40],
)
def test_a_wrong_override_is_answered_with_itself_and_what_would_be_right(
    override: str, named: str, workplace: Path
) -> None:
    answer = answer_of("fit", "tiny.yaml", "--set", override)
    assert answer.exception is None, answer.exception
    assert (answer.accepted, answer.code) == (False, 2)
    assert not faults(answer.message, sources=["--set"]), answer.message
    assert named in answer.message
    assert "my-secret" not in answer.message
