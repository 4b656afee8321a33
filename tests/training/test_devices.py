"""The same run on one device and on four, in one process that pretends to have four."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

CODE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from toy_run import run
folder = Path(sys.argv[2])
for devices, steps, into in ((1, 12, "one"), (4, 6, "four"), (4, 12, "four")):
    (folder / into).mkdir(exist_ok=True)
    result = run(folder / into, devices, steps, 0.0)
    np.savez(folder / f"{into}.npz", **result)
print(len(jax.devices()))
"""


def test_four_devices_interrupted_half_way_agree_with_one(tmp_path):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    command = [sys.executable, "-W", "error", "-c", CODE, str(Path(__file__).parent), str(tmp_path)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    assert output.stdout.split()[-1] == "4"

    one, four = (np.load(tmp_path / f"{name}.npz") for name in ("one", "four"))
    for name in one.files:
        np.testing.assert_allclose(four[name], one[name], rtol=2e-4, atol=2e-5, err_msg=name)
