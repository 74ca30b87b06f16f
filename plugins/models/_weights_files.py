"""Which file holds a model's trained weights: the one place of that policy, light to import.

A file that the user names; else one put by hand under ``BENCH_HOME/weights``; else one in the libraries' own caches;
else a download into these, unless ``--offline`` or ``BENCH_OFFLINE`` forbids it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.home import bench_cache, bench_home, expand
from benchmark_core.identifiers import Parameter, Value
from benchmark_core.offline import VARIABLE, is_offline
from benchmark_core.store import Store

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_SHORT = re.compile(r"@[0-9a-f]{12}")
_NO_ANSWER = ("LocalEntryNotFoundError", "URLError", "ConnectionError", "ConnectTimeout", "ReadTimeout", "TimeoutError")
_UNREACHABLE: dict[str, str] = {}  # servers that did not answer this process, and why: the next model need not wait


@dataclass(frozen=True)
class Published:
    """A file of weights as its authors publish it.

    Parameters
    ----------
    names
        Where it may be put by hand, below ``BENCH_HOME/weights``; the first is the one that messages name.
    url
        Its address, if it is not in a repository.
    repository
        ``OWNER/NAME`` or ``OWNER/NAME@REVISION`` of Hugging Face, if it is there.
    files
        Names in the repository, best first.
    in_torch_cache
        Whether torch's cache has it under the last part of ``url`` (not where another model's file is called the same).
    """

    names: tuple[str, ...]
    url: str | None = None
    repository: str | None = None
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    in_torch_cache: bool = True

    @property
    def own(self) -> tuple[Path, ...]:
        """The paths where it may be put by hand."""
        return tuple(bench_home() / "weights" / name for name in self.names)

    @property
    def cached(self) -> tuple[Path, ...]:
        """The paths where libraries keep it."""
        found = tuple(huggingface_cache(self.repository, file) for file in self.files) if self.repository else ()
        return (*found, torch_cache(self.url)) if self.url and self.in_torch_cache else found

    @property
    def source(self) -> str:
        """The address to download it from."""
        if not self.repository:
            return str(self.url)
        name, _, revision = self.repository.partition("@")
        return f"https://huggingface.co/{name}/resolve/{revision or 'main'}/{self.files[0]}"


def trained(model: str, published: Published) -> dict[str, Any]:
    """Return what the specs of all trained models with one published file share."""
    return {
        "parameters": (
            Parameter("weights", "str", help="a .safetensors or .pth file; without it, the published weights"),
        ),
        "weights": partial(find_weights, model, published),
        "normalise": partial(_normalise, model),
        "trained": True,
    }


def _normalise(model: str, parameters: Mapping[str, Value | None]) -> dict[str, Value | None]:
    """Return parameters with a weights file by its hash; see :class:`benchmark_core.specs.ModelSpec`."""
    weights = parameters["weights"]
    return dict(parameters) | {"weights": None if weights is None else name_by_hash(model, str(weights))}


def find_weights(model: str, published: Published, *, weights: str | None) -> Path:
    """Return the path of a trained model's weights; the published ones may be downloaded.

    Parameters
    ----------
    model
        Identifier, for messages.
    published
        The file to look for where the user names none.
    weights
        The file that the user named, ``@`` and the first 12 digits of its SHA-256, or None.

    Raises
    ------
    MissingDataError
        If there is no such file; the message says which one from where to put where.
    InputError
        If the file named is of another format.
    """
    if weights is None:
        return find_published(model, published)
    return find_by_hash(model, weights) if is_short_hash(weights) else named_file(model, weights)


def is_file_name(value: str) -> bool:
    """Whether a value of ``weights`` names a file rather than a tag."""
    return "/" in value or "\\" in value or value.startswith("~") or value.endswith(SUFFIXES)


def is_short_hash(value: str) -> bool:
    """Whether a value of ``weights`` is a file's hash as a canonical identifier has it."""
    return bool(_SHORT.fullmatch(value))


def name_by_hash(model: str, weights: str) -> str:
    """Return a weights file as an identifier has it: by its hash; by its name where it is absent.

    Raises
    ------
    InputError
        If it cannot be read, or is of another format.
    """
    if not is_short_hash(weights):
        with suppress(MissingDataError):  # the cell says so, not the plan
            return short_hash(named_file(model, weights))
    return weights


def short_hash(path: Path) -> str:
    """Return ``@`` and the first 12 digits of a file's SHA-256, which is remembered.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        return "@" + Store.default().weights_sha256(path)[:12]
    except OSError as error:
        raise InputError(f"cannot read the weights {path} ({error.strerror}); check its permissions") from None


def find_by_hash(model: str, short: str) -> Path:
    """Return the file that had this hash when it was last used here, if it still has.

    Raises
    ------
    MissingDataError
        If no such file is known, or it is gone.
    """
    for memo in sorted((bench_cache() / "weights").glob("*.json")):
        try:
            known = json.loads(memo.read_bytes())
            path = Path(known["path"])
            if "@" + str(known["sha256"])[:12] == short and path.is_file() and short_hash(path) == short:
                return path
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise MissingDataError(
        f"no weights file with the SHA-256 {short[1:]}... is known on this machine; name the file: {model}:weights=FILE"
    )


def named_file(model: str, value: str) -> Path:
    """Return the weights file that the user named.

    Raises
    ------
    InputError
        If it is of another format.
    MissingDataError
        If there is no such file.
    """
    path = expand(Path(value)).absolute()
    if path.suffix not in SUFFIXES:
        raise InputError(f"{model}: weights={value} is not a file of named tensors; use {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise MissingDataError(f"{model}: there is no weights file {path}; name one that exists")
    return path


def find_published(model: str, published: Published, which: str = "") -> Path:
    """Return a published file: put there by hand, from the libraries' own caches, or from the network.

    Parameters
    ----------
    model, which
        The model's identifier and the name of the weights, for messages.
    published
        The file.

    Raises
    ------
    MissingDataError
        If it is nowhere and cannot be downloaded; the message says which file from where to put where.
    """
    for path in (*published.own, *published.cached):
        if path.is_file():
            return path
    host = urlsplit(published.source).netloc
    reason = f"--offline or {VARIABLE} forbids the download" if is_offline() else _UNREACHABLE.get(host, "")
    if not reason:
        from plugins.models import _weights_download

        try:
            return _weights_download.download(published)
        except Exception as error:  # of many libraries, networks and servers
            text = " ".join(str(error).split())
            reason = f"the download failed: {type(error).__name__}: {text[:120]}"
            if type(error).__name__ in _NO_ANSWER:
                _UNREACHABLE[host] = reason
    raise MissingDataError(
        f"the weights {which + ' ' if which else ''}of {model} are not on this machine ({reason}); "
        f"save {published.source} as {published.own[0]}, or name a file: {model}:weights=FILE"
    )


def torch_cache(url: str) -> Path:
    """Return where torch and torchvision keep the file of an address (without importing them)."""
    return _cache("TORCH_HOME", "torch") / "hub" / "checkpoints" / url.rpartition("/")[2]


def huggingface_hub() -> Path:
    """Return the folder in which Hugging Face's library keeps repositories (without importing it)."""
    named = os.environ.get("HF_HUB_CACHE")
    return Path(os.path.expanduser(named)) if named else _cache("HF_HOME", "huggingface") / "hub"


def huggingface_cache(repository: str, file: str) -> Path:
    """Return where a file of ``OWNER/NAME[@REVISION]`` is kept, of the version of that revision downloaded last."""
    name, _, revision = repository.partition("@")
    folder = huggingface_hub() / f"models--{name.replace('/', '--')}"
    revision = revision or "main"
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision  # a commit itself, or nothing was downloaded
    return folder / "snapshots" / commit / file


def _cache(variable: str, name: str) -> Path:
    """Return a library's folder: what the environment names, or ``name`` in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get(variable) or os.path.join(cache, name)))
