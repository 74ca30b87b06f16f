"""Where a score was computed: versions, git commit, numeric policy. Never part of a key."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark_core.pipeline import Numerics

PACKAGES = (
    "cortex-bench",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-learn",
    "xarray",
    "netCDF4",
    "pillow",
)


def environment(numerics: Numerics) -> dict[str, Any]:
    """Return versions of key packages, the git commit and dirty flag, the device and the numeric policy."""
    return {
        "versions": {"python": platform.python_version(), **package_versions()},
        "git": git_state(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device_name": device_name(numerics.device),
        "backend": numerics.backend,
        "precision": numerics.precision,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version  # takes a tenth of `bench list`

    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_state() -> dict[str, Any] | None:
    """Return the commit and dirty flag of the checkout this code runs from, or None outside a checkout.

    Found out once a process, when the first record is written: git takes longer than many a score.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


def device_name(device: str) -> str:
    """Return the name of a GPU, or the processor's architecture."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def peak_rss() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    try:
        import resource
    except ImportError:  # Windows keeps its own count
        import psutil

        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
