"""Networks of the zoos: which layers they have by default, how their outputs are pooled, how weights get in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark_core.errors import InputError
from benchmark_core.torch_models import HookedModel, flatten, seeded_globals
from plugins.models._trained_weights import mismatch, read_tensors

_SERIES = re.compile(r"(.*?)_?\d+[a-z]?")
_NOT_STAGES = re.compile(
    r"((aux|pos|head|patch|global|max|avg|pre|final)_?)?"
    r"(head|heads|final|classifier|fc|embed|conv|incre|downsamp|bn|norm|act|pool|drop|dropout|logits|transition|downsample|stem|flatten|c?r?pe)"
    r"(_?\d.*|s|out|_.*)?",
    re.IGNORECASE,
)
_DEEPEST = 3  # modules inside one another above the series of stages
_SHARE = 0.4  # of the parameters that such a series holds at least
_FEW = 3  # stages: where the library names more, they are taken
_NEIGHBOUR = 0.02  # of the parameters that what lies beside it holds at least, to be a stage, too


def describe_network(network: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """Return what the harness has to know of an architecture.

    Parameters
    ----------
    network
        On the meta device, so that nothing is computed.
    size
        Height and width of its input, in pixels.

    Returns
    -------
    dict
        ``layers`` (names of the stages or blocks, from input to output), ``prefix_tokens`` (class and register tokens
        ahead of those of the patches) and ``channels_last`` (whether its maps are rows x columns x channels).
    """
    modules = dict(network.named_modules())
    names = stages(network)
    # Stages that are never called, or return no features, give way to what the library names, makes them up, or
    # surrounds them.
    named = [name for name in _library_names(network) if name in modules]
    inside = {stage: [f"{stage}.{child}" for child, _ in modules[stage].named_children()] for stage in names}
    others = [name for name in modules if name and "." not in name and not _NOT_STAGES.fullmatch(name)]
    shapes: dict[str, tuple[int, ...]] = {}
    handles = [
        modules[name].register_forward_hook(lambda _m, _i, output, name=name: _note(shapes, name, output))
        for name in dict.fromkeys([*names, *named, *(n for within in inside.values() for n in within), *others])
    ]
    try:
        with torch.inference_mode():
            network.eval()(torch.empty(1, 3, *size, device="meta"))
    except Exception:
        # Some need numbers to go through; what came before tells enough.
        if not shapes:
            shapes = dict.fromkeys(names, ())
    finally:
        for handle in handles:
            handle.remove()
    last = [max((n for n in within if n in shapes), key=within.index, default="") for within in inside.values()]
    of_series, of_library, of_parts, around = (
        [name for name in tried if name in shapes] for tried in (names, named, last, others)
    )
    if len(of_series) < _FEW < len(of_library):
        of_series = of_library
    layers = of_series or of_library or of_parts or around or ["output"]
    maps = [shape[1:] for name, shape in shapes.items() if name in layers and len(shape) == 4]
    return {
        "layers": layers,
        "prefix_tokens": _prefix_tokens(network),
        "channels_last": bool(maps) and all(rows == columns != channels for rows, columns, channels in maps),
    }


def without_numbers(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on the meta device; one that must have numbers to be built is moved there afterwards."""
    try:
        with torch.device("meta"):
            return build()
    except Exception:
        with seeded_globals():
            return build().to("meta")


def _note(shapes: dict[str, tuple[int, ...]], name: str, output: Any) -> None:
    found = features_of(output, rows=1)
    if found:
        shapes.setdefault(name, tuple(found[0].shape))


def features_of(output: Any, rows: int) -> list[Tensor]:
    """Return those tensors of a module's output that are its features, each with a row for every image.

    Of a list or a mapping (branches, resolutions) these are all tensors. Of a tuple (features, and what the next module
    needs besides) it is the first one that has a row for every image; timm's own feature extraction takes the first, too.
    """
    found: list[Tensor] = []
    if isinstance(output, Tensor):
        found = [output]
    elif isinstance(output, Mapping):
        found = [value for value in output.values() if isinstance(value, Tensor)]
    elif isinstance(output, (list, tuple)):
        found = [value for value in output if isinstance(value, Tensor)]
    fitting = [tensor for tensor in found if tensor.ndim > 1 and len(tensor) == rows]
    return fitting[:1] if isinstance(output, tuple) else fitting


def _library_names(network: nn.Module) -> list[str]:
    """Return the modules whose outputs timm takes for the features of a network's stages; not all of them exist."""
    told = getattr(network, "feature_info", None)
    return [str(entry["module"]) for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []


def _prefix_tokens(network: nn.Module) -> int:
    counted = getattr(network, "num_prefix_tokens", None)  # timm's
    return int(hasattr(network, "class_token") if counted is None else counted)


def stages(network: nn.Module) -> list[str]:
    """Return the names of an architecture's stages or blocks: the outermost numbered series of much of its weights.

    Such are ``layer1`` to ``layer4`` of ResNet, ``blocks.0`` to ``blocks.11`` of a vision transformer, ``features.1``,
    ``features.3``, ``features.5`` and ``features.7`` of torchvision's ConvNeXt; of VGG, the poolings.
    """
    everything = sum(
        p.numel() for name, p in network.named_parameters() if not _NOT_STAGES.fullmatch(name.split(".")[0])
    )
    for path, parent in sorted(_parents(network), key=lambda found: found[0].count(".") + bool(found[0])):
        series: dict[str, list[str]] = {}
        for name, _ in parent.named_children():
            match = _SERIES.fullmatch(name)
            if match and not (match[1] and _NOT_STAGES.fullmatch(match[1])):
                series.setdefault(match[1], []).append(name)
        sizes = {key: sum(_size(parent.get_submodule(n)) for n in names) for key, names in series.items()}
        largest = max(sizes, key=sizes.__getitem__, default=None)
        if largest is None or len(series[largest]) < 2 or sizes[largest] < _SHARE * everything:
            continue
        names = [f"{path}.{name}".lstrip(".") for name in _without_glue(parent, series[largest])]
        return _with_neighbours(network, path, names) if "." in path else names
    return []


def _with_neighbours(network: nn.Module, path: str, names: list[str]) -> list[str]:
    """Put what lies beside the container ``path`` of a series before and after it, as in the backbones of detectors.

    A neighbour is one stage, or, if it is only a list of modules, as many as that has.
    """
    around, _, own = path.rpartition(".")
    parent = network.get_submodule(around)
    found: list[str] = []
    for name, module in parent.named_children():
        children = [child for child, _ in module.named_children()]
        if name == own:
            found += names
        elif children and not _NOT_STAGES.fullmatch(name) and _size(module) > _NEIGHBOUR * _size(parent):
            listed = isinstance(module, nn.ModuleList)
            found += [f"{around}.{name}.{child}" for child in children] if listed else [f"{around}.{name}"]
    return found


def _parents(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in network.named_modules():
        if path.count(".") < _DEEPEST and not _NOT_STAGES.fullmatch(path.split(".")[0]):
            yield path, module


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _without_glue(parent: nn.Module, names: list[str]) -> list[str]:
    """Leave out what stands between stages: of primitives keep the poolings, of sequences those of whole blocks."""
    members = {name: parent.get_submodule(name) for name in names}
    if len(members) < 2 or not isinstance(parent, nn.Sequential):
        return names
    of_blocks = [
        name
        for name, member in members.items()
        if isinstance(member, nn.Sequential) and any(list(block.children()) for block in member)
    ]
    compound = [
        name
        for name, member in members.items()
        if list(member.children()) and type(member).__name__ not in ("Conv2dNormActivation", "Conv2dNormAct")
    ]
    pools = [name for name, member in members.items() if isinstance(member, nn.MaxPool2d)]
    for kept in (of_blocks, compound, pools):
        if len(kept) > 1:
            return kept
    return names


class ZooNetwork(HookedModel):
    """A network whose layers are read with explicit pooling, with or without class tokens.

    Parameters
    ----------
    network
        Any module that takes an image batch.
    pool
        ``none``; ``avg``, the mean over all positions; ``avgK``, means over K x K positions side by side (what is left
        over at the right and lower edge is dropped; a map smaller than that is averaged whole).
    class_token
        Whether a layer's class and register tokens are kept.
    prefix_tokens, channels_last
        As :func:`describe_network` tells them.
    """

    def __init__(
        self, network: nn.Module, *, pool: str, class_token: bool, prefix_tokens: int, channels_last: bool
    ) -> None:
        super().__init__(network)
        self.pool, self.class_token = pool, class_token
        self.prefix_tokens, self.channels_last = prefix_tokens, channels_last
        self._rows = 1

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the outputs of layers; several tensors of one layer lie side by side."""
        self._rows = len(images)
        return super().features(images, layers)

    def read(self, output: Any, layer: str) -> Tensor:
        """Return a layer's output as the parameters ask for, flattened to (B, P) float32."""
        found = [] if isinstance(output, Tensor) else features_of(output, self._rows)
        if not found:
            return self._read(output, layer)
        return torch.cat([self._read(tensor, layer) for tensor in found], dim=1)

    def _read(self, output: Any, layer: str) -> Tensor:
        plain = self.pool == "none" and self.class_token
        if plain or not isinstance(output, Tensor) or output.ndim not in (3, 4):
            return flatten(output, layer)
        if output.ndim == 4:
            return flatten(_pool(_channels_first(output, self.channels_last), self.pool), layer)
        prefix, patches = self._split(output, layer)
        if self.pool == "avg":
            patches = patches.mean(dim=1, keepdim=True)
        elif self.pool != "none":
            side = math.isqrt(patches.shape[1])
            if side**2 != patches.shape[1]:
                raise InputError(
                    f"layer {layer!r} has {patches.shape[1]} tokens, which form no square; use pool=avg or pool=none"
                )
            grid = patches.transpose(1, 2).reshape(len(patches), patches.shape[2], side, side)
            patches = _pool(grid, self.pool).flatten(2).transpose(1, 2)
        return flatten(torch.cat([prefix, patches], dim=1) if self.class_token else patches, layer)

    def _split(self, tokens: Tensor, layer: str) -> tuple[Tensor, Tensor]:
        """Return class and register tokens, and those of the patches, of (B, N, D)."""
        count, ahead = tokens.shape[1], self.prefix_tokens
        if ahead and not _square(count - ahead):
            if not _square(count):
                raise InputError(
                    f"layer {layer!r} has {count} tokens, of which those of the patches cannot be told; "
                    "use class_token=true and pool=none"
                )
            ahead = 0  # a layer ahead of the class token
        return tokens[:, :ahead], tokens[:, ahead:]


def _square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _channels_first(maps: Tensor, channels_last: bool) -> Tensor:
    """Return maps as (B, C, H, W); square ones tell by themselves where their channels are."""
    a, b, c = maps.shape[1:]
    last = a == b if (a == b) != (b == c) else channels_last
    return maps.permute(0, 3, 1, 2) if last else maps


def _pool(maps: Tensor, pool: str) -> Tensor:
    """Average (B, C, H, W) over all positions or side by side."""
    if pool == "none":
        return maps
    size = int(pool.removeprefix("avg") or 0)
    if not size:
        return maps.mean(dim=(2, 3), keepdim=True)
    return F.avg_pool2d(maps, (min(size, maps.shape[2]), min(size, maps.shape[3])))


def with_weights(
    identifier: str, path: Path, load: Callable[[dict[str, Tensor]], nn.Module], blank: Callable[[], nn.Module]
) -> nn.Module:
    """Return a network with the weights of a file.

    Parameters
    ----------
    identifier
        For messages.
    path
        Weights file.
    load
        Builds the network with tensors, the way the library does it.
    blank
        Builds it without; only called when the tensors do not fit, to say which.

    Raises
    ------
    InputError
        If the file cannot be read or does not fit; the message names a tensor and its shapes.
    """
    stored = read_tensors(path)
    try:
        return load(dict(stored))
    except Exception as error:  # libraries convert tensors by name first, and raise whatever they meet
        expected = without_numbers(blank).state_dict()
        reason = mismatch(stored, expected) or " ".join(str(error).split())[:300]
        raise InputError(f"the weights {path} do not fit {identifier}: {reason}") from None
