"""What the contract watches while a plugin runs: the network, the global random generators, memory. Light to import."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark_core.errors import ModelError

HEAVY = ("torch", "numpy", "pandas", "xarray", "scipy", "sklearn", "skimage", "PIL", "torchvision", "timm", "jax")
"""Packages that a plugin must not import before they are needed."""

_ATTEMPTS: list[list[str]] = []  # the innermost list gets what is refused; empty while nothing is
_HOOKED: list[bool] = []


class NetworkRefusedError(ConnectionRefusedError):
    """A connection was asked for while a plugin was being checked."""


@contextmanager
def refused_network(attempts: list[str]) -> Iterator[None]:
    """Refuse connections and look-ups of hosts inside the block, and write each to ``attempts`` as ``host:port``.

    Sockets of this machine's own file system are left alone. It works by an audit hook, so that neither a module that
    took hold of ``socket`` earlier nor one that uses its lower level gets past; the hook stays, and does nothing
    outside such blocks.
    """
    if not _HOOKED:
        _HOOKED.append(True)
        sys.addaudithook(_refuse)
    _ATTEMPTS.append(attempts)
    try:
        yield
    finally:
        _ATTEMPTS.pop()


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _ATTEMPTS or not event.startswith("socket."):
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple):
            return  # a socket in the file system
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[:2]
    else:
        return
    host = address[0].decode(errors="replace") if isinstance(address[0], bytes) else address[0]
    port = f":{address[1]}" if len(address) > 1 and address[1] is not None else ""
    _ATTEMPTS[-1].append(f"{host}{port}")
    raise NetworkRefusedError(f"no network while a plugin is checked: {host}{port}")


def generator_states() -> dict[str, Any]:
    """Return the states of the global generators, by the name of their package; only of packages imported so far."""
    with suppress(
        ImportError
    ):  # draws a number when it is imported, by scikit-learn for one, which is no plugin's doing
        importlib.import_module("rich.style")
    states: dict[str, Any] = {"random": random.getstate()}
    if "numpy" in sys.modules:
        import numpy as np

        state: Any = np.random.get_state()  # noqa: NPY002
        states["numpy.random"] = (state[1].tobytes(), *state[2:])
    if "torch" in sys.modules:
        import torch

        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of generators whose states differ (one that was not imported before is not compared)."""
    return [name for name in before if before[name] != after.get(name, before[name])]


@contextmanager
def same_generators() -> Iterator[None]:
    """Put the global generators of random and numpy (and torch, where imported) into one state inside the block.

    What uses them then does the same every time, so that using them and being random are told apart. Afterwards they
    are as they were.
    """
    import numpy as np

    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None  # noqa: NPY002
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if torch:
        torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        if torch and states[2] is not None:
            torch.set_rng_state(states[2])


@dataclass
class Meter:
    """Seconds that a block took, and by how many bytes the resident set grew at most meanwhile."""

    seconds: float = 0.0
    grown: int = 0


@contextmanager
def measured() -> Iterator[Meter]:
    """Measure the block; memory is looked at every few milliseconds."""
    import psutil

    process, meter, over = psutil.Process(), Meter(), threading.Event()
    start = process.memory_info().rss

    def look() -> None:
        while not over.wait(0.005):
            meter.grown = max(meter.grown, process.memory_info().rss - start)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    started = time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds = time.perf_counter() - started
        meter.grown = max(meter.grown, process.memory_info().rss - start)
        over.set()
        thread.join()


_IMPORT = """
import importlib, importlib.util, json, sys
request = json.loads(sys.argv[1])
sys.path[:] = request["path"]
before = set(sys.modules)
if request["file"]:
    spec = importlib.util.spec_from_file_location("checked_plugin", request["file"])
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
else:
    plugin = importlib.import_module(request["module"])
for hook in ("register_models", "register_benchmarks", "register_metrics"):
    if hasattr(plugin, hook):
        list(getattr(plugin, hook)())
heavy = [name for name in request["heavy"] if name in sys.modules and name not in before]
print(json.dumps(heavy), file=sys.stderr)
"""


def heavy_imports(plugin: Any) -> list[str]:
    """Return which of :data:`HEAVY` a plugin imports, and its hooks, in a fresh process.

    Parameters
    ----------
    plugin
        The module that implements the hooks, or an object of a class that does.

    Raises
    ------
    ModelError
        If the module cannot be imported there.
    """
    name = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or ""
    # A drop-in file is no module that could be imported by name.
    is_file = _find(name) is None
    return list(_heavy_imports("" if is_file else name, file if is_file else ""))


def _find(name: str) -> Any:
    """Return where a module would be imported from, or None."""
    if name.startswith("cortex_bench_dropin_"):
        return None
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


@cache
def _heavy_imports(module: str, file: str) -> tuple[str, ...]:
    here = str(Path(__file__).resolve().parent.parent)
    request = {"path": [p or os.getcwd() for p in sys.path] + [here], "module": module, "file": file, "heavy": HEAVY}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, json.dumps(request)],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode:
        raise ModelError(f"importing {module or file} in a fresh process failed ({last})")
    return tuple(json.loads(last))
