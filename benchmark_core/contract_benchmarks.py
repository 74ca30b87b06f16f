"""The contract of benchmarks: stimuli, target and splits are loaded and held against each other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.contract import CheckFailed, CheckSkipped, Finding, NothingLoaded, check_import
from benchmark_core.contract_guards import changed, generator_states, same_generators
from benchmark_core.errors import MissingDataError
from benchmark_core.registry import Registry
from benchmark_core.reliability import mean_noise
from benchmark_core.specs import BenchmarkSpec, SubjectSpec
from benchmark_core.splits import Fold, KFold, Splits
from benchmark_core.stimuli import match_stimuli, name_ids

if TYPE_CHECKING:
    from benchmark_core.stimuli import StimulusSet

MOST_IMAGES = 8
"""Images that are decoded, evenly spread over the set."""


class BenchmarkContract:
    """The checks of one benchmark.

    Parameters
    ----------
    registry, identifier
        Where the benchmark comes from, and which.
    """

    def __init__(self, registry: Registry, identifier: str) -> None:
        self.registry = registry
        self.spec: BenchmarkSpec = registry.benchmark(identifier)
        # Of subjects who saw different stimuli the first stands for all.
        self.part: BenchmarkSpec | SubjectSpec = next(iter(self.spec.parts.values()))
        self.stimuli: StimulusSet | None = None
        self.target: Any = None
        self.splits: Splits | None = None
        self.seconds = 0.0
        self.touched: list[str] = []

    def check_spec(self) -> None:
        """The spec says what it is, and names a metric that can score it."""
        spec = self.spec
        if not spec.description.strip():
            raise CheckFailed("the spec has no description; say in one line what was recorded and shown")
        if isinstance(spec.version, bool) or not isinstance(spec.version, int) or spec.version < 1:
            raise CheckFailed(f"version {spec.version!r} is not a whole number of at least 1")
        metric = self.registry.metric(spec.metric).spec
        if spec.target_kind not in metric.accepts:
            raise CheckFailed(f"its metric {spec.metric} accepts {' or '.join(metric.accepts)}, not {spec.target_kind}")

    def check_import(self) -> None:
        """The plugin's module is light."""
        check_import(self.registry.plugin(self.spec))

    def check_data(self) -> Finding:
        """Both can be had, and the target is of the kind that the spec says."""
        started = time.perf_counter()
        stimuli = self._watched(self.part.stimuli)
        target = self._watched(self.part.target)
        self.seconds = time.perf_counter() - started
        kind = getattr(target, "kind", self.spec.target_kind)
        if kind != self.spec.target_kind:
            raise CheckFailed(f"the target is {kind}, but target_kind says {self.spec.target_kind}")
        self.stimuli, self.target = stimuli, target
        contents = getattr(target, "contents", "")
        if isinstance(target, Responses):
            contents = f"{target.n_neuroids} neuroids of {', '.join(target.subject_names)}"
        words = f"{len(stimuli)} stimuli" + (f", {contents}" if contents else "")
        if len(self.spec.parts) > 1:
            words += f" (the first of {len(self.spec.parts)} subjects; the others are not looked at)"
        return Finding(words, {"n_stimuli": len(stimuli), "seconds": round(self.seconds, 3)})

    def check_ids(self) -> None:
        """No stimulus without a target, no target without a stimulus."""
        stimuli, target = self._loaded()
        ids = getattr(target, "stimulus_ids", None)
        if ids is None:
            raise CheckSkipped(f"a target of class {type(target).__name__} has no stimulus_ids")
        match_stimuli(stimuli.stimulus_ids, ids, "the target")

    def check_images(self) -> Finding:
        """Some of the images can be decoded, and have the bytes that their hashes say."""
        stimuli, _ = self._loaded()
        chosen = sorted({round(i) for i in np.linspace(0, len(stimuli) - 1, MOST_IMAGES)})
        sizes = Counter(stimuli.image(i).size for i in chosen)
        (width, height), _ = sizes.most_common(1)[0]
        return Finding(f"{len(chosen)} of {len(stimuli)} decoded, {width} x {height} pixels", {"decoded": len(chosen)})

    def check_splits(self) -> Finding:
        """Folds, of every subject."""
        stimuli, target = self._loaded()
        splits = self._watched(lambda: self.part.splits(stimuli))
        if self._watched(lambda: self.part.splits(stimuli)).hash != splits.hash:
            raise CheckFailed("two calls of splits give different folds; seed them")
        subjects = getattr(target, "subject_names", ())
        unknown = sorted(set(splits.by_subject) - set(subjects)) if subjects else []
        if unknown:
            raise CheckFailed(f"there are folds of the subject {unknown[0]!r}, whom the target does not have")
        groups = dict(zip(stimuli.stimulus_ids, stimuli.groups, strict=True)) if stimuli.groups else {}
        for subject in subjects or ("",):
            folds = splits.of(subject)
            if not folds:
                raise CheckFailed(f"there are no folds of {subject or 'anybody'}")
            for number, fold in enumerate(folds, start=1):
                where = f"fold {number}" + (f" of {subject}" if subject in splits.by_subject else "")
                self._check_fold(fold, where, groups, stimuli)
                self._check_recorded(fold, where, subject)
        if isinstance(self.part.splits, KFold):
            times = Counter(i for fold in splits.folds for i in fold.test)
            if set(times) != set(stimuli.stimulus_ids) or max(times.values()) > 1:
                raise CheckFailed("the folds do not test every stimulus exactly once")
        self.splits = splits
        tested = {i for fold in splits.folds for i in fold.test}
        used = tested | {i for fold in splits.folds for i in fold.train}
        words = f"{len(splits.folds)} fold{'s' * (len(splits.folds) > 1)}, {len(tested)} of {len(stimuli)} tested"
        if len(used) < len(stimuli):
            words += f", {len(stimuli) - len(used)} used by none"
        return Finding(words, {"folds": len(splits.folds), "tested": len(tested), "used": len(used)})

    def check_reliability(self) -> Finding:
        """At least one neuroid of every subject has a finite reliability."""
        _, target = self._loaded()
        if not isinstance(target, Responses):
            raise CheckSkipped(f"a target of {self.spec.target_kind} has none")
        splits = self.splits
        if splits is None:
            raise NothingLoaded("there are no folds")
        whole = target if target.has_trials else target.trials
        if whole is None:
            raise CheckSkipped("no single repetitions: scores of this benchmark have no ceiling")
        means = {}
        for subject in target.subject_names:
            trials = whole.of_subject(subject)
            tested = {i for fold in splits.of(subject) for i in fold.test} & set(trials.stimulus_ids)
            values = trials.at(sorted(tested)).values
            counts = np.isfinite(values).sum(axis=1)
            average = np.where(np.isfinite(values), values, 0).sum(axis=1) / np.maximum(counts, 1)
            seen = counts > 0
            reliability = [
                1 - noise[rows].mean() / column[rows].var(ddof=1)
                for noise, column, rows in zip(mean_noise(values).T, average.T, seen.T, strict=True)
                if rows.sum() > 2 and np.isfinite(noise[rows]).all() and np.ptp(column[rows]) > 0
            ]
            if not reliability:
                raise CheckFailed(f"no neuroid of {subject} has a reliability: nothing is repeated, or nothing varies")
            means[subject] = round(float(np.mean(reliability)), 4)
        words = ", ".join(f"{subject} {mean:.2f}" for subject, mean in means.items())
        return Finding(f"mean over neuroids: {words}", {"reliability": means})

    def check_hash(self) -> None:
        """The same content gives the same key."""
        stimuli, target = self._loaded()
        declared = self.part.target_hash
        if declared is None and not isinstance(getattr(target, "hash", None), str):
            raise CheckFailed(f"a target of class {type(target).__name__} needs an attribute hash, or target_hash")
        hashes = {declared() if declared else self.part.target().hash for _ in range(2)}
        if len(hashes) > 1 or (declared is None and hashes != {target.hash}):
            raise CheckFailed("the target has another hash every time it is loaded")
        if self.part.stimuli().manifest_hash != stimuli.manifest_hash:
            raise CheckFailed("the stimulus set has another hash every time it is loaded")

    def check_global_rng(self) -> None:
        """Global generators are as they were."""
        self._loaded()
        if self.touched:
            raise CheckFailed(
                f"loading uses the global generator of {' and '.join(self.touched)}; "
                "draw from numpy.random.Generator(numpy.random.Philox([seed, ...])) instead"
            )

    def check_cost(self) -> Finding:
        """What loading takes (images are not opened)."""
        self._loaded()
        return Finding(f"loading: {self.seconds:.2f} s", {"seconds": round(self.seconds, 4)})

    @staticmethod
    def _check_fold(fold: Fold, where: str, groups: dict[str, str], stimuli: StimulusSet) -> None:
        stimuli.index([*fold.train, *fold.test])
        both = sorted(set(fold.train) & set(fold.test))
        if both:
            raise CheckFailed(f"{where} trains and tests on stimulus_id {name_ids(both)}")
        shared = sorted({groups[i] for i in fold.train} & {groups[i] for i in fold.test}) if groups else []
        if shared:
            raise CheckFailed(f"{where} trains and tests on the group {name_ids(shared)}; keep groups together")

    def _check_recorded(self, fold: Fold, where: str, subject: str) -> None:
        """Every stimulus of a subject's folds was shown to that subject."""
        if not isinstance(self.target, Responses):
            return
        responses = self.target.of_subject(subject)
        recorded = set(responses.stimulus_ids)
        for role, ids in (("trains", fold.train), ("tests", fold.test)):
            known = [i for i in ids if i in recorded]
            silent = ~np.isfinite(responses.at(known).averages()).any(axis=1)
            if silent.any():
                absent = [i for i, s in zip(known, silent, strict=True) if s]
                raise CheckFailed(
                    f"{where} {role} on stimulus_id {name_ids(absent)}, to which no neuroid of {subject} has a "
                    "response; give folds by subject"
                )

    def _loaded(self) -> tuple[StimulusSet, Any]:
        if self.stimuli is None:
            raise NothingLoaded("stimuli or target are not loaded")
        return self.stimuli, self.target

    def _watched(self, work: Callable[[], Any]) -> Any:
        with same_generators():
            before = generator_states()
            try:
                return work()
            except FileNotFoundError as error:
                raise MissingDataError(f"{self.spec.name}: {error.filename} is not there") from None
            finally:
                self.touched += [n for n in changed(before, generator_states()) if n not in self.touched]
