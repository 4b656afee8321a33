import os
import random
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np

PROGRAM = Path(__file__).parent / "toy_run.py"
STEPS = 40


def test_after_kills_at_random_moments_the_result_is_the_same_bit_for_bit(tmp_path):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    undisturbed.mkdir()
    draw = random.Random(5)
    reached = []
    # What is killed must not leave half a program to other tests.
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    for _ in range(3):
        command = [sys.executable, str(PROGRAM), str(killed), "1", str(STEPS), "0.05"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(4, 9)):
                line = process.stdout.readline()
            # A moment later, so that the kill falls into a step or a save and not after a line.
            try:
                process.wait(timeout=draw.uniform(0.0, 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
        reached.append(int(line))
    assert reached[-1] > reached[0], "the runs did not continue each other"

    run = runpy.run_path(str(PROGRAM))["run"]
    expected = run(undisturbed, 1, STEPS, 0.0)
    result = run(killed, 1, STEPS, 0.0)
    for name, leaf in expected.items():
        np.testing.assert_array_equal(result[name], leaf, err_msg=name)
    assert (killed / "history.csv").read_text() == (undisturbed / "history.csv").read_text()
    assert len(list((killed / "checkpoints").iterdir())) == 2
