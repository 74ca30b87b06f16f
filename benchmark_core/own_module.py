"""Scoring a torch module that somebody built, without a plugin: through the same plan, passes and records as any model."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmark_core.arrays import choose_device
from benchmark_core.cells import AUTO, cell_key, make_plan
from benchmark_core.code_hash import code_hash
from benchmark_core.errors import BenchError, InputError, ModelError
from benchmark_core.extraction import Precision, numeric_policy
from benchmark_core.identifiers import NAME, Parameter
from benchmark_core.keys import digest
from benchmark_core.own_preprocessing import PAPER, as_preprocessing
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.records import Score, read_score
from benchmark_core.registry import OWN, Registry, describe
from benchmark_core.specs import ModelSpec
from benchmark_core.stimuli import StimulusSet
from benchmark_core.torch_models import OUTPUT, HookedModel, seeded_globals
from benchmark_core.weights_hash import weights_hash

SCHEME = 1
"""Version of how an own module is hashed and run; raised when either changes."""
TOLERANCE = {8: 1e-3, 4: 1e-3, 2: 5e-2, 1: 5e-2}
"""Largest relative difference that is still rounding, by the size of the module's numbers in bytes."""


def score_module(
    module: torch.nn.Module,
    benchmark: str,
    *,
    layers: str | Sequence[str] | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | str | Callable[..., Any] | None = None,
    metric: str | None = None,
    name: str | None = None,
    trained: bool = False,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "exact",
    batch_size: int | None = None,
    records: Path | str | None = None,
    plugins: Sequence[Path | str] = (),
    force: bool = False,
    registry: Registry | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Score:
    """Score a torch module of one's own on one benchmark.

    The module is scored in evaluation mode, on a copy that shares its parameters, and left as it was. What was scored
    before is read from its record: same code, attributes, hooks, weights, preprocessing and layers mean the same
    score (:func:`benchmark_core.code_hash.code_hash` says what of the code counts). The record is named
    ``own/NAME:module=@<12 digits>``; different modules never share one.

    Parameters
    ----------
    module
        Takes a batch of images (B, C, H, W) in its own dtype.
    benchmark
        Identifier.
    layers
        Module paths, as :func:`benchmark_core.check_model` lists them, or ``output``, what ``forward`` returns (the
        default). Among several the metric chooses on training stimuli.
    preprocessing
        A :class:`benchmark_core.Preprocessing`, its settings as a mapping, ``"paper"`` (the default: 224 x 224,
        ImageNet's mean and standard deviation), or a function from an RGB image of Pillow to a tensor (C, H, W),
        such as a transform of torchvision in its evaluation form.
    name
        Shown on the leaderboard after ``own/`` (default: the module's class).
    trained
        Whether the weights were learned; only shown.
    metric, device, backend, precision, batch_size, records, plugins, force, registry, progress
        As for :func:`benchmark_core.run`.

    Raises
    ------
    InputError
        For anything named that is not known or not allowed, a module without values, one whose code cannot be read.
    ModelError
        If forward fails on the benchmark's first images; if a layer is never reached, gives no tensor, a wrong batch
        dimension, values that are not finite, other values each time, or values that depend on the rest of the batch.
    MissingDataError
        If the benchmark's data are not on this machine.
    BenchError
        If the score could not be computed; what went wrong is recorded, as for any model.
    """
    from benchmark_core.api import as_score, make_runner

    module = check_module(module)
    if not isinstance(benchmark, str):
        raise InputError(f"benchmark is {type(benchmark).__name__}; name one, e.g. 'simulated.V4'")
    prepared = as_preprocessing(preprocessing)
    wanted = _layers(layers)
    identity = identify(module, name or name_of(module), prepared)
    found = registry or Registry.default([Path(p) for p in plugins])
    runner = make_runner(found, device, backend, precision, batch_size, records, force, progress)
    with borrowed(module) as lent:
        own = OwnModel(lent)
        own.check_layers(wanted)
        spec = identity.spec(own, wanted, prepared, trained)
        with _on_the_shelf(found, spec):
            cells, _ = make_plan(
                found, [identity.identifier], [benchmark], metric, wanted[0] if len(wanted) == 1 else AUTO
            )
            if len(cells) != 1:
                raise InputError(f"{benchmark!r} stands for {len(cells)} benchmarks; name one")
            (cell,) = cells
            key = cell_key(cell, found, precision, runner.store)
            if force or read_score(runner.records, key) is None:
                # Here, so that a slip in a notebook leaves no row on the leaderboard.
                place = choose_device(device)
                own.to(place)
                subjects = cell.benchmark.subjects  # where each saw stimuli of their own
                part = next(iter(subjects.values()), cell.benchmark)
                try_out(own, part.stimuli(), prepared, wanted, place, runner.numerics.precision)
            (record,) = runner.run(cells)
    return as_score(record)


class OwnModel(HookedModel):
    """A module that gets its inputs in its own dtype."""

    def features(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return {layer: (B, P) float32}."""
        return super().features(images.to(input_dtype(self.module)), layers)


@dataclass(frozen=True)
class Identity:
    """What a module is called and what its scores are found again by.

    Parameters
    ----------
    name
        ``own/NAME``.
    code
        Hash of code, attributes and hooks.
    weights
        Hash of parameters and buffers.
    preprocessing
        ``@`` and the first 12 digits of the hash of the preprocessing, or ``paper``.
    """

    name: str
    code: str
    weights: str
    preprocessing: str

    @property
    def module(self) -> str:
        """``@`` and the first 12 digits of the hash of the whole module."""
        return "@" + digest({"scheme": SCHEME, "code": self.code, "weights": self.weights})[:12]

    @property
    def identifier(self) -> str:
        """The identifier under which scores are recorded."""
        rest = "" if self.preprocessing == PAPER else f",preprocessing={self.preprocessing}"
        return f"{self.name}:module={self.module}{rest}"

    def spec(self, own: OwnModel, layers: tuple[str, ...], preprocessing: Preprocessing, trained: bool) -> ModelSpec:
        """Return the spec of a model that is already there."""
        return ModelSpec(
            name=self.name,
            version=f"{SCHEME}+{self.code[:12]}",
            load=lambda **_: own,
            layers=layers,
            parameters=(Parameter("module", "str"), Parameter("preprocessing", "str", PAPER)),
            preprocessing=preprocessing,
            weights=f"sha256:{self.weights}",
            trained=trained,
        )


def identify(module: torch.nn.Module, name: str, preprocessing: Preprocessing) -> Identity:
    """Return what a module's scores are recorded under.

    Raises
    ------
    InputError
        For a name that cannot stand in an identifier, or a module whose code cannot be read.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be a module's name: use letters, digits and . _ - / +")
    settings = preprocessing.as_key()
    shown = PAPER if settings == Preprocessing().as_key() else "@" + digest(settings)[:12]
    what = f"module {type(module).__name__}"
    return Identity(f"{OWN}/{name}", code_hash(module, what, weights=False), weights_hash(module), shown)


def name_of(module: torch.nn.Module) -> str:
    """Return a module's class as a name that can stand in an identifier."""
    return re.sub(r"[^A-Za-z0-9._+-]|^[^A-Za-z0-9]+", "", type(module).__name__) or "module"


def check_module(module: Any) -> torch.nn.Module:
    """Return the module that is to be scored: the one inside a compiled or data-parallel one, otherwise itself.

    Raises
    ------
    InputError
        For what is no module, or has no values.
    """
    if isinstance(module, type) and issubclass(module, torch.nn.Module):
        raise InputError(f"{module.__name__} is a class; give an instance, e.g. {module.__name__}()")
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{type(module).__name__} is neither an identifier nor a torch.nn.Module")
    if type(module).__name__ == "OptimizedModule":
        return check_module(module._orig_mod)
    if isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        return check_module(module.module)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if torch.nn.parameter.is_lazy(tensor):
            raise InputError(f"{name!r} is not initialised yet (a lazy module); run the module on one batch first")
        if tensor.is_meta:
            raise InputError(f"{name!r} is on the meta device and has no values; load the module's weights first")
    return module


def input_dtype(module: torch.nn.Module) -> torch.dtype:
    """Return the dtype of a module's first floating-point parameter or buffer; float32 where it has none."""
    tensors = (t.dtype for group in (module.parameters(), module.buffers()) for t in group)
    return next((dtype for dtype in tensors if dtype.is_floating_point), torch.float32)


@contextmanager
def borrowed(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Lend a copy of a module that shares its parameters' memory; or itself, put back afterwards, if it has no copy.

    A copy may be put into evaluation mode, moved and hooked, and what forward stores in it stays in it.
    """
    shared: dict[int, Any] = {}
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if type(parameter) is torch.nn.Parameter:
                shared[id(parameter)] = torch.nn.Parameter(parameter.detach(), requires_grad=False)
                vars(shared[id(parameter)]).update(vars(parameter))
        for value in [*vars(part).values(), *part.buffers(recurse=False)]:
            if isinstance(value, torch.Tensor) and not value.is_leaf:  # deepcopy refuses these
                shared[id(value)] = value.detach().clone()
    try:
        lent = copy.deepcopy(module, shared)
    except Exception:  # it holds a lock, a file, a generator
        with _put_back(module):
            yield module
        return
    yield lent


@contextmanager
def _put_back(module: torch.nn.Module) -> Iterator[None]:
    """Restore mode, ``requires_grad``, device and buffers of a module when the block ends."""
    parts = list(module.modules())
    modes = [part.training for part in parts]
    parameters = [(p, p.data, p.requires_grad) for p in module.parameters()]
    buffers = [dict(part._buffers) for part in parts]
    try:
        yield
    finally:
        for part, mode, held in zip(parts, modes, buffers, strict=True):
            part.training = mode
            part._buffers.update(held)
        for parameter, data, requires_grad in parameters:
            parameter.data = data
            parameter.requires_grad_(requires_grad)


@contextmanager
def _on_the_shelf(registry: Registry, spec: ModelSpec) -> Iterator[None]:
    """Let a registry know a model for as long as the block lasts."""
    registry.models.by_name[spec.name] = [spec]
    try:
        yield
    finally:
        del registry.models.by_name[spec.name]


@contextmanager
def forward_errors(images: torch.Tensor) -> Iterator[None]:
    """Turn whatever forward raises into one line that names the input."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        raise ModelError(
            f"the module fails on an input of shape {tuple(images.shape)} ({describe(error)}); "
            "preprocessing= says how images become inputs"
        ) from error


def try_out(
    own: HookedModel,
    stimuli: StimulusSet,
    preprocessing: Preprocessing,
    layers: Sequence[str],
    device: str,
    precision: Precision,
) -> None:
    """Forward the first two stimuli together, and one alone, before hours are spent on all of them.

    Raises
    ------
    InputError
        If preprocessing fails, or gives other inputs each time.
    ModelError
        If forward fails, or a layer's values cannot be relied on.
    """
    pictures = [stimuli.image(i) for i in range(min(2, len(stimuli)))]
    images = inputs_of(pictures, preprocessing).to(device)

    def features(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        with forward_errors(rows):
            return own.features(rows, layers)

    with numeric_policy(precision), seeded_globals():
        once, alone = features(images), features(images[:1])
        again = features(images) if any(differ(once[k][:1], alone[k], own.module) for k in layers) else once
    for layer in layers:
        values = once[layer]
        if len(values) != len(images) or len(alone[layer]) != 1:
            raise ModelError(f"layer {layer!r} gives {len(values)} rows for a batch of {len(images)} images")
        if not torch.isfinite(values).all():
            raise ModelError(f"layer {layer!r} gives values that are not finite")
        if differ(values, again[layer], own.module):
            raise ModelError(
                f"layer {layer!r} gives other values for the same image each time, in evaluation mode too; "
                "a score needs a module that draws nothing in forward"
            )
        if differ(values[:1], alone[layer], own.module):
            raise ModelError(
                f"layer {layer!r} depends on the other images of the batch; "
                "a score needs a module that treats each image alone (e.g. batch norm with running statistics)"
            )


def differ(one: torch.Tensor, other: torch.Tensor, module: torch.nn.Module) -> bool:
    """Whether rows of features differ by more than rounding."""
    if one.shape != other.shape:
        return True
    gap, size = torch.linalg.vector_norm(one - other, dim=1), torch.linalg.vector_norm(one, dim=1)
    return bool((gap > TOLERANCE[input_dtype(module).itemsize] * size).any())


def inputs_of(pictures: Sequence[Image.Image], preprocessing: Preprocessing) -> torch.Tensor:
    """Return images as a batch of inputs (B, C, H, W) float32, after checking that preprocessing draws nothing.

    Raises
    ------
    InputError
        If preprocessing fails, or gives other inputs for the same image.
    """
    try:
        inputs = [preprocessing(picture) for picture in pictures]
        again = preprocessing(pictures[0])
    except BenchError:
        raise
    except Exception as error:
        raise InputError(f"preprocessing fails on an image of {pictures[0].size} pixels ({describe(error)})") from error
    if not np.array_equal(inputs[0], again, equal_nan=True):
        raise InputError(
            "preprocessing gives other inputs for the same image each time; use its evaluation form, without random crops"
        )
    return torch.from_numpy(np.stack(inputs))


def _layers(layers: str | Sequence[str] | None) -> tuple[str, ...]:
    wanted = (OUTPUT,) if layers is None else (layers,) if isinstance(layers, str) else tuple(layers)
    wrong = [layer for layer in wanted if not isinstance(layer, str)]
    if not wanted or wrong or len(set(wanted)) < len(wanted):
        raise InputError("layers is a list of module paths, each named once; benchmark_core.check_model lists them")
    return wanted
