"""The contract of models: each is loaded, and forwarded on a few made-up images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmark_core.contract import CheckFailed, CheckSkipped, Finding, NothingLoaded, check_import
from benchmark_core.contract_guards import Meter, changed, generator_states, measured, same_generators
from benchmark_core.errors import BenchError, MissingDataError
from benchmark_core.extraction import Model, numeric_policy, wrap
from benchmark_core.identifiers import canonical
from benchmark_core.listing import size_text
from benchmark_core.pipeline import candidate_layers, preprocessing_of
from benchmark_core.registry import Registry, describe
from benchmark_core.resolution import Resolved, import_target
from benchmark_core.torch_models import HookedModel, seeded_globals

N_IMAGES = 2
TOLERANCE = 1e-3
"""Largest difference between features that are to be the same, relative to their root mean square in the layer.

Not zero: sums are added up in another order where the batch is of another size. What reads across images is off by
about 1.
"""

Features = dict[str, np.ndarray]


class ModelContract:
    """The checks of one model; each leaves what the next ones need.

    Parameters
    ----------
    registry, identifier
        Where the model comes from, and which.
    """

    def __init__(self, registry: Registry, identifier: str) -> None:
        self.registry = registry
        self.resolved: Resolved = registry.model(identifier)
        self.model: Model | None = None
        self.images = torch.empty(0)
        self.layers: list[str] = []  # those that can be read
        self.features: Features = {}
        self.load_meter = Meter()
        self.batch_meter: Meter | None = None
        self.touched_in_load: list[str] = []
        self.touched_in_forward: list[str] = []
        self.reseeds = False
        self.depends_on: list[str] = []  # layers that change with the state of global generators
        self.states_after_load: dict[str, Any] = {}

    def check_spec(self) -> None:
        """Everything the spec says without loading anything can be had, and fits together."""
        spec, model = self.resolved.spec, self.resolved
        if not spec.description.strip():
            raise CheckFailed("the spec has no description; say in one line what the model is")
        candidate_layers(model)
        preprocessing_of(model)
        if model.trained and isinstance(spec.weights, str):
            raise CheckFailed(
                f"trained, but weights is a text ({spec.weights!r}): make it a function that returns the file's path, "
                "so that the file enters the key"
            )
        again = self.registry.model(model.identifier)
        if (again.identifier, dict(again.given)) != (model.identifier, dict(model.given)):
            raise CheckFailed(f"its canonical identifier {model.identifier!r} stands for {again.identifier!r}")
        for variant, values in spec.variants.items():
            named, written = self.registry.model(variant), self.registry.model(canonical(spec.name, values))
            if dict(named.given) != dict(written.given):
                raise CheckFailed(f"the variant {variant!r} is not {written.identifier!r}")

    def check_import(self) -> None:
        """The plugin's module is light."""
        check_import(self.registry.plugin(self.resolved.spec))

    def check_load(self) -> Finding:
        """The weights are here, the model loads, and its preprocessing takes images."""
        weights = self.resolved.spec.weights
        weights = weights(**self.resolved.parameters) if callable(weights) else weights
        if isinstance(weights, Path) and not weights.is_file():
            raise MissingDataError(f"weights of {self.resolved.identifier} are missing: {weights}")
        with measured() as self.load_meter:
            model = self._load(0)
        preprocessing = preprocessing_of(self.resolved)
        self.images = torch.from_numpy(np.stack([preprocessing(image) for image in made_up_images(N_IMAGES)]))
        self.model = model
        return Finding(measured={"seconds": round(self.load_meter.seconds, 3)})

    def check_layers(self) -> Finding:
        """All layers at once; where that fails, each by itself, so that the others can be checked further."""
        self._loaded()
        declared = candidate_layers(self.resolved)
        try:
            self.features = self._read(self.images, declared)
        except Exception as error:
            whole = error
        else:
            self.layers = list(declared)
            return Finding(f"{len(declared)} layer{'s' * (len(declared) > 1)}", {"layers": list(declared)})
        bad: dict[str, Exception] = {}
        for layer in declared:
            try:
                self.features |= self._read(self.images, [layer])
                self.layers.append(layer)
            except Exception as error:
                bad[layer] = error
        reasons = list(dict.fromkeys(map(_words, bad.values()))) or [_words(whole)]
        raise CheckFailed("; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""))

    def check_shapes(self) -> Finding:
        """The first axis is the batch, and there is something in it."""
        self._forwarded()
        wrong = {
            layer: values.shape
            for layer, values in self.features.items()
            if values.ndim == 0 or values.shape[0] != N_IMAGES or values.size == 0
        }
        for layer in wrong:
            self.layers.remove(layer)
            del self.features[layer]
        if wrong:
            layer, shape = next(iter(wrong.items()))
            raise CheckFailed(
                f"layer {layer!r} has shape {tuple(shape)} for a batch of {N_IMAGES}; expected ({N_IMAGES}, features)"
            )
        sizes = {layer: int(np.prod(values.shape[1:])) for layer, values in self.features.items()}
        return Finding(", ".join(f"{layer}: {n}" for layer, n in list(sizes.items())[:4]), {"n_features": sizes})

    def check_finite(self) -> None:
        """No feature is infinite or not a number."""
        self._forwarded()
        for layer, values in self.features.items():
            bad = int((~np.isfinite(values)).sum())
            if bad:
                raise CheckFailed(f"layer {layer!r} gives {bad} of {values.size} values that are not finite")

    def check_determinism(self) -> None:
        """The same bits in a second pass, and from a second load in which only the global generators differ."""
        self._forwarded()
        with measured() as self.batch_meter:
            again = self._read(self.images, self.layers)
        self._same_bits(again, "a second forward pass gives")
        second = self._read(self.images, self.layers, self._load(1))
        self.depends_on = [layer for layer in self.layers if not _same(self.features[layer], second[layer])]
        if self.depends_on:
            third = self._read(self.images, self.layers, self._load(0))
            if any(not _same(self.features[layer], third[layer]) for layer in self.layers):
                self.depends_on = []  # it is random in some other way
            self._same_bits(third, "a second load gives")

    def check_batch(self) -> Finding:
        """One image alone, then the others."""
        self._forwarded()
        parts = [self._read(self.images[rows], self.layers) for rows in (slice(0, 1), slice(1, None))]
        shapes = {layer: [part[layer].shape for part in parts] for layer in self.layers}
        for layer, (one, rest) in shapes.items():
            if one != (1, *self.features[layer].shape[1:]) or rest[1:] != one[1:]:
                raise CheckFailed(f"layer {layer!r} has shape {one} for one image and {rest} for {N_IMAGES - 1}")
        return self._close(
            {layer: np.concatenate([part[layer] for part in parts]) for layer in self.layers}, "with the batch's size"
        )

    def check_order(self) -> Finding:
        """The same batch, back to front."""
        self._forwarded()
        backwards = self._read(self.images.flip(0), self.layers)
        return self._close({layer: values[::-1] for layer, values in backwards.items()}, "with the place in the batch")

    def check_width(self) -> Finding:
        """A model half as wide gives the first half of the features."""
        width, given = self.resolved.spec.width, self.resolved.parameters
        if width is None:
            raise CheckSkipped("no width is declared")
        self._forwarded()
        wide = int(given[width.parameter] or 0)
        narrow = {**given, width.parameter: wide // 2}
        if width.layer not in self.layers or not width.shared(**given) or not getattr(width, "side_by_side", True):
            raise CheckSkipped("narrower features are not declared to be the first of wider ones here")
        (parameter,) = [p for p in self.resolved.spec.parameters if p.name == width.parameter]
        try:
            parameter.check(wide // 2)
        except ValueError:
            raise CheckSkipped(f"{width.parameter}={wide} cannot be halved") from None
        part = self._read(self.images, [width.layer], self._load(0, narrow))[width.layer].reshape(N_IMAGES, -1)
        scale = getattr(width, "scale", lambda **_: 1.0)
        whole = self.features[width.layer].reshape(N_IMAGES, -1)
        if part.shape[1] * wide != whole.shape[1] * (wide // 2):
            raise CheckFailed(
                f"{width.parameter}={wide} gives {whole.shape[1]} features and {width.parameter}={wide // 2} gives "
                f"{part.shape[1]}: not as many for each unit"
            )
        difference = _difference(whole[:, : part.shape[1]], part * (scale(**given) / scale(**narrow)))
        if difference > TOLERANCE:
            raise CheckFailed(
                f"the features with {width.parameter}={wide // 2} are not the first of those with "
                f"{width.parameter}={wide} (off by {difference:.2g} of their size); declare shared=lambda **_: False"
            )
        return Finding(measured={"largest_difference": difference})

    def check_global_rng(self) -> None:
        """Global generators are as they were; but layers may draw weights that are then replaced."""
        self._loaded()
        use = "draw from numpy.random.Generator(numpy.random.Philox([seed, ...])) instead"
        if self.touched_in_forward:
            raise CheckFailed(f"forward uses the global generator of {' and '.join(self.touched_in_forward)}; {use}")
        if self.reseeds:
            raise CheckFailed(f"load seeds the global generator of torch; {use}")
        others = [name for name in self.touched_in_load if name != "torch"]
        if others:
            raise CheckFailed(f"load uses the global generator of {' and '.join(others)}; {use}")
        if self.depends_on:
            raise CheckFailed(
                f"layer {self.depends_on[0]!r} depends on the global generator of torch (weights of a default "
                f"initialisation?); {use}"
            )

    def check_cost(self) -> Finding:
        """What one batch takes."""
        self._forwarded()
        if self.batch_meter is None:
            raise CheckSkipped("the second forward pass did not come to an end")
        meter, weights = self.batch_meter, _weights_bytes(self.model)
        words = f"{N_IMAGES} images: {meter.seconds:.2f} s, {size_text(meter.grown)} of memory"
        numbers = {
            "images": N_IMAGES,
            "batch_seconds": round(meter.seconds, 4),
            "batch_bytes": meter.grown,
            "load_seconds": round(self.load_meter.seconds, 3),
            "weights_bytes": weights,
        }
        held = f", {size_text(weights)} of weights" if weights else ""
        return Finding(f"{words}; load: {self.load_meter.seconds:.2f} s{held}", numbers)

    def _load(self, ambient: int, parameters: Mapping[str, Any] | None = None) -> Model:
        """Load the model as a run does, with the global generators seeded by ``ambient``, and note what it does to them."""
        spec = self.resolved.spec
        with seeded_globals(ambient):
            before = generator_states()
            loaded = wrap(import_target(spec.load)(**(parameters or self.resolved.parameters)), spec.name)
            after = generator_states()
        self._note(self.touched_in_load, changed(before, after))
        if ambient == 0:
            self.states_after_load = after
        elif "torch" in changed(before, after) and after["torch"] == self.states_after_load.get("torch"):
            self.reseeds = True  # it ends in one state wherever it starts
        return loaded

    def _read(self, images: torch.Tensor, layers: Sequence[str], model: Model | None = None) -> Features:
        """Forward a batch and return what each layer gives, whatever its shape."""
        model = model or self._loaded()
        with same_generators():
            before = generator_states()
            try:
                with numeric_policy("exact"):
                    given: Any = model.features(images, layers)
            finally:
                self._note(self.touched_in_forward, changed(before, generator_states()))
        if not isinstance(given, Mapping):
            raise CheckFailed(f"features() returned {type(given).__name__}, not a mapping from layers to tensors")
        absent = [layer for layer in layers if layer not in given]
        if absent:
            raise CheckFailed(f"features() returned no layer {absent[0]!r}")
        # Copied, so that a model that writes into what it returned is found out.
        return {layer: torch.as_tensor(given[layer]).detach().cpu().float().numpy().copy() for layer in layers}

    @staticmethod
    def _note(noted: list[str], names: Sequence[str]) -> None:
        noted += [name for name in names if name not in noted]

    def _loaded(self) -> Model:
        if self.model is None:
            raise NothingLoaded("the model is not loaded")
        return self.model

    def _forwarded(self) -> None:
        self._loaded()
        if not self.layers:
            raise NothingLoaded("no layer can be read")

    def _same_bits(self, again: Features, what: str) -> None:
        for layer in self.layers:
            if not _same(self.features[layer], again[layer]):
                off = _difference(self.features[layer], again[layer])
                raise CheckFailed(f"{what} other features of layer {layer!r} (off by {off:.2g} of their size)")

    def _close(self, again: Features, change: str) -> Finding:
        off = {layer: _difference(self.features[layer], again[layer]) for layer in self.layers}
        worst = max(off, key=off.__getitem__)
        if not off[worst] <= TOLERANCE:
            raise CheckFailed(
                f"features of layer {worst!r} change {change} (by {off[worst]:.2g} of their size): an image's features "
                "must depend on that image only"
            )
        return Finding(measured={"largest_difference": off[worst]})


def made_up_images(n: int) -> list[Image.Image]:
    """Return n made-up colour images of 112 x 96 pixels: coarse noise, the same every time."""
    random = np.random.Generator(np.random.Philox(20210))
    coarse = random.integers(0, 256, (n, 7, 6, 3), dtype=np.uint8)
    return [Image.fromarray(pixels).resize((96, 112), Image.Resampling.BICUBIC) for pixels in coarse]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference relative to the root mean square of ``a``; infinite where only one is finite."""
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(a)
    if not finite.any():
        return 0.0
    x, y = a[finite].astype(np.float64), b[finite].astype(np.float64)
    largest = float(np.abs(x - y).max())
    size = float(np.sqrt((x**2).mean()))
    return largest / size if size > 0 else (0.0 if largest == 0 else float("inf"))


def _weights_bytes(model: Model | None) -> int:
    if not isinstance(model, HookedModel):
        return 0
    held = [*model.module.parameters(), *model.module.buffers()]
    return sum(t.numel() * t.element_size() for t in held)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, (BenchError, CheckFailed)) else describe(error)
