"""Array backends behind the array API standard: numpy, torch (CPU or CUDA) and cupy.

Numerical code asks a :class:`Backend` for its namespace ``xp`` and is written once; everything is float64.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from benchmark_core.errors import InputError

BackendName = Literal["numpy", "torch", "cupy"]


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

            return cupy.cuda.Device(self._index)
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
    def _index(self) -> int:
        return int(self.device.partition(":")[2] or 0)


def choose_device(device: str = "auto") -> str:
    """Return ``cpu`` or ``cuda:N``; ``auto`` takes the first GPU if there is one.

    Raises
    ------
    InputError
        For a device that is not known, or not there.
    """
    if device == "cpu":
        return "cpu"
    kind, colon, index = device.partition(":")
    if device != "auto" and (kind != "cuda" or (colon and not re.fullmatch("[0-9]{1,4}", index))):
        raise InputError(f"unknown device {device!r}; use auto, cpu, cuda or cuda:N")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    number = int(index or 0)
    if number >= count:
        seen = "no CUDA device" if count == 0 else f"only cuda:0 to cuda:{count - 1}"
        raise InputError(f"device {device!r} is not available: this machine has {seen}; use --device cpu")
    return f"cuda:{number}"


def choose_backend(name: str = "auto", device: str = "cpu") -> Backend:
    """Return the backend for a device; ``auto`` takes numpy on the CPU and torch on a GPU.

    Raises
    ------
    InputError
        For a backend that is unknown, not installed, or cannot use the device.
    """
    if name == "auto":
        return Backend("numpy" if device == "cpu" else "torch", device)
    if name not in ("numpy", "torch", "cupy"):
        raise InputError(f"unknown backend {name!r}; use auto, numpy, torch or cupy")
    if name == "numpy":
        return Backend("numpy", "cpu")
    if name == "cupy":
        if device == "cpu":
            raise InputError("the cupy backend needs a CUDA device; use --backend numpy or torch on a CPU")
        try:
            import cupy  # noqa: F401
        except ImportError:
            raise InputError("the cupy backend is not installed: pip install 'cortex-bench[gpu]'") from None
        return Backend("cupy", device)
    return Backend("torch", device)
