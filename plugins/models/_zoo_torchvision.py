"""What torchvision lists, and how it builds and loads its networks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model, get_model_builder, get_model_weights, list_models

_OTHER_INPUTS = ("video", "optical_flow", "quantization")


def catalogue() -> dict[str, Any]:
    """Return every architecture of still images with its tags: weights files, inputs and transforms (plain data)."""
    return {name: _entry(name) for name in list_models() if _kind(name) not in _OTHER_INPUTS}


def _kind(name: str) -> str:
    return str(get_model_builder(name).__module__.removeprefix("torchvision.models.").split(".")[0])


def _entry(name: str) -> dict[str, Any]:
    weights = get_model_weights(name)
    fixed = _kind(name) == "vision_transformer"
    # An enumeration of torchvision's lists equal weights under one name.
    tags = {
        tag.name: {"url": tag.url, "file": tag.url.rpartition("/")[2], "input": _input(tag, fixed)} for tag in weights
    }
    default = weights.DEFAULT.name if tags else None
    unknown = {"size": [224, 224], "fixed": fixed, "problem": "torchvision gives it none"}
    return {"default": default, "tags": tags, "input": tags[default]["input"] if default else unknown}


def _input(tag: Any, fixed: bool) -> dict[str, Any]:
    """Return torchvision's transform in the terms of :class:`Preprocessing`, or why it has none."""
    transform = tag.transforms()
    name = type(transform).__name__
    if name != "ImageClassification":
        return {"size": [224, 224], "fixed": fixed, "problem": f"{name} has no fixed input size"}
    crop, resize = list(transform.crop_size), list(transform.resize_size)
    height, width = crop if len(crop) == 2 else crop * 2
    found = {"size": [height, width], "fixed": fixed}
    interpolation = transform.interpolation.value
    if interpolation not in ("bilinear", "bicubic") or len(resize) != 1:
        return found | {"problem": f"it resizes to {resize} by interpolation {interpolation!r}"}
    return found | {
        "shorter_side": resize[0],
        "interpolation": interpolation,
        "mean": list(transform.mean),
        "std": list(transform.std),
    }


def build(name: str, tag: str | None) -> nn.Module:
    """Build an architecture as a tag's weights (or, without one, its default ones) need it; untrained."""
    builder = get_model_builder(name)
    options: dict[str, Any] = {}
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None  # else detection and segmentation load trained ones
    if "init_weights" in inspect.signature(builder).parameters or _kind(name) in ("googlenet", "inception"):
        options["init_weights"] = True  # the default, but for a warning that it takes long
    found = _weights(name, tag)
    if found is not None and _kind(name) == "vision_transformer":
        options["image_size"] = found.meta["min_size"][0]
    network: nn.Module = get_model(name, weights=None, **options)
    return network


def build_with(name: str, tag: str | None, tensors: dict[str, Tensor]) -> nn.Module:
    """Build an architecture and load tensors the way torchvision loads those of a tag (without one, the default)."""
    found = _weights(name, tag)
    if found is None:
        network = build(name, None)
        network.load_state_dict(tensors, strict=True)
        return network
    with _instead_of_download(tensors):
        loaded: nn.Module = get_model(name, weights=found)
    return loaded


def _weights(name: str, tag: str | None) -> Any:
    weights = get_model_weights(name)
    if tag:
        return weights[tag]
    return weights.DEFAULT if len(weights) else None


@contextmanager
def _instead_of_download(tensors: dict[str, Tensor]) -> Iterator[None]:
    """Make torchvision load ``tensors`` where it would load a downloaded file (which it would unpickle)."""
    original = WeightsEnum.get_state_dict
    WeightsEnum.get_state_dict = lambda self, *args, **kwargs: tensors
    try:
        yield
    finally:
        WeightsEnum.get_state_dict = original
