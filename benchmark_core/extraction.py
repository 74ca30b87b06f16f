"""Pass 1: every stimulus is forwarded once, and all requested layers go to a spool on disk.

Chunks of the spool are what is handed out: each device takes the next one as soon as it has forwarded its last. A chunk is
cut into the same batches wherever it goes, so devices of one kind give the digits that one of them would give.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import psutil
import torch

from benchmark_core.batch_sizes import LARGEST_BATCH, SHARE_OF_GPU, largest_batch, largest_on_gpu
from benchmark_core.chunk_writer import ChunkWriter
from benchmark_core.decoding import decoded_batches, input_of
from benchmark_core.errors import InputError, ModelError
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.profiling import stage
from benchmark_core.provenance import peak_rss
from benchmark_core.replicas import Batch, ChunkOutputs, Replica
from benchmark_core.spool import Spool, bytes_per_value
from benchmark_core.stimuli import StimulusSet
from benchmark_core.torch_models import HookedModel

Precision = Literal["exact", "fast"]
Progress = Callable[[int, int], None]

CHUNK_ROWS = 32
"""Stimuli in a chunk of the spool, and so what a killed run can lose."""
WRITERS = 2
"""Threads that write chunks where a GPU computes: one cannot keep up with it."""
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
    """What the forward pass of the first stimulus tells: sizes, the batch size, numbers in all; its outputs."""

    n_features: dict[str, int]
    batch_size: int
    n_values: int
    outputs: dict[str, torch.Tensor]


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
    devices: Sequence[str] = (),
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
    devices
        All devices to split the stimuli among, ``device`` first; each but that gets a copy of the model.

    Raises
    ------
    ModelError
        For outputs that are not finite or have the wrong batch size, or a model that does not fit, or cannot be copied
        to another device.
    InputError
        If the spool does not fit on the disk, for an unknown layer, or for an image that cannot be decoded.
    MissingDataError
        If an image is gone.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch size {batch_size} is not allowed; use a whole number of at least 1")
    spool = Spool.open(folder, len(stimuli), layers)
    with numeric_policy(precision):
        replica, first = Replica(model, device, layers, precision), None
        if spool is None:
            plan = probe(replica, stimuli, preprocessing, batch_size)
            chunk_rows = -(-max(CHUNK_ROWS, plan.batch_size) // plan.batch_size) * plan.batch_size
            half = precision == "fast"
            check_disk(folder, int(plan.n_values * bytes_per_value(chunk_rows, half)))
            spool = Spool.create(folder, len(stimuli), layers, chunk_rows, plan.batch_size, half)
            first = plan.outputs
        replica.fits = batch_size or spool.batch_size
        chunks = spool.absent()
        done = len(stimuli) - sum(len(spool.rows(c)) for c in chunks)
        if progress:
            progress(done, len(stimuli))
        cuts = {c: cut(spool.rows(c), replica.fits) for c in chunks}
        batches = [positions for c in chunks for positions in cuts[c]]
        others = devices[1 : len(chunks)]
        decoded = decoded_batches(stimuli, preprocessing, batches[1:] if first else batches, device)
        source = _Source(cuts, decoded, first is not None, alone=not others)
        if first is not None and others:  # whichever device takes the first chunk
            first = {layer: values.cpu() for layer, values in first.items()}
        sizes: dict[str, int] = {}
        writers = 0 if device == "cpu" and not others else WRITERS
        with ChunkWriter(spool, writers) as writer, closing(source):
            lanes = [
                _forward_chunks(one, source, writer, spool, stimuli.stimulus_ids, sizes, first)
                for one in (replica, *(replica.copy_to(name) for name in others))
            ]
            for forwarded in _together(lanes, (device, *others)):
                done += forwarded
                if progress:
                    progress(done, len(stimuli))
    return spool


def _forward_chunks(
    replica: Replica,
    source: _Source,
    writer: ChunkWriter,
    spool: Spool,
    stimulus_ids: Sequence[str],
    sizes: dict[str, int],
    first: dict[str, torch.Tensor] | None,
) -> Iterator[int]:
    """Forward chunks on one device as long as there are any; yield the number of stimuli of each batch."""
    outputs: ChunkOutputs | None = None
    room: dict[str, torch.Tensor] = {}  # of the chunk before: fresh memory costs as much as copying
    before: Any = None
    for batch in replica.sent_ahead(source.batches()):
        given = first if batch.images is None else replica.forward(batch.images)
        assert given is not None
        _check_sizes(sizes, given, stimulus_ids[batch.positions[0]])
        if outputs is None:
            ids = [stimulus_ids[i] for i in spool.rows(batch.chunk)]
            fitting = {layer: values[: len(ids)] for layer, values in room.items() if len(values) >= len(ids)}
            outputs = ChunkOutputs(batch.chunk, ids, fitting)
        arrival = replica.fetch(given, outputs)
        if before is not None:
            before.synchronize()  # a GPU has one batch to compute and one waiting, no more: memory stays bounded
        before = arrival
        yield len(batch.positions)
        if outputs.is_complete:
            room = {} if writer.is_behind else outputs.values
            writer.put(outputs)
            outputs = None


class _Source:
    """Batches of images, given out by whole chunks to whichever device comes next.

    Parameters
    ----------
    cuts
        Positions of the batches of every chunk, in order.
    decoded
        Images of all batches, in order.
    first_is_known
        Whether the outputs of the very first batch are there already, so that it has no images.
    alone
        Whether one device takes all of them, and none need to be decoded before it asks.
    """

    def __init__(
        self, cuts: Mapping[int, list[list[int]]], decoded: Iterator[torch.Tensor], first_is_known: bool, alone: bool
    ) -> None:
        self._left, self._decoded, self._known, self._alone = iter(cuts.items()), decoded, first_is_known, alone
        self._lock = threading.Lock()

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of a chunk, then of the next that nobody else has taken, to the end."""
        while True:
            with self._lock:
                chunk, positions = next(self._left, (-1, []))
                found: Iterable[Batch] = (self._batch(chunk, some) for some in positions)
                if not self._alone:
                    found = list(found)
            if chunk < 0:
                return
            yield from found

    def close(self) -> None:
        """End the processes that decode."""
        with stage("decoding"), self._lock:
            if hasattr(self._decoded, "close"):
                self._decoded.close()

    def _batch(self, chunk: int, positions: list[int]) -> Batch:
        if self._known:
            self._known = False
            return Batch(chunk, positions, None)
        with stage("decoding"):
            return Batch(chunk, positions, next(self._decoded))


def _together(lanes: Sequence[Iterator[int]], devices: Sequence[str]) -> Iterator[int]:
    """Yield what all lanes yield, as it comes: a single one is run here, several in threads of their own."""
    if len(lanes) == 1:
        yield from lanes[0]
        return
    found: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def run(lane: Iterator[int], device: str) -> None:
        try:
            # Both hold for a thread only.
            with torch.inference_mode(), nullcontext() if device == "cpu" else torch.cuda.device(device):
                for forwarded in lane:
                    found.put(forwarded)
                    if stopped.is_set():
                        return
        except BaseException as error:  # whatever it is, it is raised where the run was asked for
            found.put(error)
        else:
            found.put(None)

    threads = [threading.Thread(target=run, args=pair, name=pair[1]) for pair in zip(lanes, devices, strict=True)]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            item = found.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def cut(rows: range, batch_size: int) -> list[list[int]]:
    """Cut a chunk into batches. The very first stimulus goes alone: its forward pass tells how many fit at a time."""
    if rows.start > 0 or len(rows) == 1:
        return [list(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]
    rest = [list(rows[max(i, 1) : i + batch_size]) for i in range(0, len(rows), batch_size)]
    return [[0], *(positions for positions in rest if positions)]


def probe(
    replica: Replica, stimuli: StimulusSet, preprocessing: Preprocessing, batch_size: int | None = None
) -> ExtractionPlan:
    """Forward the first stimulus to learn the size of every layer and of the activations, and choose a batch size.

    On a GPU the memory of larger batches, copies of that stimulus, is measured.

    Raises
    ------
    ModelError
        For outputs that are of no use.
    """
    image = torch.from_numpy(input_of(stimuli, preprocessing, 0))[None]
    sizes: list[int] = []
    handles = []
    if isinstance(replica.model, HookedModel):

        def count(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                sizes.append(output.numel() * output.element_size())

        handles = [m.register_forward_hook(count) for m in replica.model.module.modules() if not list(m.children())]
    held, most_before = psutil.Process().memory_info().rss, peak_rss()
    try:
        sent = replica.send(image)
        outputs = replica.forward(sent)
    finally:
        for handle in handles:
            handle.remove()
    most = peak_rss()
    checked = ChunkOutputs(0, stimuli.stimulus_ids[:1])
    replica.fetch(outputs, checked)
    checked.wait()
    checked.check()  # before hours are spent
    n_features = {layer: values.shape[1] for layer, values in outputs.items()}
    if batch_size is None and replica.is_gpu:
        batch_size = largest_batch(
            lambda size: replica.peak(sent.expand(size, *sent.shape[1:])),
            int(SHARE_OF_GPU * replica.free_memory()),
            largest_on_gpu(len(stimuli), sum(n_features.values())),
            max(4, len(stimuli) // 64),
        )
        replica.release()
    elif batch_size is None:
        # Outputs of all modules bound what is alive at once; convolutions need about as much again to work in.
        needed = 2 * sum(sizes) + 4 * sum(n_features.values()) + image.numel() * 4
        if most > most_before and most - held > SEEN:  # modules may keep what they compute to themselves
            needed = max(needed, most - held)
        fits = max(1, int(0.25 * psutil.virtual_memory().available / max(needed, 1)))
        batch_size = 1 << min(fits, LARGEST_BATCH["cpu"]).bit_length() - 1
    return ExtractionPlan(n_features, batch_size, len(stimuli) * sum(n_features.values()), outputs)


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


def _check_sizes(sizes: dict[str, int], outputs: Mapping[str, torch.Tensor], stimulus_id: str) -> None:
    """Check that every layer has the number of features that it had for the stimuli before, which ``sizes`` keeps."""
    for layer, values in outputs.items():
        found = values.shape[1]
        if sizes.setdefault(layer, found) != found:
            raise ModelError(
                f"layer {layer!r} gives {found} features from stimulus_id {stimulus_id!r} on and {sizes[layer]} before; "
                "a layer needs one size"
            )
