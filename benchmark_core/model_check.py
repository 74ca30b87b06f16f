"""What a torch module offers to be scored: layers, shapes, sizes, and whether its outputs can be relied on."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from benchmark_core.errors import InputError
from benchmark_core.extraction import numeric_policy
from benchmark_core.observation import agree, named_parts, observe, problem_of
from benchmark_core.own_module import borrowed, check_module, identify, input_dtype, inputs_of, name_of
from benchmark_core.own_preprocessing import as_preprocessing
from benchmark_core.torch_models import OUTPUT, HookedModel, seeded_globals

if TYPE_CHECKING:
    from benchmark_core.preprocessing import Preprocessing

STIMULI = (640, 3200)
"""Numbers of stimuli for which sizes are shown: those of ``cowley2023.V4`` and of MajajHong."""
IMAGE_SIZE = 256


@dataclass(frozen=True)
class LayerCheck:
    """One layer of a module.

    Parameters
    ----------
    name
        Module path, or ``output``.
    kind
        Class of the module.
    shape
        Shape of its output for one image, or None where that is no tensor of a batch.
    calls
        How often a forward pass calls it; the first call is read.
    problem
        Why it cannot be read or relied on, or None.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    calls: int
    problem: str | None

    @property
    def n_features(self) -> int | None:
        """Number of features: all values of an image's output."""
        return None if self.shape is None else int(np.prod(self.shape, dtype=np.int64))

    @property
    def mb_per_stimulus(self) -> float | None:
        """Size of one stimulus in the spool (float32), in MB of 10^6 bytes."""
        return None if self.n_features is None else 4 * self.n_features / 1e6

    def spool_bytes(self, n_stimuli: int) -> int:
        """Bytes on disk, for the time of the run, that the layer takes for so many stimuli (float32)."""
        return 4 * n_stimuli * (self.n_features or 0)

    def kernel_bytes(self, n_stimuli: int) -> int:
        """Bytes that stay in the cache: n x n inner products, or n x P features where P <= n (float64)."""
        return 8 * n_stimuli * min(n_stimuli, self.n_features or 0)


@dataclass(frozen=True, repr=False)
class ModelCheck:
    """What :func:`check_model` found; prints as a table, in a notebook too.

    Parameters
    ----------
    identifier
        Under which the module's scores would be recorded, or None where it cannot be given a key (``problems`` says why).
    name
        Class of the module.
    n_parameters, weights_bytes
        Parameters, and the size of parameters and buffers.
    dtype, device
        Of the first parameter.
    input_shape
        Of one image, after preprocessing.
    layers
        Every module that has a path, in the order of the paths, and last ``output``.
    deterministic, independent, finite
        Whether, in evaluation mode and over all layers that give tensors, two forward passes agree, an image alone
        gives what it gives in a batch, and all values are finite.
    problems
        What stands in the way of a score, one line each.
    seconds
        What the check took.
    """

    identifier: str | None
    name: str
    n_parameters: int
    weights_bytes: int
    dtype: str
    device: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerCheck, ...]
    deterministic: bool
    independent: bool
    finite: bool
    problems: tuple[str, ...]
    seconds: float

    @property
    def readable(self) -> tuple[str, ...]:
        """Names of the layers that can be scored."""
        return tuple(layer.name for layer in self.layers if layer.problem is None)

    @property
    def unreadable(self) -> dict[str, str]:
        """Reason for each layer that cannot be scored."""
        return {layer.name: layer.problem for layer in self.layers if layer.problem is not None}

    def __getitem__(self, name: str) -> LayerCheck:
        """Return the layer of this name."""
        return {layer.name: layer for layer in self.layers}[name]

    def __str__(self) -> str:
        headings, rows = self._table()
        cells = [headings, *rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
        lines = []
        for row in cells:
            left = [text.ljust(width) for text, width in zip(row[:3], widths[:3], strict=True)]
            right = [text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join([*left, *right]).rstrip())
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*self._head(), "", *(lines if rows else []), *self._foot()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        headings, rows = self._table()

        def row(tag: str, cells: Sequence[str]) -> str:
            aligned = (f'<{tag} style="text-align:{"left" if i < 3 else "right"}">' for i in range(len(cells)))
            return f"<tr>{''.join(a + html.escape(c) + f'</{tag}>' for a, c in zip(aligned, cells, strict=True))}</tr>"

        head, foot = (
            "".join(f"<p>{html.escape(line)}</p>" for line in lines if line) for lines in (self._head(), self._foot())
        )
        body = "".join(row("td", cells) for cells in rows)
        return f"{head}<table><thead>{row('th', headings)}</thead><tbody>{body}</tbody></table>{foot}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        headings = ["layer", "module", "output", "features", "MB/stimulus"]
        headings += [f"{what} {n}" for what in ("spool", "kernel") for n in STIMULI]
        rows = [
            [
                layer.name,
                layer.kind,
                _shape(layer.shape or ()),
                str(layer.n_features),
                f"{layer.mb_per_stimulus:.3f}",
                *(_size(layer.spool_bytes(n)) for n in STIMULI),
                *(_size(layer.kernel_bytes(n)) for n in STIMULI),
            ]
            for layer in self.layers
            if layer.problem is None
        ]
        return headings, rows

    def _head(self) -> list[str]:
        many = self.n_parameters >= 1e6
        count = f"{self.n_parameters / 1e6:.3g} million parameters" if many else f"{self.n_parameters} parameters"
        checked = {
            "deterministic": self.deterministic,
            "independent of the batch": self.independent,
            "finite": self.finite,
        }
        return [
            f"{self.name}: {count} ({_size(self.weights_bytes)}, {self.dtype}, {self.device}), "
            f"input {_shape(self.input_shape)}, checked in {self.seconds:.1f} s",
            "in evaluation mode: "
            + ", ".join(f"{what}: {'yes' if holds else 'NO'}" for what, holds in checked.items()),
            *([f"recorded as {self.identifier}"] if self.identifier else []),
        ]

    def _foot(self) -> list[str]:
        names: dict[str, list[str]] = {}
        for layer in self.layers:
            if layer.problem is not None:
                names.setdefault(f"cannot be read, {layer.problem}", []).append(layer.name)
            elif layer.calls > 1:
                names.setdefault("called more than once, the first call is read", []).append(layer.name)
        lines = [f"{what}: {', '.join(layers)}" for what, layers in names.items()]
        lines += [f"problem: {problem}" for problem in self.problems]
        return ["", *lines] if lines else []


def check_model(
    module: torch.nn.Module,
    preprocessing: Preprocessing | Mapping[str, Any] | str | Callable[..., Any] | None = None,
    batch: int | torch.Tensor = 2,
) -> ModelCheck:
    """Say in seconds, without data, what can be scored of a module: layers, shapes, memory, and what is wrong.

    The module is run in evaluation mode, where it lies, two or three times on noise, and left as it was.

    Parameters
    ----------
    module
        Any :class:`torch.nn.Module` that takes an image batch (B, C, H, W).
    preprocessing
        As for :func:`benchmark_core.score`; noise images of 256 x 256 pixels go through it.
    batch
        Number of images, at least 2, or a batch of inputs (B, C, H, W) to use instead of noise.

    Returns
    -------
    ModelCheck
        Prints as a table; all it says is in its attributes.

    Raises
    ------
    InputError
        For what is no module, a module without values (on the meta device, or not yet initialised), a wrong
        preprocessing or batch.
    ModelError
        If forward fails on the input.

    Examples
    --------
    >>> import torch
    >>> from benchmark_core import check_model
    >>> check = check_model(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU()))
    >>> check.readable, check["0"].shape
    (('0', '1', 'output'), (4, 220, 220))
    """
    started = time.perf_counter()
    module = check_module(module)
    prepared = as_preprocessing(preprocessing)
    problems: list[str] = []
    identifier = None
    try:
        identifier = identify(module, name_of(module), prepared).identifier
    except InputError as error:
        problems.append(str(error))
    images = _noise(batch, prepared) if isinstance(batch, int) else batch
    if not isinstance(images, torch.Tensor) or images.ndim < 2 or len(images) < 2:
        raise InputError("batch is a number of images of at least 2, or a tensor (B, channels, height, width)")
    first = next(iter(module.parameters()), None)
    with borrowed(module) as own, seeded_globals(), numeric_policy("exact"):
        model = HookedModel(own)
        images = images.to(device=first.device if first is not None else "cpu", dtype=input_dtype(own))
        once, alone = observe(model, images), observe(model, images[:1])
        marked = [name for name, seen in once.items() if seen.marks is not None]
        same = all(agree(once[name], alone.get(name), images.dtype, 1) for name in marked)
        # Passes that disagree may do so because of chance or because of the batch: a third one tells.
        again = once if same else observe(model, images)
    layers, random, mixed, wild = [], False, False, False
    for name, part in [*named_parts(module).items(), (OUTPUT, module)]:
        seen = once.get(name)
        problem = problem_of(seen, len(images))
        shape = seen.shape[1:] if seen and seen.shape and seen.shape[0] == len(images) else None
        if seen is not None and seen.marks is not None:
            if not torch.isfinite(seen.marks).all():
                wild, problem = True, "gives values that are not finite"
            elif not agree(seen, again.get(name), images.dtype, len(images)):
                random, problem = True, "gives other values for the same image each time"
            elif not agree(seen, alone.get(name), images.dtype, 1):
                mixed, problem = True, "depends on the other images of the batch"
        layers.append(LayerCheck(name, type(part).__name__, shape, seen.calls if seen else 0, problem))
    tensors = [*module.parameters(), *module.buffers()]
    return ModelCheck(
        identifier=identifier,
        name=type(module).__name__,
        n_parameters=sum(p.numel() for p in module.parameters()),
        weights_bytes=sum(t.numel() * t.element_size() for t in tensors),
        dtype=str(input_dtype(module)).removeprefix("torch."),
        device=str(first.device) if first is not None else "cpu",
        input_shape=tuple(images.shape[1:]),
        layers=tuple(layers),
        deterministic=not random,
        independent=not mixed,
        finite=not wild,
        problems=tuple(problems),
        seconds=time.perf_counter() - started,
    )


def _noise(n: int, preprocessing: Preprocessing) -> torch.Tensor:
    """Return n noise images as inputs."""
    draws = np.random.Generator(np.random.Philox(0)).integers(0, 256, (max(n, 0), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    images = [Image.fromarray(pixels) for pixels in draws]
    return inputs_of(images, preprocessing) if n >= 2 else torch.empty(0)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) if shape else "1"


def _size(n_bytes: float) -> str:
    """Write a size in units of powers of 1000, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
