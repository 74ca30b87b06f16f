"""The contract of metrics: each scores small simulated data of which the truth is known."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.contract import CheckFailed, CheckSkipped, Finding, NothingLoaded, check_import
from benchmark_core.contract_guards import Meter, changed, generator_states, measured, same_generators
from benchmark_core.errors import ModelError
from benchmark_core.labels import Labels
from benchmark_core.listing import size_text
from benchmark_core.rdms import RDMs
from benchmark_core.records import Score, plain
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from benchmark_core.resolution import Resolved, import_target
from benchmark_core.specs import MetricSpec
from benchmark_core.splits import KFold, Splits

N_STIMULI, N_GROUPS, N_NEUROIDS, N_REPETITIONS, N_FEATURES = 64, 16, 8, 4, 100
LOWEST, HIGHEST = -1.0, 1.2
"""A score is about a share or a correlation; one that is corrected for bias may pass 1 by a little."""

KINDS = ("responses", "labels", "rdms")
Layers = dict[str, Representation]


@dataclass
class World:
    """Simulated data: 64 stimuli in 4 categories and 16 groups, of which 6 hidden features say all there is to say.

    Parameters
    ----------
    target
        Responses of 8 neuroids of two subjects in 4 repetitions with noise, linear in the hidden features; or the
        categories; or the RDMs of three subjects.
    splits
        4 folds that keep groups together.
    groups
        Group of each stimulus_id.
    models
        For each model its layers ``noise`` and ``signal`` (100 features each; those of ``signal`` are linear in the
        hidden features, of which two models have four each).
    unrelated
        A model whose one layer has nothing to do with the target.
    """

    target: Any
    splits: Splits
    groups: dict[str, str]
    models: list[Layers]
    unrelated: Layers
    digest: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.digest = self.current_digest()

    def current_digest(self) -> str:
        """Return a hash of everything that a metric gets."""
        content = hashlib.sha256(json.dumps([self.target.hash, self.splits.hash, self.groups]).encode())
        for layers in (*self.models, self.unrelated):
            for name, held in layers.items():
                content.update(json.dumps([name, held.layer, held.stimulus_ids, held.n_features]).encode())
                for array in (held.features, held.kernel, held.row_sums, held.mean_products):
                    content.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return content.hexdigest()


def simulate(kind: str, n_models: int = 1, gaps: bool = False) -> World:
    """Simulate a target of a kind, and models; the same every time.

    Parameters
    ----------
    kind
        ``responses``, ``labels`` or ``rdms``.
    n_models
        Number of models that explain the target, each some of it.
    gaps
        Responses only: the first neuroid never varies, and the second misses a stimulus.
    """
    random = np.random.Generator(np.random.Philox(4202))
    ids = tuple(f"s{i:02d}" for i in range(N_STIMULI))
    categories = np.arange(N_STIMULI) % 4
    hidden = 1.5 * random.standard_normal((4, 6))[categories] + random.standard_normal((N_STIMULI, 6))
    noise = random.standard_normal((N_STIMULI, N_FEATURES))
    groups = {i: f"g{(number // 4) % N_GROUPS:02d}" for number, i in enumerate(ids)}
    splits = KFold(k=4).assign(ids, [groups[i] for i in ids])
    training_sets = [fold.train for fold in splits.folds]

    def layer(features: np.ndarray, name: str) -> Representation:
        return Representation.from_features(features, ids, name, training_sets=training_sets)

    models = []
    for number in range(n_models):
        part = hidden if n_models == 1 else hidden[:, (2 * number + np.arange(4)) % 6]
        signal = part @ random.standard_normal((part.shape[1], N_FEATURES))
        models.append(
            {
                "noise": layer(random.standard_normal((N_STIMULI, N_FEATURES)), "noise"),
                "signal": layer(signal, "signal"),
            }
        )
    target: Any
    if kind == "responses":
        rates = hidden @ random.standard_normal((6, N_NEUROIDS))
        rates /= rates.std(axis=0)
        values = rates[:, None, :] + 0.5 * random.standard_normal((N_STIMULI, N_REPETITIONS, N_NEUROIDS))
        if gaps:
            values[:, :, 0] = 1.0
            values[3, :, 1] = np.nan
        subjects = ("A",) * (N_NEUROIDS // 2) + ("B",) * (N_NEUROIDS // 2)
        target = Responses(ids, values, tuple(f"n{i}" for i in range(N_NEUROIDS)), subjects, "V4")
    elif kind == "labels":
        target = Labels(ids, tuple(f"category {c}" for c in categories))
    else:
        seen = hidden + 0.3 * random.standard_normal((3, N_STIMULI, 6))
        target = RDMs(ids, np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1), ("A", "B", "C"))
    return World(target, splits, groups, models, {"noise": layer(noise, "noise")})


class MetricContract:
    """The checks of one metric.

    Parameters
    ----------
    registry, identifier
        Where the metric comes from, and which.
    """

    def __init__(self, registry: Registry, identifier: str) -> None:
        self.registry = registry
        self.resolved: Resolved = registry.metric(identifier)
        self.spec: MetricSpec = self.resolved.spec
        self.kind = next((k for k in KINDS if k in self.spec.accepts), "")
        self.score: Score | None = None
        self.meter = Meter()
        self.touched: list[str] = []
        self.spoilt = False

    def check_spec(self) -> None:
        """The spec says what it is, and what it takes."""
        spec = self.spec
        if not spec.description.strip():
            raise CheckFailed("the spec has no description; say in one line what the score is")
        if isinstance(spec.version, bool) or not isinstance(spec.version, int) or spec.version < 1:
            raise CheckFailed(f"version {spec.version!r} is not a whole number of at least 1")
        unknown = [k for k in spec.accepts if k not in KINDS]
        if unknown or not spec.accepts:
            raise CheckFailed(f"accepts {unknown[0] if unknown else 'nothing'!r}; there are {', '.join(KINDS)}")
        low, high = spec.n_models
        if not (1 <= low <= high or (low, high) == (0, 0)):
            raise CheckFailed(f"n_models {spec.n_models} is not (smallest, largest)")
        again = self.registry.metric(self.resolved.identifier)
        if dict(again.given) != dict(self.resolved.given):
            raise CheckFailed(f"its canonical identifier stands for {again.identifier!r}")

    def check_import(self) -> None:
        """The plugin's module is light."""
        check_import(self.registry.plugin(self.spec))

    def check_compute(self) -> Finding:
        """With the option ``groups``, and without."""
        if not self.kind:
            raise CheckSkipped("it accepts no kind of target that can be simulated here")
        with measured() as self.meter:
            score = self._compute(simulate(self.kind, self.spec.n_models[0]))
        world = simulate(self.kind, self.spec.n_models[0])
        try:
            self._compute(world, groups=world.groups)
        except TypeError as error:
            if "groups" not in str(error):
                raise
            raise CheckFailed(
                "compute takes no groups, and fails wherever stimuli come in groups; declare groups=None, and keep "
                "groups together in what is chosen"
            ) from None
        finally:
            self.score = score
        n_models = self.spec.n_models[0]
        return Finding(f"{self.kind}, {n_models or 'no'} model{'s' * (n_models > 1)}")

    def check_score(self) -> Finding:
        """A number that a reader can make sense of."""
        score = self._computed()
        value = _number(score.value)
        if value is None:
            raise CheckFailed(f"the score is {score.value!r} where features explain the target")
        if not self.spec.unit and not LOWEST <= value <= HIGHEST:
            raise CheckFailed(f"the score is {value:.4g}; expected a share or correlation, {LOWEST:g} to {HIGHEST:g}")
        low, high = score.ci_low, score.ci_high
        if (low is None) != (high is None):
            raise CheckFailed(f"the interval from {low} to {high} has one end; give ci_low and ci_high, or neither")
        if low is not None and high is not None and not low <= value <= high:
            raise CheckFailed(f"the interval from {low} to {high} does not hold the score {value:.4g}")
        needed = ("n_stimuli", "n_neuroids") if self.kind == "responses" and not self.spec.unit else ("n_stimuli",)
        for name in needed:
            if not score.fields.get(name):
                raise CheckFailed(f"fields has no {name}: say what the score rests on")
        plain({"fields": score.fields, "details": score.details, "subjects": score.subjects})
        return Finding(f"{value:.3f} {self.spec.unit}".rstrip(), {"score": value, "ci_low": low, "ci_high": high})

    def check_truth(self) -> Finding:
        """Features that have nothing to do with the target score less than half of those that explain it."""
        explained = _number(self._computed().value)
        if self.spec.n_models[0] != 1:
            what = "several models has no score of one" if self.spec.n_models[0] else "the target alone has no models"
            raise CheckSkipped(f"a metric of {what}")
        if self.spec.unit:
            raise CheckSkipped(f"a score in {self.spec.unit} describes features, whatever the target")
        if explained is None:
            raise NothingLoaded("there is no score to compare with")
        world = simulate(self.kind)
        unrelated = _number(self._compute(world, [world.unrelated]).value) or 0.0
        if not explained > max(0.0, 2 * unrelated):
            raise CheckFailed(
                f"features that explain the target score {explained:.3f}, features that do not {unrelated:.3f}; "
                "is something fitted or chosen on test stimuli?"
            )
        return Finding(f"{explained:.3f} against {unrelated:.3f}", {"explained": explained, "unrelated": unrelated})

    def check_gaps(self) -> Finding:
        """One constant neuroid, and one that misses a stimulus."""
        if self.kind != "responses":
            raise CheckSkipped(f"it does not score responses, but {self.kind}")
        if self.spec.unit:
            raise CheckSkipped(f"a score in {self.spec.unit} describes features, whatever the target")
        self._computed()
        score = self._compute(simulate(self.kind, self.spec.n_models[0], gaps=True))
        if _number(score.value) is None:
            raise CheckFailed("a neuroid that never varies, or misses a stimulus, leaves no score at all")
        if score.fields.get("n_neuroids") != N_NEUROIDS:
            raise CheckFailed(f"n_neuroids is {score.fields.get('n_neuroids')}, not all {N_NEUROIDS}; count the rest")
        valid = score.fields.get("n_neuroids_valid")
        if valid is None or not 0 < valid < N_NEUROIDS:
            raise CheckFailed(f"n_neuroids_valid is {valid} where one of {N_NEUROIDS} neuroids never varies")
        return Finding(f"{valid} of {N_NEUROIDS} neuroids scored", {"n_neuroids_valid": int(valid)})

    def check_determinism(self) -> None:
        """A second computation, of data that are simulated anew."""
        first = self._computed()
        second = self._compute(simulate(self.kind, self.spec.n_models[0]))
        for name in ("value", "ci_low", "ci_high", "fields", "details", "subjects", "layers"):
            if plain(getattr(first, name)) != plain(getattr(second, name)):
                raise CheckFailed(f"a second computation gives another {name}")
        for name, values in first.arrays.items():
            if not np.array_equal(values, second.arrays[name], equal_nan=values.dtype.kind == "f"):
                raise CheckFailed(f"a second computation gives another array {name!r}")

    def check_inputs(self) -> None:
        """Nothing that the metric was given has changed."""
        self._computed()
        if self.spoilt:
            raise CheckFailed("compute changes what it is given, which other metrics use too; copy first")

    def check_global_rng(self) -> None:
        """Global generators are as they were."""
        self._computed()
        if self.touched:
            raise CheckFailed(
                f"compute uses the global generator of {' and '.join(self.touched)}; "
                "draw from numpy.random.Generator(numpy.random.Philox([seed, ...])) instead"
            )

    def check_cost(self) -> Finding:
        """What one score takes."""
        self._computed()
        words = f"{N_STIMULI} stimuli, {N_NEUROIDS} neuroids: {self.meter.seconds:.2f} s, {size_text(self.meter.grown)}"
        return Finding(words, {"seconds": round(self.meter.seconds, 4), "bytes": self.meter.grown})

    def _compute(
        self, world: World, models: list[Layers] | None = None, groups: Mapping[str, str] | None = None
    ) -> Score:
        options: dict[str, Any] = dict(self.resolved.parameters)
        if groups is not None:
            options["groups"] = groups
        compute = import_target(self.spec.compute)
        with warnings.catch_warnings(), same_generators():
            warnings.simplefilter("ignore")  # a run collects them
            before = generator_states()
            try:
                score = compute(world.models if models is None else models, world.target, world.splits, **options)
            finally:
                self.touched += [n for n in changed(before, generator_states()) if n not in self.touched]
                self.spoilt = self.spoilt or world.current_digest() != world.digest
        if not isinstance(score, Score):
            raise ModelError(f"compute returned {type(score).__name__}, not Score")
        return score

    def _computed(self) -> Score:
        if self.score is None:
            raise NothingLoaded("there is no score")
        return self.score


def _number(value: Any) -> float | None:
    """Return a finite number, or None."""
    found = plain(value)
    usable = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if usable else None
