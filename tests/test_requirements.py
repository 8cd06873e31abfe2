"""The pinned requirements say what the documentation says of them."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_the_gpu_requirements_differ_in_aers_build_alone():
    cpu, gpu = pins("requirements.txt"), pins("requirements-gpu.txt")
    assert {line.split("==")[0] for line in cpu ^ gpu} == {"qiskit-aer", "qiskit-aer-gpu"}


def test_every_requirement_is_pinned():
    assert all("==" in line for line in pins("requirements.txt"))
