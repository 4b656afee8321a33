"""Which devices JAX may use, settled before it looks for any."""

import os
import re
from pathlib import Path

from cryojax_graph.io.errors import InputError

_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
_MOST_DEVICES = 16
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_SPLIT_WORK = "xla_cpu_multi_thread_eigen"
_INSTALL = "use --device cpu, or install JAX for the device, such as cryojax-graph[cuda13]"


def share_cores() -> None:
    """Make one device of every core, unless the user said how many; before JAX is imported.

    As far as a batch divides among them. XLA leaves most of a second core idle when the matrices
    are small; two devices are half as fast again. Where every core has its device, a device
    needs no threads to split its work among. It has no effect where an accelerator is found.
    """
    if "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    cores = _cores()
    devices = 1 << (min(cores, _MOST_DEVICES).bit_length() - 1)
    os.environ["JAX_NUM_CPU_DEVICES"] = str(devices)
    flags = os.environ.get("XLA_FLAGS", "")
    if devices == cores and _SPLIT_WORK not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{_SPLIT_WORK}=false".strip()


def select_device(device: str) -> None:
    """Restrict JAX to the device asked for; for the command line, which owns its process.

    Args:
        device: ``auto``, ``cpu``, ``gpu``, ``tpu``, or numbered GPUs, ``gpu:0,1``, counted among
            those that the environment makes visible.

    Raises:
        InputError: the name is none of these, or a number is not among the visible GPUs.
    """
    if device == "auto":
        return
    match = re.fullmatch(r"(cpu|gpu|tpu)(?::(\d+(?:,\d+)*))?", device)
    if not match or (match[2] and match[1] != "gpu"):
        cause = f"{device}: no such device"
        raise InputError("command line", "--device", cause, "give auto, cpu, gpu, tpu, or gpu:0,1")
    if match[2]:
        os.environ["CUDA_VISIBLE_DEVICES"] = _visible(match[2].split(","))
    import jax

    # Not by the environment: JAX reads that when it is imported, and a verb's module has done so.
    jax.config.update("jax_platforms", _PLATFORMS[match[1]])
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        cause = str(error) or "JAX finds no such device"
        raise InputError("command line", "--device", f"{device}: {cause}", _INSTALL) from None


def _cores() -> int:
    """Cores that this process may use at once, by its affinity and the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores or 1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        # No container, or one without a quota: its file says "max".
        return cores or 1


def describe_devices() -> str:
    """JAX's version and the devices that it finds; imports JAX.

    Returns:
        one line.
    """
    import jax

    kinds = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    return f"JAX {jax.__version__} on {', '.join(kinds)}"


def _visible(numbers: list[str]) -> str:
    already = os.environ.get("CUDA_VISIBLE_DEVICES")
    if already is None:
        return ",".join(numbers)
    visible = already.split(",")
    if any(int(number) >= len(visible) for number in numbers):
        cause = (
            f"gpu:{','.join(numbers)}: only {len(visible)} GPUs are visible "
            f"(CUDA_VISIBLE_DEVICES={already})"
        )
        raise InputError("command line", "--device", cause, "count from 0 among them")
    return ",".join(visible[int(number)] for number in numbers)
