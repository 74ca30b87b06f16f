"""Preprocessing as a user writes it in a notebook: a function of an image, a few settings, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmark_core.code_hash import code_hash
from benchmark_core.errors import InputError, did_you_mean
from benchmark_core.preprocessing import Preprocessing, eight_bits

if TYPE_CHECKING:
    import torch

PAPER = "paper"


@dataclass(frozen=True, kw_only=True)
class OwnPreprocessing(Preprocessing):
    """Preprocessing by a user's function; its code is its key.

    Parameters
    ----------
    function
        Takes an RGB image of Pillow, 8 bits a channel, and returns a tensor or array (channels, height, width) of one
        shape for all images.
    name, sha256
        Of the function, as they enter keys.
    """

    function: Callable[[Image.Image], Any]
    name: str
    sha256: str
    _shapes: list[tuple[int, ...]] = field(default_factory=list, compare=False, repr=False)

    def as_key(self) -> dict[str, Any]:
        """Return the function's name and the hash of its code."""
        return {"function": self.name, "sha256": self.sha256}

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the input as a float32 array of shape (channels, height, width).

        Raises
        ------
        InputError
            For images without an agreed range, and for what is no input or not of the shape of those before.
        """
        result = self.function(eight_bits(image).convert("RGB"))
        tensor: torch.Tensor | None = result if hasattr(result, "detach") else None
        values = tensor.detach().cpu().float().numpy() if tensor is not None else result
        if not isinstance(values, np.ndarray) or values.ndim != 3 or values.dtype.kind not in "fiub":
            found = f"shape {values.shape}" if isinstance(values, np.ndarray) else type(result).__name__
            raise InputError(
                f"preprocessing {self.name} returns {found}; expected a tensor or array (channels, height, width)"
            )
        if not self._shapes:
            self._shapes.append(values.shape)
        elif values.shape != self._shapes[0]:
            raise InputError(
                f"preprocessing {self.name} gives shape {values.shape} here and {self._shapes[0]} for an image before; "
                "let it resize all images to one size"
            )
        return np.ascontiguousarray(values, dtype=np.float32)


def as_preprocessing(given: Preprocessing | Mapping[str, Any] | str | Callable[..., Any] | None) -> Preprocessing:
    """Return preprocessing in whichever form it was given.

    Parameters
    ----------
    given
        None or ``"paper"``: resized straight to 224 x 224, RGB, normalised by ImageNet's mean and standard deviation
        (the default of :class:`benchmark_core.Preprocessing`). A mapping: that class's settings, e.g.
        ``{"size": 64, "colour": "grey", "mean": 0.5, "std": 0.25}``; one number stands for both sides or for all
        channels. A function of one image: see :class:`OwnPreprocessing`.

    Raises
    ------
    InputError
        For anything else, and for settings that are unknown or contradict each other.
    """
    if isinstance(given, Preprocessing):
        return given
    if given is None or given == PAPER:
        return Preprocessing()
    if isinstance(given, Mapping):
        return _from_settings(given)
    if isinstance(given, type):
        raise InputError(f"preprocessing {given.__name__} is a class; give an instance, e.g. {given.__name__}(...)")
    if callable(given):
        name = getattr(given, "__qualname__", type(given).__name__).rpartition(".")[2]
        return OwnPreprocessing(function=given, name=name, sha256=code_hash(given, f"preprocessing {name}"))
    shown = repr(given) if isinstance(given, str) else type(given).__name__
    raise InputError(
        f"preprocessing {shown} is not known; give a benchmark_core.Preprocessing, its settings as a dict, a function "
        'of an image, or "paper"'
    )


def _from_settings(given: Mapping[str, Any]) -> Preprocessing:
    known = [f.name for f in fields(Preprocessing)]
    for name in given:
        if name not in known:
            raise InputError(f"preprocessing has no setting {name!r}.{did_you_mean(str(name), known)}")
    settings = dict(given)
    channels = 1 if settings.get("colour") == "grey" else 3
    try:
        if isinstance(settings.get("size"), int):
            settings["size"] = (settings["size"], settings["size"])
        elif "size" in settings:
            settings["size"] = tuple(int(n) for n in settings["size"])
        for name in ("mean", "std"):
            if isinstance(settings.get(name), (int, float)):
                settings[name] = (float(settings[name]),) * channels
            elif name in settings:
                settings[name] = tuple(float(v) for v in settings[name])
    except (TypeError, ValueError):
        raise InputError(
            "preprocessing: size is one or two whole numbers, mean and std one number for each channel"
        ) from None
    return Preprocessing(**settings)
