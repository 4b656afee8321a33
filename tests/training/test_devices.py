"""The same run on one device, on four, and on four that belong to two processes."""

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

CODE = """
import sys
from pathlib import Path
import jax, numpy as np
processes, number, port, devices, *stops = map(int, sys.argv[3:])
jax.config.update("jax_num_cpu_devices", devices)
if processes > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, number)
sys.path.insert(0, sys.argv[1])
from toy_run import run
folder = Path(sys.argv[2])
for steps in stops:
    result = run(folder, devices * processes, steps, 0.0)
np.savez(folder / f"final{number}.npz", **result)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(folder, processes, devices, stops):
    """Run up to each of the steps ``stops`` in turn, on ``processes`` with ``devices`` each."""
    folder.mkdir()
    port = free_port()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(Path(__file__).parent), str(folder)]
            + [str(value) for value in (processes, number, port, devices, *stops)],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for process in running:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    return [np.load(folder / f"final{number}.npz") for number in range(processes)]


def test_many_devices_and_processes_agree_with_one_device(tmp_path):
    (tmp_path / "one").mkdir()
    one_device = runpy.run_path(str(Path(__file__).parent / "toy_run.py"))["run"](
        tmp_path / "one", 1, 12, 0.0
    )
    for processes, devices, stops in ((1, 4, [12]), (2, 2, [6, 12])):
        folder = tmp_path / f"{processes}x{devices}"
        finals = run(folder, processes, devices, stops)
        for final in finals:
            for name, expected in one_device.items():
                np.testing.assert_allclose(
                    final[name], expected, rtol=2e-4, atol=2e-5, err_msg=name
                )
                np.testing.assert_array_equal(final[name], finals[0][name], err_msg=name)
        lines = (folder / "history.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in lines] == ["step", *map(str, range(12))]
