"""Pass 1: every stimulus is forwarded once, and all requested layers go to a spool on disk."""

from __future__ import annotations

import gc
import os
import shutil
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
from benchmark_core.spool import Spool
from benchmark_core.stimuli import StimulusSet, name_ids
from benchmark_core.torch_models import HookedModel

Precision = Literal["exact", "fast"]
Progress = Callable[[int, int], None]

CHUNK_ROWS = 32
"""Stimuli in a chunk of the spool, and so what a killed run can lose."""
LARGEST_BATCH = {"cpu": 16, "cuda": 256}


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
        f"model {name!r}: load() returned {type(loaded).__name__}; expected a torch.nn.Module or an object with features()"
    )


@dataclass
class ExtractionPlan:
    """What a first forward pass tells: sizes per stimulus, the batch size, and the spool's size on disk."""

    n_features: dict[str, int]
    batch_size: int
    spool_bytes: int


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

    Chunks that an earlier run finished are kept. Memory is bounded by one chunk of outputs and one batch of
    activations. When memory runs out the batch is halved; a batch of one that does not fit is an error.

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
        If the spool does not fit on the disk, or for an unknown layer.
    """
    spool = Spool.open(folder, len(stimuli), layers)
    with numeric_policy(precision):
        if spool is None:
            plan = probe(model, stimuli, preprocessing, layers, device, batch_size)
            check_disk(folder, plan.spool_bytes)
            chunk_rows = -(-max(CHUNK_ROWS, plan.batch_size) // plan.batch_size) * plan.batch_size
            spool = Spool.create(folder, len(stimuli), layers, chunk_rows, plan.batch_size)
        batch = batch_size or spool.batch_size
        chunks = spool.absent()
        done = len(stimuli) - sum(len(spool.rows(c)) for c in chunks)
        if progress:
            progress(done, len(stimuli))
        batches = [
            rows[i : i + batch] for c in chunks for rows in [list(spool.rows(c))] for i in range(0, len(rows), batch)
        ]
        chunk_of = {c: sum(1 for _ in range(0, len(spool.rows(c)), batch)) for c in chunks}
        source = _load_batches(stimuli, preprocessing, batches, device)
        try:
            for chunk in chunks:
                started = time.perf_counter()
                parts: list[dict[str, np.ndarray]] = []
                for _ in range(chunk_of[chunk]):
                    positions, images = next(source)
                    parts.append(_forward(model, images, layers, device, [stimuli.stimulus_ids[i] for i in positions]))
                    done += len(positions)
                    if progress:
                        progress(done, len(stimuli))
                outputs = {layer: np.concatenate([p[layer] for p in parts]) for layer in layers}
                spool.write(chunk, outputs, time.perf_counter() - started)
        finally:
            source.close()
    return spool


def probe(
    model: Model,
    stimuli: StimulusSet,
    preprocessing: Preprocessing,
    layers: Sequence[str],
    device: str,
    batch_size: int | None = None,
) -> ExtractionPlan:
    """Forward one stimulus to learn the size of every layer and of the activations, and choose a batch size."""
    image = torch.from_numpy(preprocessing(stimuli.image(0)))[None]
    sizes: list[int] = []
    handles = []
    if isinstance(model, HookedModel):

        def count(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                sizes.append(output.numel() * output.element_size())

        handles = [m.register_forward_hook(count) for m in model.module.modules() if not list(m.children())]
    try:
        outputs = _forward(model, image, layers, device, [stimuli.stimulus_ids[0]])
    finally:
        for handle in handles:
            handle.remove()
    n_features = {layer: values.shape[1] for layer, values in outputs.items()}
    if batch_size is None:
        # Outputs of all modules bound what is alive at once; convolutions need about as much again to work in.
        needed = 2 * sum(sizes) + 4 * sum(n_features.values()) + image.numel() * 4
        kind = device.partition(":")[0]
        free = torch.cuda.mem_get_info(device)[0] if kind == "cuda" else psutil.virtual_memory().available
        fits = max(1, int(0.25 * free / max(needed, 1)))
        batch_size = 1 << min(fits, LARGEST_BATCH[kind]).bit_length() - 1
    return ExtractionPlan(n_features, batch_size, 4 * len(stimuli) * sum(n_features.values()))


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


def _forward(
    model: Model, images: torch.Tensor, layers: Sequence[str], device: str, stimulus_ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """Forward one batch, halving it when memory runs out, and check the outputs."""
    size = len(images)
    while True:
        try:
            parts = [
                _checked(model.features(piece.to(device, non_blocking=True), layers), len(piece), layers)
                for piece in torch.split(images, size)
            ]
            break
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, BenchError) or not _out_of_memory(error):
                raise
            if size == 1:
                raise ModelError(f"one stimulus does not fit into the memory of {device}") from None
            size = -(-size // 2)
        gc.collect()
        if device != "cpu":
            torch.cuda.empty_cache()
    outputs = {layer: np.concatenate([p[layer] for p in parts]) for layer in layers}
    for layer, values in outputs.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            ids = [i for i, b in zip(stimulus_ids, bad, strict=True) if b]
            raise ModelError(f"layer {layer!r} gives values that are not finite for stimulus_id {name_ids(ids)}")
    return outputs


def _checked(features: Mapping[str, Any], rows: int, layers: Sequence[str]) -> dict[str, np.ndarray]:
    result = {}
    for layer in layers:
        if layer not in features:
            raise ModelError(f"features() returned no layer {layer!r}")
        values = torch.as_tensor(features[layer]).detach().to("cpu", torch.float32)
        if values.ndim == 0 or values.shape[0] != rows:
            raise ModelError(
                f"layer {layer!r} has shape {tuple(values.shape)} for a batch of {rows}; expected ({rows}, features)"
            )
        values = values.reshape(rows, -1)
        if values.shape[1] == 0:
            raise ModelError(f"layer {layer!r} has no features")
        result[layer] = values.numpy()
    return result


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
        or "can't allocate memory" in text
        or "out of memory" in text
    )


class _Batches(torch.utils.data.Dataset[Any]):
    """Decodes and preprocesses; errors travel as values, so that their one line survives the worker process."""

    def __init__(self, stimuli: StimulusSet, preprocessing: Preprocessing, batches: list[list[int]]) -> None:
        self.stimuli, self.preprocessing, self.batches = stimuli, preprocessing, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[list[int], torch.Tensor] | BenchError:
        positions = self.batches[index]
        try:
            arrays = [self.preprocessing(self.stimuli.image(i)) for i in positions]
        except BenchError as error:
            return error
        return positions, torch.from_numpy(np.stack(arrays))


def _load_batches(
    stimuli: StimulusSet, preprocessing: Preprocessing, batches: list[list[int]], device: str
) -> Generator[Any, None, None]:
    """Yield (positions, images), decoded ahead in worker processes where that pays."""
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
        pin_memory=cuda,
    )
    for item in loader:
        if isinstance(item, BenchError):
            raise item
        yield item
