"""Where the files of trained weights lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.home import bench_home, expand
from benchmark_core.identifiers import Parameter

SUFFIXES = (".safetensors", ".pth")
WEIGHTS = Parameter(
    "weights", "str", help="weights file, .safetensors or .pth; without it, those that are on this machine already"
)


def find_weights(model: str, weights: str | None, source: str, file: str, cached: Sequence[Path] = ()) -> Path:
    """Return the path of a trained model's weights; nothing is downloaded.

    Parameters
    ----------
    model
        Identifier, for messages.
    weights
        The file that the user named, or None to look for ``file`` in ``BENCH_HOME/weights`` and then for ``cached``.
    source
        Address to download the file from, for the message.
    file
        Name of the file in ``BENCH_HOME/weights``.
    cached
        Where libraries keep the file.

    Raises
    ------
    MissingDataError
        If there is no such file; the message says which one to put where.
    InputError
        If the file named is of another format.
    """
    if weights is None:
        own = bench_home() / "weights" / file
        for path in (own, *cached):
            if path.is_file():
                return path
        raise MissingDataError(
            f"the weights of {model} are not on this machine: download {source} and save it as {own}, "
            f"or name a file you have: {model}:weights=FILE"
        )
    path = expand(Path(weights)).absolute()
    if path.suffix not in SUFFIXES:
        raise InputError(f"{model}: weights={weights} is not a {' or '.join(SUFFIXES)} file")
    if not path.is_file():
        raise MissingDataError(f"{model}: there is no weights file {path}; the published ones are at {source}")
    return path


def torch_cache(file: str) -> Path:
    """Return where torch and torchvision keep a downloaded weights file (without importing them)."""
    return _cache("TORCH_HOME", "torch") / "hub" / "checkpoints" / file


def huggingface_cache(repository: str, file: str) -> Path:
    """Return where timm keeps a file of a Hugging Face repository, of the version downloaded last."""
    named = os.environ.get("HF_HUB_CACHE")
    hub = Path(os.path.expanduser(named)) if named else _cache("HF_HOME", "huggingface") / "hub"
    folder = hub / f"models--{repository.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = "main"  # nothing was downloaded
    return folder / "snapshots" / commit / file


def _cache(variable: str, name: str) -> Path:
    """Return a library's folder: what the environment names, or ``name`` in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get(variable) or os.path.join(cache, name)))
