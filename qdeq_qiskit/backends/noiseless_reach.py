"""Whether a classical computer can follow the noiseless circuit beside a machine that runs it."""

from __future__ import annotations

from qdeq_qiskit.backends.analysis import Factorisation

# Gates times amplitudes of one sample's state. An iteration keeps about 40 bytes and takes 10 to 20 ns for each of them
# and of ten outputs: 40 MB and 0.1 to 0.3 s a sample at this limit, on one core.
_MOST_STEPS = 2**20
# The same over a batch: 4 GB.
_MOST_STEPS_OF_BATCH = 100 * _MOST_STEPS
# Numbers in the weight block's columns, where the circuit has one: 1 GB.
_MOST_COLUMNS = 2**26
_BYTES_PER_STEP = 40
_ALTERNATIVE = "take solver.jacobian=measured, which takes circuits in its place"


def check_reach(parts: Factorisation, samples: int = 1) -> None:
    """Refuses circuits whose noiseless values and Jacobians would take hours, or more memory than there is.

    Args:
        parts: the circuit, split.
        samples: how many are evaluated at once.

    Raises:
        ValueError: it is beyond reach; the message names the alternative.
    """
    qubits = parts.prefix.num_qubits
    if parts.kind != "general":
        if parts.num_columns * 2**qubits > _MOST_COLUMNS:
            raise ValueError(
                f"jacobian: noiseless needs the circuit without noise on this computer, and the weight block of "
                f"{qubits} qubits on {parts.num_columns} amplitudes is too large for it; {_ALTERNATIVE}"
            )
        return
    steps = len(parts.prefix.operations) * 2**qubits
    if steps > _MOST_STEPS:
        raise ValueError(
            f"jacobian: noiseless needs the circuit without noise on this computer, and {_size(parts)} are too many "
            f"for it where every sample's state is evolved by itself; {_ALTERNATIVE}"
        )
    if samples * steps > _MOST_STEPS_OF_BATCH:
        raise ValueError(
            f"jacobian: noiseless needs the circuit without noise on this computer, and {_size(parts)} take about "
            f"{samples * steps * _BYTES_PER_STEP / 1e9:.0f} GB for {samples} samples; take at most "
            f"{_MOST_STEPS_OF_BATCH // steps} samples at once, or solver.jacobian=measured"
        )


def _size(parts: Factorisation) -> str:
    return f"{len(parts.prefix.operations):,} gates on {parts.prefix.num_qubits} qubits"
