"""What timm lists, and how it builds and loads its networks."""

from __future__ import annotations

import math
from typing import Any

import timm
from timm.models import get_arch_pretrained_cfgs
from torch import Tensor, nn


def catalogue() -> dict[str, Any]:
    """Return every architecture with its tags: weights files, inputs and transforms (plain data)."""
    return {name: _entry(name) for name in timm.list_models()}


def _entry(name: str) -> dict[str, Any]:
    configs = {full.partition(".")[2]: config for full, config in get_arch_pretrained_cfgs(name).items()}
    tags = {tag: _tag(name, tag, config) for tag, config in configs.items() if tag and config.has_weights}
    config: Any = timm.get_pretrained_cfg(name)
    default = config.tag if config.tag in tags else next(iter(tags), None)
    return {"default": default, "tags": tags, "input": _input(configs[default] if default else config)}


def _tag(name: str, tag: str, config: Any) -> dict[str, Any]:
    url = config.url if isinstance(config.url, str) and not config.url.endswith(".npz") else None
    return {
        "repository": config.hf_hub_id or None,
        "repository_file": config.hf_hub_filename or None,
        "url": url or None,
        "file": f"{name}.{tag}",
        "input": _input(config),
    }


def _input(config: Any) -> dict[str, Any]:
    """Return timm's evaluation transform in the terms of :class:`Preprocessing`, or why it has none."""
    channels, height, width = config.input_size
    found: dict[str, Any] = {"size": [height, width], "fixed": bool(config.fixed_input_size)}
    crop, interpolation = config.crop_pct or 0.875, config.interpolation
    scaled = math.floor(height / crop), math.floor(width / crop)
    if channels != 3 or len(config.mean) != 3 or len(config.std) != 3:
        return found | {"problem": f"it takes {channels} channels"}
    if interpolation not in ("bilinear", "bicubic"):
        return found | {"problem": f"it resizes by interpolation {interpolation!r}"}
    if config.crop_mode == "squash":
        if scaled != (height, width):
            return found | {"problem": "it squashes images and crops them"}
        shorter = None
    elif config.crop_mode in (None, "", "center"):
        if height != width:
            return found | {"problem": f"it crops {height} x {width} pixels, which is no square"}
        shorter = scaled[0]
    else:
        return found | {"problem": f"it crops by mode {config.crop_mode!r}"}
    return found | {
        "shorter_side": shorter,
        "interpolation": interpolation,
        "mean": list(config.mean),
        "std": list(config.std),
    }


def build(name: str, tag: str | None) -> nn.Module:
    """Build an architecture as a tag's weights (or, without one, its default configuration) need it; untrained."""
    network: nn.Module = timm.create_model(f"{name}.{tag}" if tag else name, pretrained=False)
    return network


def build_with(name: str, tag: str | None, tensors: dict[str, Tensor]) -> nn.Module:
    """Build an architecture and load tensors the way timm loads those of a tag."""
    network: nn.Module = timm.create_model(
        f"{name}.{tag}" if tag else name,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": tensors, "custom_load": False, "source": ""},
    )
    return network
