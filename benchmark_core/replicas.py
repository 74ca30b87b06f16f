"""Forward passes on one device, with copies to and from it that do not wait for them.

A device works through a queue of its own. Inputs of the next batch and outputs of the last one are copied, from and to
pinned memory, on streams beside the one that computes. On a CPU the same calls do everything at once.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from benchmark_core.errors import ModelError
from benchmark_core.profiling import stage
from benchmark_core.stimuli import name_ids
from benchmark_core.torch_models import HookedModel, is_convolutional

if TYPE_CHECKING:
    from benchmark_core.extraction import Model, Precision

CHANNELS_LAST = {"fast"}
"""Policies under which a GPU gets maps with channels last in memory.

Tensor cores read them so. Without them, in exact float32, cuDNN's kernels are those written for channels first.
"""
CONVERSION = "view size is not compatible"
"""What torch says of a module that takes channels first for granted."""


@dataclass(frozen=True)
class Batch:
    """Stimuli that are forwarded together.

    Parameters
    ----------
    chunk
        Of the spool, to which their outputs go.
    positions
        Of the stimuli.
    images
        (B, C, H, W), on their way to the device or there; None if the outputs are there already.
    """

    chunk: int
    positions: Sequence[int]
    images: torch.Tensor | None


@dataclass
class ChunkOutputs:
    """Outputs of a chunk of stimuli in the memory of the host, filled batch by batch.

    Parameters
    ----------
    chunk
        Of the spool.
    stimulus_ids
        Of its rows.
    values
        By layer, (rows, P) float32; whatever they hold at first is written over.
    finite
        By layer, (rows,) whether all values of a row are finite.
    filled
        Rows that have been filled, or are being filled.
    """

    chunk: int
    stimulus_ids: Sequence[str]
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    finite: dict[str, torch.Tensor] = field(default_factory=dict)
    filled: int = 0
    _arrival: Any = None

    @property
    def is_complete(self) -> bool:
        """Whether all rows are filled, or on their way."""
        return self.filled == len(self.stimulus_ids)

    def wait(self) -> None:
        """Wait for what is on its way from the device."""
        if self._arrival is not None:
            self._arrival.synchronize()

    def check(self) -> None:
        """Check that all values are finite.

        Raises
        ------
        ModelError
            Naming the first layer that has others, and the stimuli.
        """
        for layer, finite in self.finite.items():
            if not bool(finite.all()):
                ids = [i for i, good in zip(self.stimulus_ids, finite.tolist(), strict=True) if not good]
                raise ModelError(f"layer {layer!r} gives values that are not finite for stimulus_id {name_ids(ids)}")


class Replica:
    """A model on one device.

    Parameters
    ----------
    model
        Already on ``device``.
    device
        ``cpu`` or ``cuda:N``.
    layers
        To read.
    precision
        ``exact`` or ``fast``.
    fits
        Stimuli that are known to fit at a time; halved when memory runs out.
    channels_last
        Whether maps lie with channels last; None to decide by device, policy and model.
    """

    def __init__(
        self,
        model: Model,
        device: str,
        layers: Sequence[str],
        precision: Precision = "exact",
        fits: int = 1,
        channels_last: bool | None = None,
    ) -> None:
        self.model, self.device, self.layers, self.precision, self.fits = model, device, layers, precision, fits
        self.is_gpu = device != "cpu"
        # Streams and events have the same form on every kind of device; those of a CPU do nothing.
        self._library: Any = torch.cuda if self.is_gpu else torch.cpu
        where = (device,) if self.is_gpu else ()
        self._inward, self._outward = self._library.Stream(*where), self._library.Stream(*where)
        module = model.module if isinstance(model, HookedModel) else None
        if channels_last is None:
            channels_last = self.is_gpu and precision in CHANNELS_LAST and (module is None or is_convolutional(module))
        self.format = torch.contiguous_format
        if channels_last:
            self._lay_out(torch.channels_last)

    def copy_to(self, device: str) -> Replica:
        """Return the same model on another device.

        Raises
        ------
        ModelError
            If the model cannot be copied.
        """
        try:
            with torch.inference_mode(False):
                twin = copy.deepcopy(self.model)
                twin.to(device)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ModelError(f"the model cannot be copied to {device} ({reason}); name a single device") from error
        last = self.format is torch.channels_last
        return Replica(twin, device, self.layers, self.precision, self.fits, channels_last=last)

    def sent_ahead(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches on the device; each has been sent before the one before it is yielded."""
        waiting: Batch | None = None
        for batch in batches:
            sent = batch if batch.images is None else replace(batch, images=self.send(batch.images))
            if waiting is not None:
                yield waiting
            waiting = sent
        if waiting is not None:
            yield waiting

    def send(self, images: torch.Tensor) -> torch.Tensor:
        """Begin to copy images to the device; what is computed with them from now on waits for them."""
        if not self.is_gpu:
            return images
        with self._library.stream(self._inward):
            sent = images.to(self.device, non_blocking=True)
        computing = self._computing()
        computing.wait_stream(self._inward)
        if sent.is_cuda:
            sent.record_stream(computing)
        return sent

    @stage("forward")
    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return {layer: (B, P) float32} on the device, forwarding at most ``fits`` stimuli at a time.

        When memory runs out ``fits`` is halved; what has been forwarded is kept.

        Raises
        ------
        ModelError
            If a single stimulus does not fit, or the outputs are of no use.
        """
        parts: list[dict[str, torch.Tensor]] = []
        done = 0
        while done < len(images):
            piece = images[done : done + self.fits]
            try:
                parts.append(self.features(piece))
                done += len(piece)
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(piece) == 1:
                    raise ModelError(f"one stimulus does not fit into the memory of {self.device}") from None
                self.fits = -(-len(piece) // 2)
            self.release()
        if len(parts) == 1:
            return parts[0]
        return {layer: torch.cat([part[layer] for part in parts]) for layer in self.layers}

    def features(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Forward images in one pass and return {layer: (B, P) float32} on the device, checked for shape."""
        try:
            return self._features(images)
        except RuntimeError as error:
            if self.format is not torch.channels_last or CONVERSION not in str(error):
                raise
        self._lay_out(torch.contiguous_format)
        return self._features(images)

    @stage("forward")
    def fetch(self, outputs: Mapping[str, torch.Tensor], target: ChunkOutputs) -> Any:
        """Begin to copy outputs of a batch to the next rows of a chunk; return an event to wait for.

        Raises
        ------
        ModelError
            If a layer has another size than in the batch before.
        """
        first, rows = target.filled, len(next(iter(outputs.values())))
        finite = {layer: _finite_rows(values) for layer, values in outputs.items()}
        self._outward.wait_stream(self._computing())
        with self._library.stream(self._outward):
            for layer, values in outputs.items():
                n = len(target.stimulus_ids)
                if layer not in target.values:
                    target.values[layer] = self._host(n, values.shape[1])
                if layer not in target.finite:
                    target.finite[layer] = self._host(n, dtype=torch.bool)
                for into, given in ((target.values, values), (target.finite, finite[layer])):
                    into[layer][first : first + rows].copy_(given, non_blocking=True)
                    if given.is_cuda:
                        given.record_stream(self._outward)
            arrival = self._library.Event()
            arrival.record(self._outward)
        target.filled += rows
        target._arrival = arrival
        return arrival

    def peak(self, images: torch.Tensor) -> int | None:
        """Forward images on a GPU and return the memory that took at most in bytes; None if it ran out.

        Counted are, besides, inputs and outputs of a second batch, which are there at the same time in a run.
        """
        self.release()
        before = self._library.memory_allocated(self.device)
        self._library.reset_peak_memory_stats(self.device)
        try:
            outputs = self.features(images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        self._library.synchronize(self.device)
        besides = sum(values.nbytes for values in outputs.values()) + images.nbytes
        return int(self._library.max_memory_allocated(self.device)) - int(before) + besides

    def free_memory(self) -> int:
        """Return the bytes of a GPU that nobody uses."""
        self.release()
        unused = self._library.memory_reserved(self.device) - self._library.memory_allocated(self.device)
        return int(self._library.mem_get_info(self.device)[0]) + int(unused)

    def release(self) -> None:
        """Give back memory that is held for nothing."""
        gc.collect()
        if self.is_gpu:
            self._library.synchronize(self.device)
            self._library.empty_cache()

    def _features(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        if images.ndim == 4:
            images = images.contiguous(memory_format=self.format)
        rows = len(images)
        given: Any = self.model.features(images, self.layers)
        if not isinstance(given, Mapping):
            raise ModelError(f"features() returned {type(given).__name__}, not a mapping from layers to tensors")
        return {layer: self._checked(given, layer, rows) for layer in self.layers}

    def _checked(self, given: Mapping[str, Any], layer: str, rows: int) -> torch.Tensor:
        if layer not in given:
            raise ModelError(f"features() returned no layer {layer!r}")
        values = torch.as_tensor(given[layer]).detach().to(self.device, torch.float32)
        if values.ndim == 0 or values.shape[0] != rows:
            raise ModelError(
                f"layer {layer!r} has shape {tuple(values.shape)} for a batch of {rows}; expected ({rows}, features)"
            )
        if values.numel() == 0:
            raise ModelError(f"layer {layer!r} has no features")
        return values.reshape(rows, -1)

    def _lay_out(self, memory_format: torch.memory_format) -> None:
        """Have maps, and the weights of convolutions, lie in memory in another order."""
        self.format = memory_format
        if isinstance(self.model, HookedModel):
            with torch.inference_mode(False):
                self.model.module.to(memory_format=memory_format)

    def _computing(self) -> Any:
        return self._library.current_stream(self.device) if self.is_gpu else self._library.current_stream()

    def _host(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=self.is_gpu and torch.cuda.is_available())


def _finite_rows(values: torch.Tensor) -> torch.Tensor:
    """Return for each row (B, P) whether all of it is finite; twenty times faster than to ask every value."""
    if not values.shape[1]:
        return torch.ones(len(values), dtype=torch.bool, device=values.device)
    return torch.isfinite(values.amax(dim=1)) & torch.isfinite(values.amin(dim=1))  # both give NaN if there is one


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or any(
        words in text for words in ("out of memory", "can't allocate memory", "alloc_failed")
    )
