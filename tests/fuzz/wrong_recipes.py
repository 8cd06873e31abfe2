"""Wrong recipes, drawn: a shipped one with a few things done to it.

A mutated value may be any piece of YAML, also one that is no value, so it is put into the dumped text last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

REPOSITORY = Path(__file__).parents[2]
KINDS = ("training", "circuits", "backends", "noise", "studies")
Keys = tuple[str | int, ...]

# What takes seconds to compile, if it is right: drawn by the slow test alone.
NEEDS_A_GPU = {"aer_gpu", "torch_gpu"}
LARGE = {"fake_brisbane", "fake_fez", "fake_kingston", "fake_marrakesh", "fake_miami", "fake_pittsburgh"} | {
    "fake_sherbrooke", "fake_torino", "snapshot_fez", "snapshot_torino", "ibm", "snapshots"
}  # fmt: skip
ROWS_OF_TEN_QUBITS = ("mnist10-", "fashion10", "cifar10-")  # the rows of four qubits differ in the same

# Pieces of YAML that hardly any key takes.
TYPES = (
    "three", "'4'", "'true'", "''", "null", "~", "true", "yes", "[]", "[1, 2]", "[[[]]]", "{}", "{a: 1}",
    "{kind: nothing}",
    "3.5", ".nan", ".inf", "-.inf", "nan", "2024-01-01", "2024-01-01T10:00:00Z", "010", "0o17", "0x1F", "1_000", "1:30",
    "1e3", "é", "量子", '"\\0"', '"\\e[31mred"', '"line\\nbreak"', "👾", "x" * 3000, "[" + "1, " * 500 + "1]", "{1: 2}",
    "[null]",
    "[true]", "../../../etc/passwd", "/etc/passwd", "~nobody/x.yaml", "a/" * 2500 + "b.yaml", ".", "no_such.yaml", "-",
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1", "2", "0.0", "-0.5", "1.5", "1e308", "-1e308", "1e-320", "9223372036854775808", "1" + "0" * 30,
    "1" * 5000, "0x" + "f" * 5000, "40", "1000000000", "1000000000000000000", "1000000",
)  # fmt: skip
NO_YAML = (
    "*alias",
    "&anchor 1",
    "!!binary aGk=",
    "!!python/object:os.system x",
    "!!timestamp 2024-01-01",
    "{",
    "'",
    "@x",
    "%",
)

# Parts that do not go together, by kind: keys that are set, with their values.
CONTRADICTIONS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "training": (
        {"extends": "nowhere"},
        {"extends": "wrong.yaml"},
        {"extends": "depolarizing"},
        {"extends": "[digits, mnist4]"},
        {"data.classes": "[3, 3]"},
        {"data.classes": "[3]"},
        {"data.classes": "[0, 10]"},
        {"data.limit": "2"},
        {"data.test_fraction": "0.0001"},
        {"data.validation_fraction": "0.99999"},
        {"data.name": "mnist"},
        {"circuit": "qdeq10-amplitude"},
        {"circuit": "depolarizing"},
        {"circuit": "circuits/no.yaml"},
        {"circuit": "{num_qubits: 3, encoder: {kind: amplitude, num_amplitudes: 9}, ansatz: {kind: real_amplitudes}}"},
        {"circuit": "{num_qubits: 40, encoder: {kind: amplitude}, ansatz: {kind: real_amplitudes}}"},
        {"circuit": "{num_qubits: 30, encoder: {kind: angle, preset: ryzxy}, ansatz: {kind: real_amplitudes}}"},
        {"model.mode": "direct", "model.solver": "{kind: newton}", "model.layers": "1000000000"},
        {"model.mode": "coherent", "model.layers": "1000000000"},
        {"model.mode": "direct", "model.warmup_steps": "5"},
        {"model.layers": "3"},
        {"model.adjoint": "{kind: shine}"},
        {"model.solver": "{kind: newton}", "model.adjoint": "{kind: shine}"},
        {"model.solver": "{kind: sampled}", "model.adjoint": "{kind: unrolled}"},
        {"model.solver": "{kind: sampled}", "model.penalty": "{kind: hutchinson}"},
        {"model.solver": "{tolerance: 0.1}"},
        {"model.solver": "{kind: newton, tolerance: true}"},
        {"model.solver": "{kind: newton, pseudo_steps: [x]}"},
        {"model.solver": "{kind: newton, pseudo_steps: 3}"},
        {"model.solver": "{kind: newton, memory: 3}"},
        {"model.solver": "{kind: anderson, memory: 1000000000000}"},
        {"model.solver": "{kind: krasnoselskii_mann, average: maybe}"},
        {"model.solver": "{kind: newton, max_iterations: 1.5}"},
        {"model.adjoint": "{kind: phantom, steps: -1}"},
        {"model.adjoint": "{kind: implicit, solver: newton}"},
        {"model.adjoint": "{kind: implicit, solver: {tolerance: 1}}"},
        {"model.adjoint": "{kind: implicit, solver: 7}"},
        {"model.penalty": "{kind: parameter_shift, columns: 10000}"},
        {"model.penalty": "{kind: reduced, weight: .inf}"},
        {"model.penalty": "{kind: hutchinson, probes: 0, space: outer}"},
        {"model.trainable": "blok"},
        {"model.warmup_steps": "1000000000000000000"},
        {"model.features.pool": "{kernel: 100}"},
        {"model.features.pool": "{kernel: 2, padding: 3}"},
        {"model.features.pool": "{kernel: 2, stride: 1}"},
        {"model.features.std": ".inf"},
        {"model.features.mean": ".nan"},
        {"optimisation.epochs": "1000000000000000000"},
        {"optimisation.batch_size": "1" + "0" * 30},
        {"optimisation.threads": "1" + "0" * 30},
        {"optimisation.threads": "0"},
        {"optimisation.early_stopping_patience": "1000000", "optimisation.epochs": "2"},
        {"optimisation.gradient_clip": ".nan"},
        {"optimisation.optimiser": "adam"},
        {"optimisation.optimiser": "{weight_decay: 0.1}"},
        {"optimisation.optimiser": "{kind: sgd, nesterov: true}"},
        {"optimisation.optimiser": "{kind: adam, betas: [0.9]}"},
        {"optimisation.optimiser": "{kind: adamw}", "model.trainable": "random_layer"},
        {"optimisation.schedule": "{kind: step}"},
        {"optimisation.schedule": "{kind: plateau, factor: 1}"},
        {"optimisation.schedule": "{kind: cosine, T_max: 0, warmup: 5}"},
        {"optimisation.track_spectral_radius": "true", "model.mode": "direct"},
        {"optimisation.track_spectral_radius": "true", "model.test_solver": "{kind: picard}"},
        {"model.test_solver": "{kind: newton}", "model.solver": "{kind: broyden}", "model.adjoint": "{kind: shine}"},
        {"model.penalty": "{kind: reduced, schedule: {start: -1, epochs: 2}}"},
        {"backend": "{kind: exact, noise: depolarizing}"},
        {"backend": "{kind: exact, engine: pennylane}"},
        {"backend": "{kind: exact, device: tpu}"},
        {"backend": "{kind: exact, device: 'cuda:99'}"},
        {"backend": "{kind: noisy, noise: {sources: [{kind: readout, error: 0.1, two_qubit: 0.1}]}}"},
        {"backend": "{kind: noisy, noise: nowhere}"},
        {"backend": "{kind: ibm, name: ibm_nowhere, shots: 100}"},
        {"backend": "ibm"},
        {"seed": "18446744073709551616"},
    ),
    "circuits": (
        {"num_qubits": "1000000000"},
        {"num_qubits": "40", "encoder": "{kind: amplitude}"},
        {"num_qubits": "30", "encoder": "{kind: angle, preset: ryzxy}"},
        {"num_qubits": "2", "encoder": "{kind: amplitude, num_amplitudes: 5}"},
        {"num_qubits": "2"},
        {"encoder": "{kind: angle, preset: ryzxy, gates: [[rx, 0]]}"},
        {"encoder": "{kind: angle}"},
        {"encoder": "{kind: angle, gates: [[rx, 99]]}"},
        {"encoder": "{kind: angle, gates: [[rx]]}"},
        {"encoder": "{kind: angle, gates: [[h, 0]]}"},
        {"encoder": "{kind: angle, gates: []}"},
        {"encoder": "{kind: angle, preset: alternating, inputs_per_wire: 1000000000}"},
        {"encoder": "{kind: angle, preset: ryzxy, inputs_per_wire: 2}"},
        {"ansatz": "{kind: efficient_su2, reps: 1000000}"},
        {"ansatz": "{kind: real_amplitudes, reps: 1000000000, entanglement: full}"},
        {"ansatz": "{kind: efficient_su2, su2_gates: [h]}"},
        {"ansatz": "{kind: efficient_su2, su2_gates: []}"},
        {"ansatz": "{kind: random_layer, num_gates: 1000000000}"},
        {"ansatz": "{kind: paper_block, blocks: 1000000}"},
        {"ansatz": "{kind: qdeq, seed: 4294967296}"},
        {"readout": "{kind: paulis, observables: [ZZ]}"},
        {"readout": "{kind: paulis, observables: [ABCD]}"},
        {"readout": "{kind: paulis, observables: []}"},
        {"readout": "{kind: paulis, observables: [{}]}"},
        {"readout": "{kind: paulis, observables: [{IIIZ: .inf}]}"},
        {"readout": "{kind: paulis, observables: [{IIIZ: true}]}"},
        {"readout": "{kind: paulis, observables: ZZZZ}"},
        {"readout": "{kind: paulis, observables: [IIII]}"},
    ),
    "backends": (
        {"kind": "exact", "shots": "5"},
        {"kind": "shots", "noise": "depolarizing"},
        {"kind": "noisy"},
        {"engine": "pennylane"},
        {"device": "cuda:99"},
        {"two_qubit": "0.1"},
        {"shots": "0"},
        {"shots": "1000000000000000000000"},
        {"shots": "null", "weight_gradient": "spsa"},
        {"shots": "100", "weight_gradient": "{kind: spsa, repetitions: 0}"},
        {"shots": "100", "precision": "0.1"},
        {"mitigation": "trx"},
        {"mitigation": "matrix+trex"},
        {"mitigation": "trex", "shots": "null"},
        {"mitigation": "{zne: {noise_factors: [3, 1]}}", "shots": "100"},
        {"mitigation": "{zne: {noise_factors: [1, .inf]}}", "shots": "100"},
        {"mitigation": "{readout: matrix, randomizations: 1000000000000}"},
        {"mitigation": "[trex]"},
        {"mode": "session"},
        {"resilience": "3"},
        {"resilience": "true"},
        {"resilience": "1", "mitigation": "trex"},
        {"token": "my-secret-token"},
        {"solver": "{kind: newton}"},
        {"solver": "{kind: sampled, precision: much}"},
        {"name": "fake_tornio"},
        {"name": "''"},
        {"noise": "depolarising"},
        {"noise": "fake_manila", "basis_gates": "[cx]"},
        {"basis_gates": "[nothing]"},
        {"basis_gates": "[]"},
        {"calibration": "no.json"},
        {"name": "fake_manila", "calibration": "no.json"},
        {"scale": "1e9"},
        {"seed": "18446744073709551616"},
        {"transpiler_seed": "1" + "0" * 30},
        {"optimization_level": "4"},
        {"optimization_level": "true"},
        {"precision": "half"},
        {"method": "effective", "mitigation": "trex", "shots": "10"},
    ),
    "noise": (
        {"sources": "[]"},
        {"sources": "[{kind: depolarizing}]"},
        {"sources": "[{kind: depolarizing, two_qubit: true}]"},
        {"sources": "[{kind: depolarizing, two_qubit: '0.1'}]"},
        {"sources": "[{kind: depolarizing, two_qubit: 0.5}]", "scale": "3"},
        {"sources": "[{kind: snapshot, name: fake_manila}, {kind: snapshot, name: fake_nairobi}]"},
        {"sources": "[{kind: snapshot}]"},
        {"sources": "[{kind: snapshot, name: fake_manila, calibration: x.json}]"},
        {"sources": "[{kind: snapshot, calibration: x.json}]"},
        {"sources": "[{kind: snapshot, name: fake_manilla}]"},
        {"sources": "[{kind: snapshot, name: fake_manila}]", "scale": "1e300"},
        {"sources": "[{kind: thermal_relaxation, t1: 1.0e-5, t2: 3.0e-5, durations: {two_qubit: 1.0e-7}}]"},
        {"sources": "[{kind: thermal_relaxation, t1: 1e-320, t2: 1e-320, durations: {two_qubit: 1e300}}]"},
        {"sources": "[{kind: thermal_relaxation, t1: 1, t2: 1, durations: {}}]"},
        {"sources": "[{kind: readout, error: [0.1]}]"},
        {"sources": "[{kind: readout, error: true}]"},
        {"sources": "[{kind: aer, model: x}]"},
        {"sources": "[{kind: over_rotation, two_qubit: 1e308}]", "scale": "1e308"},
        {"sources": "[{kind: depolarizing, two_qubit: 0.1, virtual: [nothing]}]"},
        {"sources": "depolarizing"},
        {"scale": "-0.5"},
        {"twirled": "2"},
    ),
    "studies": (
        {"training": "nowhere"},
        {"training": "depolarizing"},
        {"training": "{data: {name: digits}}"},
        {"noise": "[depolarising]"},
        {"noise": "[depolarizing, depolarizing]"},
        {"noise": "[{recipe: null, scales: [1, 2]}]"},
        {"noise": "[{recipe: {sources: []}, name: x}]"},
        {"noise": "[{recipe: depolarizing, scales: [1000]}]"},
        {"noise": "[{recipe: depolarizing, scales: [1, 1]}]"},
        {"noise": "[{sources: []}]"},
        {"models": "[]"},
        {"models": "[{name: a}, {name: a}]"},
        {"models": "[{name: a, runs: nowhere}]"},
        {"models": "[{name: a, runs: x, set: [seed=1]}]"},
        {"models": "[{name: a, set: [model.moed=direct]}]"},
        {"models": "[{name: a, set: [nothing]}]"},
        {"models": "[{name: a, set: [model.mode=direct, model.layers=1000000000]}]"},
        {"models": "[{name: a, set: [circuit=qdeq10-angle]}]"},
        {"models": "[{name: ../x}]"},
        {"seeds": "[1, 1]"},
        {"seeds": "[true]"},
        {"seeds": "[]"},
        {"shots": "[null, null]"},
        {"shots": "[1.5]"},
        {"mitigation": "[zen]"},
        {"mitigation": "[{name: x, readot: trex}]"},
        {"mitigation": "[trex]"},
        {"backend": "{shots: 5}"},
        {"backend": "{optimization_level: 9}"},
        {"backend": "{basis_gates: [nothing]}"},
        {"backend": "{basis_gates: 5}"},
        {"backend": "{encoder_noize: true}"},
        {"depth_target": "fake_tornio"},
        {"tolerance": "1"},
        {"samples": "0"},
        {"samples": "1" + "0" * 30},
        {"evaluation_seeds": "[0, 0]"},
    ),
}


@dataclass(frozen=True)
class WrongRecipe:
    """One draw.

    Attributes:
        kind: the folder of the recipe that it was made from.
        base: that recipe's name.
        text: the file.
        changed: what was done: the keys, and the piece of YAML that was put there; None for a key that was taken away
            or renamed (then the new name stands first, the old one after it).
    """

    kind: str
    base: str
    text: str
    changed: tuple[tuple[Keys, str | None], ...] = field(default=())


def shipped(kind: str, *, large: bool = False) -> list[str]:
    """Names of shipped recipes."""
    names = sorted(path.stem for path in (REPOSITORY / kind).glob("*.yaml"))
    names = [name for name in names if name not in NEEDS_A_GPU]
    return [name for name in names if large or not (name in LARGE or name.startswith(ROWS_OF_TEN_QUBITS))]


def tree_of(kind: str, name: str) -> dict[str, Any]:
    """A shipped recipe, with few images and small studies."""
    tree = _whole(kind, name)
    if kind == "training":
        tree["data"] = {**tree["data"], "name": "digits", "limit": 20}
        features = tree.get("model", {}).get("features", {})
        if "padding" in features.get("pool", {}):
            features["resize"] = 28
        elif "pool" in features:
            features["pool"] = {"kernel": 2}
    if (kind, name) == ("backends", "ibm"):
        tree["name"] = "fake_torino"  # a processor itself is refused by the command, whatever else there is
    if kind == "studies":
        tree |= {"seeds": [0], "models": tree["models"][:2], "noise": tree.get("noise", [])[:1] or ["depolarizing"]}
    return tree


def _whole(kind: str, name: str) -> dict[str, Any]:
    """A shipped recipe with what it takes over from others written out."""
    tree: dict[str, Any] = yaml.safe_load((REPOSITORY / kind / f"{name}.yaml").read_text(encoding="utf-8"))
    return _laid_over(_whole(kind, tree.pop("extends")), tree) if "extends" in tree else tree


def _laid_over(base: Any, tree: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(tree, dict) or tree.get("kind") not in (None, base.get("kind")):
        return tree
    return base | {key: _laid_over(base.get(key), value) for key, value in tree.items()}


@st.composite
def wrong_recipes(draw: st.DrawFn, kind: str, *, large: bool = False) -> WrongRecipe:
    """One to three things done to a shipped recipe."""
    base = draw(st.sampled_from(shipped(kind, large=large)))
    tree = tree_of(kind, base)
    if kind == "training" and draw(st.booleans()):  # what is taken away is then that of another recipe
        tree = {"extends": "digits", **tree}
    changed: list[tuple[Keys, str | None]] = []
    pieces: list[str] = []

    def put(keys: Keys, piece: str) -> None:
        node: Any = tree
        for key in keys[:-1]:
            below = node.get(key) if isinstance(node, dict) else node[key]
            if not isinstance(below, dict | list):
                below = node[key] = {}
            node = below
        node[keys[-1]] = f"@@{len(pieces)}@@"
        pieces.append(piece)
        changed.append((keys, piece))

    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        places = [keys for keys in _places(tree) if not str(_at(tree, keys)).startswith("@@")]
        what = draw(
            st.sampled_from(
                [
                    "contradict",
                    "missing",
                    "near",
                    "far",
                    "type",
                    "type",
                    "type",
                    "type",
                    "number",
                    "number",
                    "number",
                    "contradict",
                    "contradict",
                    "no yaml",
                ]
            )
        )
        if what == "contradict" or not places:
            for name, piece in draw(st.sampled_from(CONTRADICTIONS[kind])).items():
                put(tuple(name.split(".")), piece)
            continue
        keys = draw(st.sampled_from(places))
        holder, last = _at(tree, keys[:-1]), keys[-1]
        if what == "missing" or isinstance(last, int):
            changed.append((keys, None))
            del holder[last]
        elif what in ("near", "far"):
            new = draw(
                _misspelt(last) if what == "near" else st.sampled_from(["zzz", "Größe", "", "a b", "x" * 300, "kind "])
            )
            holder[new] = holder.pop(last)
            changed += [((*keys[:-1], new), None), (keys, None)]  # the one is unknown, the other may be missing
        else:
            pool = {"type": TYPES, "number": NUMBERS, "no yaml": NO_YAML}[what]
            put(keys, draw(st.sampled_from(pool)))
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=10**9)
    for number, piece in enumerate(pieces):
        text = text.replace(f"'@@{number}@@'", piece)
    return WrongRecipe(kind, base, text, tuple(changed))


def _misspelt(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([f"{name}s", name[:-1], name.upper(), name[1:] + name[0], name.replace("_", "-") + "e"])


def _places(node: Any, above: Keys = ()) -> Iterator[Keys]:
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*above, key)
        yield from _places(value, (*above, key))


def _at(node: Any, keys: Keys) -> Any:
    for key in keys:
        node = node[key]
    return node


# Whole files that are no recipes, made from the text of one.
def broken_files(text: str) -> dict[str, bytes]:
    """Files that are no recipe, by what is wrong with them."""
    first = text.splitlines()[0]
    laughs = "\n".join(["a: &a [x, x, x, x, x, x, x, x, x]"] + [
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(9)
    ])  # fmt: skip
    return {
        "a tab": text.replace("  ", "\t").encode() + b"\tx: 1\n",
        "a duplicate key": (text + first + "\n").encode(),
        "an unclosed quote": (text + "other: 'open\n").encode(),
        "an unclosed bracket": (text + "other: [1, 2\n").encode(),
        "two documents": (text + "---\n" + text).encode(),
        "binary": bytes(range(256)) * 4,
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
        "UTF-16": text.encode("utf-16"),
        "Latin-1": (text + "other: Größe\n").encode("latin-1"),
        "a NUL": b"a: \x00\n",
        "nothing": b"",
        "only a comment": b"# nothing\n",
        "a list": b"- 1\n- 2\n",
        "a word": b"word\n",
        "a number": b"3\n",
        "null": b"null\n",
        "a colon in a text": b"description: this: that\n",
        "10 MB": b"description: " + b"x" * 10_000_000,
        "10,000 levels": b"a: " + b"[" * 10_000 + b"]" * 10_000,
        "10,000 levels of mappings": b"{a: " * 10_000 + b"1" + b"}" * 10_000,
        "indented ever deeper": b"".join(b" " * n + b"a:\n" for n in range(600)),
        "a billion laughs": laughs.encode(),
        "a recursive alias": b"a: &a [*a]\n",
        "a merge key": b"<<: {a: 1}\nb: 2\n",
        "a long list": b"a: [" + b"1," * 499_000 + b"1]\n",
        "many keys": b"\n".join(b"key%d: 1" % n for n in range(50_000)),
        "a key that is a list": b"? [1, 2]\n: 3\n",
        "a number as key": b"1: 2\n",
        "an unknown tag": b"a: !nothing 1\n",
        "a directive": b"%YAML 9.9\n---\na: 1\n",
        "a long integer": b"seed: " + b"9" * 5000 + b"\n",
    }
