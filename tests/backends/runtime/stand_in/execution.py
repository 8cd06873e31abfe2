"""What a processor does: a job's quantum program, run on Aer with a fake backend's noise."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0 import ParamsModel
from ibm_quantum_schemas.executor.version_2_0.models import (
    ItemMetadataModel,
    MetadataModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.fake_provider.executor.run_quantum_program import run_quantum_program
from qiskit_ibm_runtime.options_models.simulator import SimulatorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS

from qdeq_qiskit.backends.reseeding import ReseedingSimulator


def description(kind):
    """The configuration (`conf`) or the properties (`props`) as a service sends them."""
    folder = files("qiskit_ibm_runtime.fake_provider.backends.manila")
    content = json.loads((folder / f"{kind}_manila.json").read_text())
    content["backend_name"] = "ibm_manila"
    if kind == "conf":
        content |= {"simulator": False, "local": False, "default_rep_delay": 250.0}
        content.setdefault("online_date", datetime(2021, 4, 28, tzinfo=UTC).isoformat())
    return content


@cache
def simulator():
    return ReseedingSimulator(noise_model=NoiseModel.from_backend(FakeManilaV2()))


def digest(params):
    """A name of what is asked for, the same for the same circuits, angles and shots."""
    program, _ = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].decoder(ParamsModel.model_validate(params))
    name = hashlib.sha256(str(program.shots).encode())
    for item in program.items:
        name.update(json.dumps([*item.circuit.count_ops().items()]).encode())
        arguments = item.samplex_arguments
        for spec in sorted(arguments.specs, key=lambda spec: spec.name):
            if spec.name in arguments:
                name.update(np.ascontiguousarray(arguments[spec.name]).tobytes())
    return name.hexdigest()


def execute(params):
    """The result of a job, as JSON, and the seconds that it is charged with; the same for the same request."""
    program, _ = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].decoder(ParamsModel.model_validate(params))
    seed = int(digest(params)[:7], 16)
    for item in program.items:
        item.samplex.finalize()
    options = SimulatorOptions(seed_simulator=seed, angle_decimals=15)
    result = run_quantum_program(simulator(), program, options)
    model = QuantumProgramResultModel(
        data=[
            QuantumProgramResultItemModel(
                results={name: CompressedTensorModel.from_numpy(np.asarray(value)) for name, value in item.items()},
                metadata=ItemMetadataModel(),
            )
            for item in result
        ],
        metadata=MetadataModel(chunk_timing=[]),
        passthrough_data=params["quantum_program"]["passthrough_data"],
        semantic_role=params["quantum_program"]["semantic_role"],
    )
    executions = program.shots * sum(item.size() for item in program.items)
    return model.model_dump_json(), 2.0 + 0.0003 * executions
