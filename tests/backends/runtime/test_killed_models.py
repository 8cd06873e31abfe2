"""A trained model's solve at the service, whose processes are killed."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.slow
def test_a_trained_models_solve_survives_kills_with_the_same_numbers_and_no_evaluation_twice(service, tmp_path):
    import trained_model  # what is heavy, for this test alone

    run = trained_model.train(tmp_path)
    script = Path(__file__).parent / "killing.py"
    outputs = []
    for name, kills in (("undisturbed", 0), ("killed", 12)):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, str(script), str(folder), str(kills), str(service.port), str(run)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
        outputs.append(done.stdout.splitlines())
    reference = np.array(outputs[0][0].split()[1:], dtype=float)
    assert len(reference) > 20
    assert "killed 12" in outputs[1][-1]
    for line in outputs[1]:
        what, *values = line.split()
        if what == "solved":
            np.testing.assert_array_equal(np.array(values, dtype=float), reference)
        if what == "evaluated":
            assert Counter(values).keys() == {"1"}
