"""What was measured as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .contenders import contenders
from .layer_peer import SAME_CIRCUIT
from .report_rows import OURS

Record = dict[str, Any]
ORDER = {peer.name: place for place, peer in enumerate(contenders())}
_WORDS = {"forward": "Forward", "jacobian": "Jacobian", "step": "Training step"}


def full_tables(details: Record) -> str:
    """A table for each encoding and operation, then the solvers; reasons are numbered beneath."""
    records: list[Record] = details["cells"]
    reasons: dict[str, int] = {}
    parts = []
    for encoding in _in_order(record["encoding"] for record in records):
        for operation in _WORDS:
            chosen = [r for r in records if r["encoding"] == encoding and r["operation"] == operation]
            if chosen:
                parts.append(f"### {_WORDS[operation]}, {encoding} encoding\n\n{_table(chosen, reasons)}")
    notes = "\n".join(f"{number}. {reason}" for reason, number in reasons.items())
    return "\n\n".join(
        [*parts, *(["Not measured, and why:\n\n" + notes] if notes else []), _solvers(details["solvers"])]
    )


def short_table(details: Record) -> str:
    """At most eight rows: each library at 4, 8 and 10 qubits, batch 256; of its ways of making a step the fastest."""
    records = [record for record in details["cells"] if record["batch"] == 256]
    lines = [
        "| batch of 256, one thread | forward, 4 qubits | Jacobian, 4 qubits "
        "| step, 4 qubits | step, 8 qubits | step, 10 qubits |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    chosen = {"amplitude": [OURS, *_OTHERS, _LIGHTNING], "angle": [OURS, *_OTHERS, _STOCK]}
    for encoding, peers in chosen.items():
        for peer in peers:
            columns = [("forward", 4), ("jacobian", 4), ("step", 4), ("step", 8), ("step", 10)]
            cells = [_short_cell(records, encoding, peer, *column) for column in columns]
            name = f"**{peer}**" if peer == OURS else peer
            lines.append(f"| {encoding}: {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


_LIGHTNING, _STOCK = "PennyLane lightning.qubit, adjoint", "stock Qiskit, ParamShift on Aer"
_OTHERS = ("TorchQuantum", "PennyLane default.qubit, backprop")
ALSO = {"TorchQuantum": "TorchQuantum, torchdeq", _OTHERS[1]: "PennyLane default.qubit, torchdeq"}
"""The same library with another step."""


def _short_cell(records: Sequence[Record], encoding: str, peer: str, operation: str, qubits: int) -> str:
    precision = "double" if peer == _LIGHTNING else "single"
    ways = [peer, ALSO[peer]] if operation == "step" and peer in ALSO else [peer]
    found = [_find(records, encoding, way, precision, operation, qubits, 256) for way in ways]
    there = [record for record in found if record is not None]
    if not there:
        return "–"
    known = [record for record in there if record["ms"] is not None or record["estimate_ms"] is not None]
    if not known:
        reason = there[0]["reason"]
        return "too long" if "beyond" in reason else "not installed" if "not installed" in reason else "not possible"
    best = min(known, key=lambda record: record["ms"] or record["estimate_ms"])
    value = best["ms"] or best["estimate_ms"]
    about = "" if best["ms"] is not None else "≈ "
    ratio = _ratio(records, best, value)
    return about + milliseconds(value) + (f" ({about}{ratio})" if ratio and peer != OURS else "")


def _table(records: Sequence[Record], reasons: dict[str, int]) -> str:
    sizes = sorted({(record["qubits"], record["batch"]) for record in records})
    entries = _in_order((record["peer"], record["precision"]) for record in records)
    entries.sort(key=lambda entry: ORDER.get(entry[0], len(ORDER)))
    heads = " | ".join(f"{qubits} qubits, batch {batch}" for qubits, batch in sizes)
    lines = [f"| | {heads} |", "|---|" + "---:|" * len(sizes)]
    none: dict[str, list[str]] = {}
    encoding, operation = records[0]["encoding"], records[0]["operation"]
    for peer, precision in entries:
        found = [_find(records, encoding, peer, precision, operation, *size) for size in sizes]
        if all(record is None or record["reason"] == SAME_CIRCUIT for record in found):
            continue
        if len({record["reason"] for record in found if record is not None}) == 1 and found[0] and found[0]["reason"]:
            none.setdefault(found[0]["reason"], []).append(peer)
            continue
        words = [_cell(records, record, reasons) for record in found]
        unpenalised = operation == "step" and any(record is not None and not record["penalised"] for record in found)
        label = f"{peer}, {precision}" + (", without penalty" if unpenalised else "")
        lines.append(f"| {'**' + label + '**' if peer == OURS else label} | {' | '.join(words)} |")
    for reason, names in none.items():
        lines.append(f"\nNot in this table: {', '.join(f'*{name}*' for name in _in_order(names))}. Why: {reason}.")
    return "\n".join(lines)


def _cell(records: Sequence[Record], record: Record | None, reasons: dict[str, int]) -> str:
    if record is None:
        return ""
    if record["ms"] is None:
        number = reasons.setdefault(record["reason"], len(reasons) + 1)
        about = f"≈ {milliseconds(record['estimate_ms'])} " if record["estimate_ms"] else ""
        return f"{about}[{number}]"
    ratio = _ratio(records, record, record["ms"])
    return milliseconds(record["ms"]) + (f" ({ratio})" if ratio and record["peer"] != OURS else "")


def _ratio(records: Sequence[Record], record: Record, value: float) -> str:
    """How many times as long as our torch engine in the same precision."""
    keys = ("operation", "qubits", "batch")
    ours = _find(records, record["encoding"], OURS, record["precision"], *(record[key] for key in keys))
    if ours is None or ours["ms"] is None:
        return ""
    ratio = value / ours["ms"]
    return f"{float(f'{ratio:.2g}'):,.0f}×" if ratio >= 10 else f"{ratio:.2g}×"


def _find(
    records: Sequence[Record], encoding: str, peer: str, precision: str, operation: str, qubits: int, batch: int
) -> Record | None:
    wanted = {
        "encoding": encoding,
        "peer": peer,
        "precision": precision,
        "operation": operation,
        "qubits": qubits,
        "batch": batch,
    }
    return next((record for record in records if all(record[key] == value for key, value in wanted.items())), None)


def _solvers(records: Sequence[Record]) -> str:
    lines = [
        "### Solvers: torchdeq's and ours on the same f\n",
        "| encoding | solver | library | ms | evaluations of f a sample | solved to 1e-4 |",
        "|---|---|---|---:|---:|---:|",
    ]
    for record in sorted(records, key=lambda each: (each["encoding"], each["solver"], each["library"])):
        if record["ms"] is None:
            lines.append(
                f"| {record['encoding']} | {record['solver']} | {record['library']} | {record['reason']} | | |"
            )
            continue
        lines.append(
            f"| {record['encoding']} | {record['solver']} | {record['library']} | {record['ms']:.3g} "
            f"| {record['evaluations']:.1f} | {record['converged']:.1%} |"
        )
    return "\n".join(lines)


def milliseconds(value: float) -> str:
    """In the unit that reads best."""
    if value >= 7_200_000:
        return f"{value / 3_600_000:,.3g} h"
    if value >= 60_000:
        return f"{value / 60_000:,.3g} min"
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} ms"


def _in_order(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
