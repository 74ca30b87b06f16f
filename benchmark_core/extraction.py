"""Pass 1: every stimulus is forwarded once, and all requested layers go to a spool on disk."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import psutil
import torch

from benchmark_core.errors import BenchError, InputError, ModelError
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.profiling import stage
from benchmark_core.provenance import peak_rss
from benchmark_core.spool import Spool
from benchmark_core.stimuli import StimulusSet, name_ids
from benchmark_core.torch_models import HookedModel

Precision = Literal["exact", "fast"]
Progress = Callable[[int, int], None]

CHUNK_ROWS = 32
"""Stimuli in a chunk of the spool, and so what a killed run can lose."""
LARGEST_BATCH = {"cpu": 16, "cuda": 256}
SEEN = 2**27  # growth of the process in bytes that tells something of a model; less may be anything


@runtime_checkable
class Model(Protocol):
    """What ``load`` may return instead of a :class:`torch.nn.Module`.

    ``features`` gets images (B, C, H, W) float32 on the model's device and returns, for each layer asked for, a
    tensor (B, P). A model with a wide linear head may offer ``stem(images) -> (B, S)`` and
    ``head(stem, first, last) -> (B, last - first)`` besides.
    """

    def features(self, images: torch.Tensor, layers: Sequence[str]) -> Mapping[str, torch.Tensor]:
        """Return {layer: (B, P)}."""

    def to(self, device: str) -> Any:
        """Move to a device."""


def wrap(loaded: Any, name: str) -> Model:
    """Return what ``load`` gave as a :class:`Model`.

    Raises
    ------
    ModelError
        If it is neither a torch module nor has a ``features`` method.
    """
    if isinstance(loaded, torch.nn.Module):
        return HookedModel(loaded)
    if isinstance(loaded, Model) and callable(loaded.features):
        return loaded
    raise ModelError(
        f"model {name!r}: load() returned {type(loaded).__name__}; "
        "expected a torch.nn.Module or an object with features() and to()"
    )


@dataclass
class ExtractionPlan:
    """What the forward pass of the first stimulus tells: sizes, the batch size, the spool's size on disk; its outputs."""

    n_features: dict[str, int]
    batch_size: int
    spool_bytes: int
    outputs: dict[str, np.ndarray]


def extract(
    model: Model,
    stimuli: StimulusSet,
    preprocessing: Preprocessing,
    layers: Sequence[str],
    folder: Path,
    *,
    device: str = "cpu",
    precision: Precision = "exact",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Spool:
    """Forward all stimuli and return the spool with the outputs of all layers.

    Chunks that an earlier run finished are kept. Memory is bounded by a few times one chunk of outputs and one batch
    of activations. When memory runs out the batch is halved; a batch of one that does not fit is an error.

    Parameters
    ----------
    model
        Already on ``device``.
    folder
        Where the spool lies, or is to lie.
    batch_size
        Stimuli in a forward pass, or None to choose from the memory at hand.
    progress
        Called with (stimuli done, of how many).

    Raises
    ------
    ModelError
        For outputs that are not finite or have the wrong batch size, or a model that does not fit.
    InputError
        If the spool does not fit on the disk, for an unknown layer, or for an image that cannot be decoded.
    MissingDataError
        If an image is gone.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch size {batch_size} is not allowed; use a whole number of at least 1")
    spool = Spool.open(folder, len(stimuli), layers)
    with numeric_policy(precision):
        started, first = time.perf_counter(), None
        if spool is None:
            plan = probe(model, stimuli, preprocessing, layers, device, batch_size)
            check_disk(folder, plan.spool_bytes)
            chunk_rows = -(-max(CHUNK_ROWS, plan.batch_size) // plan.batch_size) * plan.batch_size
            spool, first = Spool.create(folder, len(stimuli), layers, chunk_rows, plan.batch_size), plan.outputs
        batch = batch_size or spool.batch_size
        chunks = spool.absent()
        done = len(stimuli) - sum(len(spool.rows(c)) for c in chunks)
        if progress:
            progress(done, len(stimuli))
        cuts = {c: cut(spool.rows(c), batch) for c in chunks}
        batches = [positions for c in chunks for positions in cuts[c]]
        source = _load_batches(stimuli, preprocessing, batches[1:] if first else batches, device)
        sizes: dict[str, int] = {}
        fits = batch
        try:
            for chunk in chunks:
                parts: list[dict[str, np.ndarray]] = []
                for positions in cuts[chunk]:
                    if first:
                        outputs, first = first, None
                    else:
                        ids = [stimuli.stimulus_ids[i] for i in positions]
                        with stage("decoding"):
                            images = next(source)
                        outputs, fits = _forward(model, images, layers, device, ids, fits)
                    sizes = _same_sizes(sizes, outputs, stimuli.stimulus_ids[positions[0]])
                    parts.append(outputs)
                    done += len(positions)
                    if progress:
                        progress(done, len(stimuli))
                whole = {layer: np.concatenate([p[layer] for p in parts]) for layer in layers}
                spool.write(chunk, whole, time.perf_counter() - started)
                started = time.perf_counter()
        finally:
            with stage("decoding"):
                source.close()
    return spool


def cut(rows: range, batch_size: int) -> list[list[int]]:
    """Cut a chunk into batches. The very first stimulus goes alone: its forward pass tells how many fit at a time."""
    if rows.start > 0 or len(rows) == 1:
        return [list(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
    rest = [list(rows[max(i, 1) : i + batch_size]) for i in range(0, len(rows), batch_size)]
    return [[0], *(positions for positions in rest if positions)]


def probe(
    model: Model,
    stimuli: StimulusSet,
    preprocessing: Preprocessing,
    layers: Sequence[str],
    device: str,
    batch_size: int | None = None,
) -> ExtractionPlan:
    """Forward the first stimulus to learn the size of every layer and of the activations, and choose a batch size."""
    image = torch.from_numpy(_input(stimuli, preprocessing, 0))[None]
    sizes: list[int] = []
    handles = []
    if isinstance(model, HookedModel):

        def count(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                sizes.append(output.numel() * output.element_size())

        handles = [m.register_forward_hook(count) for m in model.module.modules() if not list(m.children())]
    held, most_before = psutil.Process().memory_info().rss, peak_rss()
    try:
        outputs, _ = _forward(model, image, layers, device, [stimuli.stimulus_ids[0]], 1)
    finally:
        for handle in handles:
            handle.remove()
    most = peak_rss()
    n_features = {layer: values.shape[1] for layer, values in outputs.items()}
    if batch_size is None:
        # Outputs of all modules bound what is alive at once; convolutions need about as much again to work in.
        needed = 2 * sum(sizes) + 4 * sum(n_features.values()) + image.numel() * 4
        if most > most_before and most - held > SEEN:  # modules may keep what they compute to themselves
            needed = max(needed, most - held)
        kind = device.partition(":")[0]
        free = torch.cuda.mem_get_info(device)[0] if kind == "cuda" else psutil.virtual_memory().available
        fits = max(1, int(0.25 * free / max(needed, 1)))
        batch_size = 1 << min(fits, LARGEST_BATCH[kind]).bit_length() - 1
    return ExtractionPlan(n_features, batch_size, 4 * len(stimuli) * sum(n_features.values()), outputs)


def check_disk(folder: Path, needed: int) -> None:
    """Check that a spool of ``needed`` bytes fits on the disk that ``folder`` is on.

    Raises
    ------
    InputError
        If it does not; the message gives both sizes.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise InputError(
            f"the spool needs {needed / 1e9:.1f} GB but {existing} has {free / 1e9:.1f} GB free; "
            "set BENCH_CACHE to a larger disk or ask for fewer layers"
        )


@contextmanager
def numeric_policy(precision: Precision) -> Iterator[None]:
    """Run float32 products exactly, or (``fast``) with TF32 where the device has it; no gradients are kept."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "fast"
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@stage("forward")
def _forward(
    model: Model, images: torch.Tensor, layers: Sequence[str], device: str, stimulus_ids: Sequence[str], fits: int
) -> tuple[dict[str, np.ndarray], int]:
    """Forward one batch, at most ``fits`` stimuli at a time; return checked outputs and how many do fit.

    When memory runs out ``fits`` is halved; what has been forwarded is kept.
    """
    parts: list[dict[str, np.ndarray]] = []
    done = 0
    while done < len(images):
        piece = images[done : done + fits]
        try:
            parts.append(_checked(model.features(piece.to(device, non_blocking=True), layers), len(piece), layers))
            done += len(piece)
            continue
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(piece) == 1:
                raise ModelError(f"one stimulus does not fit into the memory of {device}") from None
            fits = -(-len(piece) // 2)
        gc.collect()
        if device != "cpu":
            torch.cuda.empty_cache()
    outputs = {layer: np.concatenate([p[layer] for p in parts]) for layer in layers}
    for layer, values in outputs.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            ids = [i for i, b in zip(stimulus_ids, bad, strict=True) if b]
            raise ModelError(f"layer {layer!r} gives values that are not finite for stimulus_id {name_ids(ids)}")
    return outputs, fits


def _same_sizes(sizes: dict[str, int], outputs: Mapping[str, np.ndarray], stimulus_id: str) -> dict[str, int]:
    """Return the number of features of each layer, which must be those of the stimuli before."""
    found = {layer: values.shape[1] for layer, values in outputs.items()}
    for layer, size in sizes.items():
        if found[layer] != size:
            raise ModelError(
                f"layer {layer!r} gives {found[layer]} features from stimulus_id {stimulus_id!r} on and {size} before; "
                "a layer needs one size"
            )
    return found


def _checked(features: Any, rows: int, layers: Sequence[str]) -> dict[str, np.ndarray]:
    if not isinstance(features, Mapping):
        raise ModelError(f"features() returned {type(features).__name__}, not a mapping from layers to tensors")
    result = {}
    for layer in layers:
        if layer not in features:
            raise ModelError(f"features() returned no layer {layer!r}")
        values = torch.as_tensor(features[layer]).detach().to("cpu", torch.float32)
        if values.ndim == 0 or values.shape[0] != rows:
            raise ModelError(
                f"layer {layer!r} has shape {tuple(values.shape)} for a batch of {rows}; expected ({rows}, features)"
            )
        if values.numel() == 0:
            raise ModelError(f"layer {layer!r} has no features")
        result[layer] = values.reshape(rows, -1).numpy()
    return result


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or any(
        words in text for words in ("out of memory", "can't allocate memory", "alloc_failed")
    )


class _Batches(torch.utils.data.Dataset[Any]):
    """Decodes and preprocesses; errors travel as values, so that their one line survives the worker process."""

    def __init__(self, stimuli: StimulusSet, preprocessing: Preprocessing, batches: list[list[int]]) -> None:
        self.stimuli, self.preprocessing, self.batches = stimuli, preprocessing, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> torch.Tensor | BenchError:
        try:
            return torch.from_numpy(
                np.stack([_input(self.stimuli, self.preprocessing, i) for i in self.batches[index]])
            )
        except BenchError as error:
            return error


@stage("decoding")
def _input(stimuli: StimulusSet, preprocessing: Preprocessing, position: int) -> np.ndarray:
    """Return one image as a model's input; whatever goes wrong names the stimulus."""
    image = stimuli.image(position)
    try:
        return preprocessing(image)
    except InputError as error:
        raise InputError(f"stimulus_id {stimuli.stimulus_ids[position]!r}: {error}") from None
    except Exception as error:
        name = stimuli.stimulus_ids[position]
        raise ModelError(f"preprocessing of stimulus_id {name!r} failed ({type(error).__name__}: {error})") from error


def _load_batches(
    stimuli: StimulusSet, preprocessing: Preprocessing, batches: list[list[int]], device: str
) -> Generator[Any, None, None]:
    """Yield the images of each batch, decoded ahead in worker processes where that pays."""
    cuda = device != "cpu"
    # Forked workers cost milliseconds; where processes are spawned they would import torch again for seconds.
    workers = (
        0
        if len(batches) < 4 or not sys.platform.startswith("linux")
        else min((os.cpu_count() or 1) - 1, 8 if cuda else 1)
    )
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
        _Batches(stimuli, preprocessing, batches),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        multiprocessing_context="fork" if workers else None,
        pin_memory=cuda,
        generator=torch.Generator(),  # else the loader draws from the global one
    )
    with _interrupts_held_back():
        items = iter(loader)
    for item in items:
        if isinstance(item, BenchError):
            raise item
        yield item


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back: it reaches this process at the end, and never the processes started meanwhile.

    A terminal sends it to all of them, and a worker would answer with a traceback of its own.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
