"""Array backends: the same numbers from each, and clear errors about devices."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from benchmark_core.arrays import Backend, BackendName, check_cupy, choose_backend, choose_device, choose_devices
from benchmark_core.errors import InputError

HAS_CUPY = importlib.util.find_spec("cupy") is not None
NAMES: tuple[BackendName, ...] = ("numpy", "torch")


@pytest.mark.parametrize("name", NAMES)
def test_arrays_go_there_and_back(name: BackendName) -> None:
    backend = Backend(name)
    values = np.arange(12, dtype=np.float32).reshape(3, 4) / 3
    frozen = values.copy()
    frozen.flags.writeable = False
    for given in (
        values,
        values[::-1, ::2],
        values.T,
        values.astype(">f8"),
        frozen,
        values[0],
        values.astype(np.int64),
    ):
        there = backend.asarray(given)
        assert str(there.dtype).endswith("float64")
        assert tuple(there.shape) == given.shape
        np.testing.assert_array_equal(backend.to_numpy(there), given.astype(np.float64))
        np.testing.assert_array_equal(backend.to_numpy(backend.asarray_float32(given)), given.astype(np.float32))
    assert backend.to_numpy(backend.asarray(np.float64(3.5))).shape == ()
    assert backend.asarray([1, 2]).shape == (2,)


@pytest.mark.parametrize("name", NAMES)
def test_backends_agree(name: BackendName) -> None:
    backend = Backend(name)
    xp = backend.xp
    rng = np.random.Generator(np.random.Philox(1))
    factor = rng.normal(size=(20, 30))
    matrix = backend.asarray(factor @ factor.T)
    values, vectors = xp.linalg.eigh(matrix)
    rebuilt = backend.to_numpy((vectors * values) @ vectors.T)
    np.testing.assert_allclose(rebuilt, factor @ factor.T, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(backend.to_numpy(values), np.linalg.eigvalsh(factor @ factor.T), rtol=1e-9)
    zeros = xp.zeros((2, 2), dtype=xp.float64, device=backend.xp_device)
    assert backend.to_numpy(zeros).dtype == np.float64
    assert backend.to_numpy(xp.astype(zeros, xp.float32, copy=False)).dtype == np.float32


def test_devices_that_are_there() -> None:
    import torch

    assert choose_device("cpu") == "cpu"
    assert choose_device() == ("cuda:0" if torch.cuda.is_available() else "cpu")


def test_that_there_is_no_gpu_is_heard_without_importing_torch() -> None:
    code = """
import sys
from benchmark_core import arrays

def no_driver(name):
    raise OSError(name)

arrays.ctypes.CDLL, arrays.os.path.exists = no_driver, lambda path: False
print(arrays.choose_device(), arrays.choose_backend().name, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["cpu", "numpy", "False"], done.stderr


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "cpu:0", "", "mps"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(InputError, match=r"unknown device .*; use auto, cpu, cuda or cuda:N"):
        choose_device(device)


@pytest.mark.parametrize(
    ("count", "device", "message"),
    [
        (0, "cuda", "device 'cuda' is not available: this machine has no CUDA device; use --device cpu"),
        (0, "cuda:0", "no CUDA device"),
        (2, "cuda:2", "only cuda:0 to cuda:1"),
        (1, "cuda:99", "only cuda:0 to cuda:0"),
    ],
)
def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch, count: int, device: str, message: str) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(InputError, match=message):
        choose_device(device)
    assert choose_device("auto") == ("cuda:0" if count else "cpu")
    if count == 2:
        assert choose_device("cuda:1") == "cuda:1"


@pytest.mark.parametrize(
    ("device", "found"),
    [
        ("cpu", ("cpu",)),
        ("auto", ("cuda:0",)),
        ("cuda", ("cuda:0", "cuda:1", "cuda:2")),
        ("cuda:2", ("cuda:2",)),
        ("cuda:2,cuda:0", ("cuda:2", "cuda:0")),
    ],
)
def test_several_devices(monkeypatch: pytest.MonkeyPatch, device: str, found: tuple[str, ...]) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert choose_devices(device) == found
    assert choose_device(device) == found[0]
    assert choose_devices(",".join(found)) == found
    assert choose_backend("torch", ",".join(found)) == Backend("torch", found[0])


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:0,cuda:5", "device 'cuda:5' is not available: this machine has only cuda:0 to cuda:2; use --device cpu"),
        ("cuda:1,cuda:1", "device 'cuda:1,cuda:1' names a GPU twice"),
        ("cuda:1,cuda:01", "names a GPU twice"),
        ("cuda:0,cpu", "several devices are GPUs with their numbers, as in cuda:0,cuda:1"),
        ("cuda,cuda:1", "several devices are GPUs with their numbers"),
        ("cpu,cpu", "several devices are GPUs with their numbers"),
        ("cuda:0,1", "unknown device '1'; use auto, cpu, cuda or cuda:N, or several GPUs as cuda:0,cuda:1"),
        ("cuda:0,", "unknown device ''"),
        ("auto,cuda:0", "unknown device 'auto'"),
        ("cuda:0, cuda:1", "unknown device ' cuda:1'"),
    ],
)
def test_several_devices_that_cannot_be(monkeypatch: pytest.MonkeyPatch, device: str, message: str) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(InputError, match=message):
        choose_devices(device)


def test_several_devices_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'cuda:0' is not available: this machine has no CUDA device"):
        choose_devices("cuda:0,cuda:1")


class FakeCupy(ModuleType):
    """As much of cupy as the check uses; computing fails with what is given."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__("cupy")
        self.failure = failure
        self.used: list[int] = []
        self.cuda = SimpleNamespace(Device=lambda index: nullcontext(self.used.append(index)))
        self.linalg = SimpleNamespace(eigh=self.eigh)
        self.eye = np.eye

    def eigh(self, matrix: np.ndarray) -> None:
        if self.failure:
            raise self.failure


def test_cupy_for_another_cuda_is_found_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """cupy-cuda12x imports on a machine with CUDA 13, and fails when it computes."""
    fake = FakeCupy(RuntimeError("CuPy failed to load libnvrtc.so.12:\n  cannot open shared object file"))
    monkeypatch.setitem(sys.modules, "cupy", fake)
    check_cupy.cache_clear()
    expected = (
        r"^cupy cannot compute on cuda:1 \(RuntimeError: CuPy failed to load libnvrtc\.so\.12: cannot open shared object file\); "
        r"pip install 'cortex-bench\[gpu\]' \(CUDA 12\) or 'cortex-bench\[gpu-cuda13\]' \(CUDA 13\)$"
    )
    with pytest.raises(InputError, match=expected):
        choose_backend("cupy", "cuda:1")
    fake.failure = None
    assert choose_backend("cupy", "cuda:1,cuda:2") == Backend("cupy", "cuda:1")
    assert choose_backend("cupy", "cuda:1") == Backend("cupy", "cuda:1")
    assert fake.used == [1, 1]  # it failed, it worked, it was known to work
    check_cupy.cache_clear()


def test_choice_of_backend() -> None:
    assert choose_backend() == choose_backend("auto", "cpu") == Backend("numpy", "cpu")
    assert choose_backend("auto", "cuda:1") == Backend("torch", "cuda:1")
    assert choose_backend("numpy", "cuda:0") == Backend("numpy", "cpu")
    assert choose_backend("torch", "cpu") == Backend("torch", "cpu")
    with pytest.raises(InputError, match="unknown backend 'jax'; use auto, numpy, torch or cupy"):
        choose_backend("jax")
    with pytest.raises(InputError, match="the cupy backend needs a CUDA device"):
        choose_backend("cupy", "cpu")


@pytest.mark.skipif(HAS_CUPY, reason="cupy is installed")
def test_cupy_that_is_not_installed() -> None:
    with pytest.raises(InputError, match=r"the cupy backend is not installed: pip install 'cortex-bench\[gpu\]'"):
        choose_backend("cupy", "cuda:0")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", *(["cupy"] if HAS_CUPY else [])])
def test_backends_agree_on_a_gpu(name: BackendName) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    backend = Backend(name, "cuda:0")
    factor = np.random.Generator(np.random.Philox(1)).normal(size=(200, 300))
    there = backend.asarray(factor)
    np.testing.assert_allclose(backend.to_numpy(there @ there.T), factor @ factor.T, rtol=1e-11, atol=1e-11)
