"""Array backends behind the array API standard: numpy, torch (CPU or CUDA) and cupy.

Numerical code asks a :class:`Backend` for its namespace ``xp`` and is written once; everything is float64.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal

import numpy as np

from benchmark_core.errors import InputError

BackendName = Literal["numpy", "torch", "cupy"]
CUPY = "pip install 'cortex-bench[gpu]' (CUDA 12) or 'cortex-bench[gpu-cuda13]' (CUDA 13)"


@dataclass(frozen=True)
class Backend:
    """A library and a device to compute on.

    Parameters
    ----------
    name
        ``numpy``, ``torch`` or ``cupy``.
    device
        ``cpu`` or ``cuda:N``.
    """

    name: BackendName = "numpy"
    device: str = "cpu"

    @property
    def xp(self) -> Any:
        """The array API namespace (array-api-compat)."""
        return import_module(f"array_api_compat.{self.name}")

    @property
    def xp_device(self) -> Any:
        """The device as the namespace's creation functions take it."""
        if self.name == "cupy":
            import cupy

            return cupy.cuda.Device(self.index)
        return self.device

    def asarray(self, values: Any) -> Any:
        """Return ``values`` as a float64 array of this backend on its device."""
        return self._as(values, "float64")

    def asarray_float32(self, values: Any) -> Any:
        """Return ``values`` as a float32 array of this backend on its device."""
        return self._as(values, "float32")

    def _as(self, values: Any, dtype: str) -> Any:
        if self.name == "torch":
            import torch

            if isinstance(values, np.ndarray):
                # Negative strides, a foreign byte order and read-only memory are beyond torch.
                values = np.require(values, dtype, ["C", "W"])
            return torch.as_tensor(values, dtype=getattr(torch, dtype), device=self.device)
        if self.name == "cupy":
            import cupy

            with self.xp_device:
                return cupy.asarray(values, dtype=dtype)
        return np.asarray(values, dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return an array of this backend as a numpy array on the CPU."""
        if self.name == "torch":
            return np.asarray(array.detach().cpu().numpy())
        if self.name == "cupy":
            import cupy

            return np.asarray(cupy.asnumpy(array))
        return np.asarray(array)

    @property
    def index(self) -> int:
        """Number of the GPU."""
        return int(self.device.partition(":")[2] or 0)


def choose_device(device: str = "auto") -> str:
    """Return ``cpu`` or ``cuda:N``, the first of :func:`choose_devices`.

    Raises
    ------
    InputError
        For a device that is not known, or not there.
    """
    return choose_devices(device)[0]


def choose_devices(device: str = "auto") -> tuple[str, ...]:
    """Return the devices that a text stands for: ``cpu``, or one or several of ``cuda:N``.

    Parameters
    ----------
    device
        ``cpu``; ``cuda:N``, or several with commas (``cuda:0,cuda:1``); ``cuda``, every GPU that CUDA_VISIBLE_DEVICES
        leaves; ``auto``, the first GPU, or the CPU if there is none.

    Returns
    -------
    Stimuli are split among all of them; everything else happens on the first.

    Raises
    ------
    InputError
        For a device that is not known, not there, or named twice, or several that cannot go together.
    """
    if device == "cpu":
        return ("cpu",)
    names = device.split(",")
    for name in names:
        if not (re.fullmatch("cuda(:[0-9]{1,4})?", name) or name == "cpu" or device == "auto"):
            raise InputError(
                f"unknown device {name!r}; use auto, cpu, cuda or cuda:N, or several GPUs as cuda:0,cuda:1"
            )
    if len(names) > 1 and not all(":" in name for name in names):
        raise InputError(f"device {device!r}: several devices are GPUs with their numbers, as in cuda:0,cuda:1")
    count = _count_gpus()
    if device == "auto":
        return ("cuda:0",) if count else ("cpu",)
    if device == "cuda" and count:
        names = [f"cuda:{number}" for number in range(count)]
    numbers = [int(name.partition(":")[2] or 0) for name in names]
    for name, number in zip(names, numbers, strict=True):
        if number >= count:
            seen = "no CUDA device" if count == 0 else f"only cuda:0 to cuda:{count - 1}"
            raise InputError(f"device {name!r} is not available: this machine has {seen}; use --device cpu")
    if len(set(numbers)) < len(numbers):
        raise InputError(f"device {device!r} names a GPU twice")
    return tuple(f"cuda:{number}" for number in numbers)


def _count_gpus() -> int:
    """Return how many GPUs torch sees. Where there is no driver of any, torch (which takes seconds) is not imported."""
    if "torch" not in sys.modules and not os.path.exists("/dev/kfd"):  # no AMD GPU
        try:
            ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        except OSError:  # no driver of NVIDIA's: torch would look for the same file
            return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_backend(name: str = "auto", device: str = "cpu") -> Backend:
    """Return the backend for a device; ``auto`` takes numpy on the CPU and torch on a GPU.

    Raises
    ------
    InputError
        For a backend that is unknown, not installed, or cannot use the device.
    """
    if name == "auto":
        return Backend("numpy" if device == "cpu" else "torch", device.partition(",")[0])
    if name not in ("numpy", "torch", "cupy"):
        raise InputError(f"unknown backend {name!r}; use auto, numpy, torch or cupy")
    if name == "numpy":
        return Backend("numpy", "cpu")
    device = device.partition(",")[0]
    if name == "cupy":
        if device == "cpu":
            raise InputError("the cupy backend needs a CUDA device; use --backend numpy or torch on a CPU")
        check_cupy(device)
        return Backend("cupy", device)
    return Backend("torch", device)


@cache
def check_cupy(device: str) -> None:
    """Check that cupy is there and computes on a device. Its package is named after the version of CUDA, its module is not.

    Raises
    ------
    InputError
        If it is not installed, or is the one for another version of CUDA.
    """
    try:
        import cupy
    except ImportError:
        raise InputError(f"the cupy backend is not installed: {CUPY}") from None
    try:
        # What needs CUDA's libraries (cuBLAS, cuSOLVER, a compiler) fails here, and not after hours.
        with cupy.cuda.Device(Backend("cupy", device).index):
            matrix = cupy.eye(2) + 1
            cupy.linalg.eigh(matrix @ matrix.T)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"cupy cannot compute on {device} ({type(error).__name__}: {reason}); {CUPY}") from None
