"""Both passes for one model and one stimulus set: representations from the store, or computed and stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.errors import BenchError, MissingDataError, ModelError
from benchmark_core.keys import representation_key
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.profiling import note, stage
from benchmark_core.provenance import peak_rss
from benchmark_core.reduced import Wanted
from benchmark_core.resolution import Resolved, import_target

if TYPE_CHECKING:
    from benchmark_core.arrays import Backend
    from benchmark_core.extraction import Precision
    from benchmark_core.joined_spool import JoinedSpool
    from benchmark_core.randomised_pca import Reduction
    from benchmark_core.representation import Representation
    from benchmark_core.spool import Spool
    from benchmark_core.standardised import TrainingSets
    from benchmark_core.stimuli import StimulusSet
    from benchmark_core.store import Store

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, of how much)."""


@dataclass(frozen=True)
class Numerics:
    """Where and how to compute; provenance, except for ``precision``, which enters keys.

    Parameters
    ----------
    device, backend
        As chosen by :func:`benchmark_core.arrays.choose_devices` (the first) and :func:`~benchmark_core.arrays.choose_backend`.
    precision
        ``exact`` (float32 forward pass, float64 products) or ``fast`` (TF32 and float32 products, float64 sums).
    batch_size
        Stimuli in a forward pass, or None to choose from the memory at hand.
    devices
        All devices that stimuli are split among, ``device`` first; empty for that one alone.
    """

    device: str = "cpu"
    backend: str = "numpy"
    precision: Precision = "exact"
    batch_size: int | None = None
    devices: tuple[str, ...] = ()

    def array_backend(self) -> Backend:
        """Return the array backend (imports numpy)."""
        from benchmark_core.arrays import choose_backend

        return choose_backend(self.backend, self.device)


def candidate_layers(model: Resolved) -> tuple[str, ...]:
    """Return the layers a model declares, for its parameters."""
    layers = model.spec.layers
    if callable(layers):
        layers = layers(**model.parameters)
    if isinstance(layers, str):
        raise ModelError(f"model {model.identifier!r}: layers is a text; write a tuple of names: layers=({layers!r},)")
    names = tuple(layers)
    if not names:
        raise ModelError(f"model {model.identifier!r} declares no layers")
    if len(set(names)) < len(names):
        raise ModelError(f"model {model.identifier!r} declares a layer twice")
    return names


def preprocessing_of(model: Resolved) -> Preprocessing:
    """Return a model's preprocessing, for its parameters."""
    chosen = model.spec.preprocessing
    if callable(chosen) and not isinstance(chosen, Preprocessing):
        chosen = chosen(**model.parameters)
    if not isinstance(chosen, Preprocessing):
        raise ModelError(f"model {model.identifier!r}: preprocessing is {type(chosen).__name__}, not Preprocessing")
    return chosen


def weights_of(model: Resolved, store: Store) -> str:
    """Return the recipe of a model's weights, or the SHA-256 of their file.

    Raises
    ------
    MissingDataError
        If the file is not there.
    """
    weights = model.spec.weights
    if callable(weights):
        weights = weights(**model.parameters)
    if isinstance(weights, Path):
        if not weights.is_file():
            raise MissingDataError(f"weights of {model.identifier} are missing: {weights}")
        return store.weights_sha256(weights)
    return str(weights)


def layer_keys(
    model: Resolved, version: str, stimuli: StimulusSet | str, layers: Sequence[str], precision: str, store: Store
) -> dict[str, str]:
    """Return the representation key of each layer, for stimuli or their manifest hash; opens no image, imports no torch."""
    weights, preprocessing = weights_of(model, store), preprocessing_of(model).as_key()
    manifest_hash = stimuli if isinstance(stimuli, str) else stimuli.manifest_hash
    return {
        layer: make_key(model, version, weights, preprocessing, manifest_hash, [layer], precision) for layer in layers
    }


def make_key(
    model: Resolved,
    version: str,
    weights: str,
    preprocessing: dict[str, Any],
    stimuli: str,
    layers: Sequence[str],
    precision: str,
) -> str:
    return representation_key(
        model=model.spec.name,
        version=version,
        parameters=model.given,
        weights=weights,
        preprocessing=preprocessing,
        stimuli=stimuli,
        layers=layers,
        policy=precision,
    )


@dataclass
class Pipeline:
    """Gives representations; keeps the last model loaded, so that several benchmarks share it.

    ``shared`` holds stimuli that all stimulus sets asked for next have in common (those that several subjects saw, beside
    others of their own). They are forwarded once: their spools stay until :meth:`remove_shared_spools`.
    """

    store: Store
    numerics: Numerics
    progress: Progress = lambda what, done, total: None
    shared: StimulusSet | None = None
    _shared_spools: set[str] = field(default_factory=set, repr=False)
    _loaded: dict[str, Any] = field(default_factory=dict, repr=False)
    _held: dict[str, tuple[Representation, dict[str, Any]]] = field(default_factory=dict, repr=False)

    def representations(
        self,
        model: Resolved,
        version: str,
        stimuli: StimulusSet,
        layers: Sequence[str],
        siblings: Sequence[Resolved] = (),
        reduction: Reduction | None = None,
        training_sets: TrainingSets = (),
    ) -> dict[str, tuple[Representation, dict[str, Any]]]:
        """Return {layer: (representation, how it came about)}.

        What the store holds is read; everything else is extracted together, each stimulus forwarded once. Of several
        processes asking for the same thing one computes it.

        Parameters
        ----------
        siblings
            Models that can share a forward pass with this one and are going to be asked for; if this one has to be
            computed, so are they, in the same pass.
        reduction
            What to boil layers down to where there are too many stimuli for a kernel.
        training_sets
            Give, besides, every layer standardised on each of these (without a reduction, which says so itself).
        """
        from benchmark_core.widths import compute_together

        width = model.spec.width
        wanted = Wanted(reduction, () if reduction else training_sets)
        if width is not None and tuple(layers) == (width.layer,):
            compute_together(self, [model, *siblings], version, stimuli, wanted)
        keys = layer_keys(model, version, stimuli, layers, self.numerics.precision, self.store)
        if reduction is not None:
            keys = {layer: reduction.key(key) for layer, key in keys.items()}
        self._held = {key: value for key, value in self._held.items() if key in keys.values()}
        found = self._read(keys, wanted)
        weights, preprocessing = weights_of(model, self.store), preprocessing_of(model).as_key()

        def spool_key(names: Sequence[str], of: StimulusSet = stimuli) -> str:
            return make_key(model, version, weights, preprocessing, of.manifest_hash, names, self.numerics.precision)

        def shared_key(names: Sequence[str]) -> str:
            return self.keep_shared(spool_key(names, self.shared)) if self.shared else ""

        together = list(layers)
        if len(found) == len(keys):
            # Left by a run that was killed between its last kernel and the end.
            self.store.remove_spool(spool_key(together))
            shared_key(together)
        else:
            # A run that was killed between two layers of pass 2 left a spool of all of them: go on with that one.
            if not (self.store.spool_path(spool_key(together)) / "plan.json").is_file():
                together = [layer for layer in layers if layer not in found]
            key = spool_key(together)
            with self.store.lock(key):
                found = self._read(keys, wanted)
                absent = [layer for layer in layers if layer not in found]
                if absent:
                    folder = self.store.spool_path(key)
                    self._compute(model, stimuli, together, absent, keys, folder, shared_key(together), wanted)
                    found = self._read(keys, wanted)
        missing = [layer for layer in layers if layer not in found]
        if missing:
            raise BenchError(f"the store {self.store.root} lost layer {missing[0]!r} of {model.identifier}; run again")
        note(layers=len(layers))
        return {layer: found[layer] for layer in layers}

    def provenance(self, spool: Spool | JoinedSpool, layers: Sequence[str], kernel_seconds: float) -> dict[str, Any]:
        """Return how a representation came about."""
        return {
            "extraction_seconds": spool.seconds,
            "extracted_layers": list(layers),
            "kernel_seconds": kernel_seconds,
            "batch_size": spool.batch_size,
            "spool_bytes": round(spool.bytes_per_value * spool.n * sum(spool.n_features(name) for name in layers)),
            "device": ",".join(self.numerics.devices) or self.numerics.device,
            "peak_rss_bytes": peak_rss(),
        }

    @stage("store read")
    def _read(self, keys: dict[str, str], wanted: Wanted) -> dict[str, tuple[Representation, dict[str, Any]]]:
        from benchmark_core.representation import Representation
        from benchmark_core.stored_representation import if_large

        found = {}
        backend = self.numerics.array_backend()
        for layer, key in keys.items():
            path = self.store.kernel_path(key)
            held = self._held.get(key)
            if held is None and (read := Representation.load(path, backend)) is not None:
                held = if_large(read[0], path, len(keys) * wanted.n_kernels), read[1]
            if held is not None and wanted.complete(held[0], self.store, backend, len(keys)):
                found[layer] = self._held[key] = held
        return found

    def _compute(
        self,
        model: Resolved,
        stimuli: StimulusSet,
        together: Sequence[str],
        absent: Sequence[str],
        keys: dict[str, str],
        folder: Path,
        shared_key: str,
        wanted: Wanted,
    ) -> None:
        """Extract ``together`` and reduce the layers that are absent from the store."""
        from benchmark_core.spool import DamagedChunkError

        left = list(absent)
        for _ in range(3):
            spool = self.extract(self.load(model), model, stimuli, together, folder, shared_key)
            try:
                while left:
                    layer = left[0]
                    started = time.perf_counter()
                    note(layers_computed=1)
                    representation = wanted.from_spool(
                        spool,
                        layer,
                        self.rows_of(stimuli),
                        key=keys[layer],
                        backend=self.numerics.array_backend(),
                        exact=self.numerics.precision == "exact",
                        progress=lambda done, total, layer=layer: self.progress(
                            f"{model.identifier} {layer}: kernel", done, total
                        ),
                    )
                    provenance = self.provenance(spool, together, time.perf_counter() - started)
                    with stage("store write"):
                        held = wanted.keep(representation, provenance, self.store, len(keys))
                    self._held[keys[layer]] = held, provenance
                    del left[0]
                break
            except DamagedChunkError:
                continue  # the chunk was set aside: extract it again
        else:
            raise BenchError(f"the spool {folder} keeps failing its checksums; check the disk it is on")
        spool.delete()

    def extract(
        self,
        loaded: Any,
        model: Resolved,
        stimuli: StimulusSet,
        layers: Sequence[str],
        folder: Path,
        shared_key: str = "",
    ) -> Spool | JoinedSpool:
        """Do pass 1, into ``folder``; stimuli of ``shared`` go to a spool of their own, unless they are there already.

        The rows of what comes back are those of :meth:`rows_of`; without a ``shared_key``, all stimuli in their order.
        """
        with stage("imports"):
            from benchmark_core.extraction import extract
            from benchmark_core.joined_spool import JoinedSpool
            from benchmark_core.spool import Spool

        def forward(some: StimulusSet, place: Path, what: str) -> Spool:
            return extract(
                loaded,
                some,
                preprocessing_of(model),
                layers,
                place,
                device=self.numerics.device,
                precision=self.numerics.precision,
                batch_size=self.numerics.batch_size,
                devices=self.numerics.devices,
                progress=lambda done, total: self.progress(f"{model.identifier}: {what}", done, total),
            )

        if self.shared is None or not shared_key:
            return forward(stimuli, folder, "activations")
        place = self.store.spool_path(shared_key)
        with self.store.lock(shared_key):
            before = Spool.open(place, len(self.shared), layers)
            is_new = before is None or bool(before.absent())
            kept = forward(self.shared, place, "activations of shared stimuli")
        shared = set(self.shared.stimulus_ids)
        own = stimuli.subset([i for i in stimuli.stimulus_ids if i not in shared])
        return JoinedSpool(kept, forward(own, folder, "activations"), is_new)

    def rows_of(self, stimuli: StimulusSet) -> tuple[str, ...]:
        """Return the ids of a spool's rows, in order: shared stimuli come first."""
        from benchmark_core.joined_spool import in_spool_order

        if self.shared is None:
            return stimuli.stimulus_ids
        return in_spool_order(stimuli.stimulus_ids, self.shared.stimulus_ids)

    def keep_shared(self, key: str) -> str:
        """Note the key of a spool of shared stimuli, which others still need; return it."""
        self._shared_spools.add(key)
        return key

    def remove_shared_spools(self) -> None:
        """Remove the spools of shared stimuli, when nobody needs them any more."""
        for key in self._shared_spools:
            self.store.remove_spool(key)
        self._shared_spools.clear()

    @stage("weights")
    def load(self, model: Resolved) -> Any:
        """Return the wrapped model on its device."""
        with stage("imports"):
            from benchmark_core.extraction import wrap
            from benchmark_core.torch_models import seeded_globals

        if model.identifier not in self._loaded:
            self._loaded.clear()
            with stage("imports"):
                load = import_target(model.spec.load)
            with seeded_globals():
                wrapped = wrap(load(**model.parameters), model.identifier)
            wrapped.to(self.numerics.device)
            self._loaded[model.identifier] = wrapped
        return self._loaded[model.identifier]
