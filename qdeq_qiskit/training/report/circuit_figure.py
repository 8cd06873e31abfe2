"""A circuit drawn: wires, boxes and links, coloured by what drives each gate.

Qiskit's own matplotlib drawer needs a LaTeX parser that is no dependency of ours, and has no room for an encoder of
a hundred gates; here a long encoder is one box, and the trainable part is drawn in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, Patch, Rectangle

from qdeq_qiskit.circuits import QNNCircuit

COLUMNS_PER_BAND = 30
LONG_ENCODER = 40
WIRE = "#9aa5b1"
INK = "#1f2933"
FILLS = {"input": "#a9cce3", "weight": "#f3c5b5", "fixed": "#e4e7eb"}
_ENCODER_COLUMNS = 4
LABELS = {"sx": "√X", "sxdg": "√X†", "sdg": "S†", "tdg": "T†"}


@dataclass(frozen=True)
class _Gate:
    """One gate to draw: its column, its wires (controls first), its label, and what drives it."""

    column: int
    width: int
    wires: tuple[int, ...]
    controls: int
    label: str
    fill: str


def circuit_figure(qnn: QNNCircuit) -> Figure:
    """The circuit from left to right, wrapped into bands, Z read out on the right."""
    gates, columns = _placed(qnn)
    bands = -(-columns // COLUMNS_PER_BAND)
    span = max(_ENCODER_COLUMNS, -(-columns // bands))  # columns in a band, all bands but the last being full
    wires = qnn.num_qubits
    band_height = wires + 1.0
    with mpl.rc_context({"font.family": "DejaVu Sans", "text.color": INK}):
        figure = Figure(figsize=(0.36 * (span + 3), 0.36 * (bands * band_height + 1.2)))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-1.8, span + 1.2)
        axes.set_ylim(-(bands * band_height) - 0.2, 1.0)
        axes.set_axis_off()
        for band in range(bands):
            end = min(columns - band * span, span)
            for wire in range(wires):
                y = -band * band_height - wire
                axes.plot((-0.7, end - 0.3), (y, y), color=WIRE, linewidth=0.9, zorder=1)
                axes.text(-0.9, y, f"q{wire}", ha="right", va="center", fontsize=8)
                if band == bands - 1:
                    axes.text(end - 0.1, y, "⟨Z⟩" if _reads_z(qnn) else "", ha="left", va="center", fontsize=8)
        for gate in gates:
            _draw(axes, gate, *divmod(gate.column, span), band_height)
        present = [key for key in FILLS if any(gate.fill == key for gate in gates)]
        names = {"input": "driven by the image and the state", "weight": "trainable", "fixed": "fixed"}
        axes.legend(
            handles=[Patch(facecolor=FILLS[key], edgecolor="none", label=names[key]) for key in present],
            loc="lower left",
            bbox_to_anchor=(0.0, 0.0),
            ncols=3,
            frameon=False,
            fontsize=8,
            borderaxespad=0.2,
        )
    return figure


def _placed(qnn: QNNCircuit) -> tuple[list[_Gate], int]:
    """Every gate in the first column that is free on all wires it spans; and the number of columns."""
    circuit = qnn.circuit
    inputs, weights = set(qnn.input_parameters), set(qnn.weight_parameters)
    entries = []
    for instruction in circuit.data:
        parameters = {p for value in instruction.operation.params for p in getattr(value, "parameters", ())}
        fill = "input" if parameters & inputs else "weight" if parameters & weights else "fixed"
        wires = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        if instruction.operation.name != "barrier":
            entries.append((instruction.operation, wires, fill))
    encoder = max((k + 1 for k, entry in enumerate(entries) if entry[2] == "input"), default=0)
    free = [0] * circuit.num_qubits
    gates = []
    if encoder > LONG_ENCODER and all(entry[2] != "weight" for entry in entries[:encoder]):
        touched = sorted({wire for entry in entries[:encoder] for wire in entry[1]})
        label = f"encoder\n{encoder} gates\n{len(inputs)} angles"
        gates.append(_Gate(0, _ENCODER_COLUMNS, tuple(range(touched[0], touched[-1] + 1)), 0, label, "input"))
        for wire in range(touched[0], touched[-1] + 1):
            free[wire] = _ENCODER_COLUMNS
        entries = entries[encoder:]
    for operation, wires, fill in entries:
        span = range(min(wires), max(wires) + 1)
        column = max(free[wire] for wire in span)
        # A link must not be torn by the end of a band, and no gate is: each is one column wide.
        for wire in span:
            free[wire] = column + 1
        controls = getattr(operation, "num_ctrl_qubits", 0)
        name = getattr(operation, "base_gate", operation).name if controls else operation.name
        gates.append(_Gate(column, 1, wires, controls, LABELS.get(name, name.upper()), fill))
    return gates, max(free)


def _draw(axes: Axes, gate: _Gate, band: int, column: int, band_height: float) -> None:
    def height(wire: int) -> float:
        return -band * band_height - wire

    if gate.width > 1:
        top, bottom = height(min(gate.wires)), height(max(gate.wires))
        box = FancyBboxPatch(
            (column - 0.35, bottom - 0.35),
            gate.width - 0.3,
            top - bottom + 0.7,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=FILLS[gate.fill],
            edgecolor="none",
            zorder=2,
        )
        axes.add_patch(box)
        axes.text(
            column - 0.35 + (gate.width - 0.3) / 2,
            (top + bottom) / 2,
            gate.label,
            ha="center",
            va="center",
            fontsize=8,
            zorder=3,
            linespacing=1.5,
        )
        return
    if len(gate.wires) > 1:
        ends = [height(wire) for wire in gate.wires]
        axes.add_line(Line2D((column, column), (min(ends), max(ends)), color=INK, linewidth=1.0, zorder=2))
    for wire in gate.wires[: gate.controls]:
        axes.add_patch(Circle((column, height(wire)), 0.11, color=INK, zorder=3))
    for wire in gate.wires[gate.controls :]:
        _target(axes, gate, column, height(wire))


def _target(axes: Axes, gate: _Gate, x: float, y: float) -> None:
    if gate.controls and gate.label == "Z":
        axes.add_patch(Circle((x, y), 0.11, color=INK, zorder=3))
    elif gate.controls and gate.label == "X":
        axes.add_patch(Circle((x, y), 0.24, facecolor="white", edgecolor=INK, linewidth=1.0, zorder=3))
        axes.add_line(Line2D((x - 0.24, x + 0.24), (y, y), color=INK, linewidth=1.0, zorder=4))
        axes.add_line(Line2D((x, x), (y - 0.24, y + 0.24), color=INK, linewidth=1.0, zorder=4))
    else:
        axes.add_patch(
            Rectangle((x - 0.39, y - 0.34), 0.78, 0.68, facecolor=FILLS[gate.fill], edgecolor="none", zorder=3)
        )
        size = 7 if len(gate.label) <= 2 else 5
        axes.text(x, y, gate.label[:5], ha="center", va="center", fontsize=size, zorder=4)


def _reads_z(qnn: QNNCircuit) -> bool:
    labels: Iterable[str] = (label for observable in qnn.observables for label in observable.paulis.to_labels())
    return all(sorted(label)[-1] == "Z" and label.count("Z") == 1 and set(label) <= set("IZ") for label in labels)
