"""Runs cells: keys, representations, metric, record. One failing cell never stops the rest."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any

from benchmark_core import profiling
from benchmark_core.cells import Cell, PartHashes, cell_key, metadata_of, splits_of
from benchmark_core.errors import BenchError, InputError, MissingDataError, UnknownLayerError
from benchmark_core.home import bench_home
from benchmark_core.pipeline import Numerics, Pipeline, Progress, preprocessing_of, weights_of
from benchmark_core.profiling import stage
from benchmark_core.provenance import environment, peak_rss
from benchmark_core.records import (
    FORMAT,
    Score,
    check_writable,
    pack_resamples,
    plain,
    read_score,
    record_path,
    records_folder,
    write_record,
)
from benchmark_core.registry import Registry, describe
from benchmark_core.resolution import Resolved, import_target
from benchmark_core.specs import BenchmarkSpec, SubjectSpec
from benchmark_core.stimuli import StimulusSet, match_stimuli
from benchmark_core.store import Store, cache_cap, write_arrays
from benchmark_core.subjects import PartScore, mean_over_subjects, shared_stimuli
from benchmark_core.widths import can_share_a_pass


@dataclass
class Runner:
    """Scores cells one after another.

    Parameters
    ----------
    registry
        Where plugins come from.
    numerics
        Device, backend, precision and batch size.
    records
        Folder of score records.
    force
        Compute scores again that are already recorded.
    progress
        Called with (what, done, total).
    debug
        Print the traceback of a failing cell.
    bad_input
        Set when a cell failed because of what the user gave it.
    """

    registry: Registry
    numerics: Numerics = field(default_factory=Numerics)
    records: Path = field(default_factory=records_folder)
    force: bool = False
    progress: Progress = lambda what, done, total: None
    debug: bool = False
    bad_input: bool = False

    def __post_init__(self) -> None:
        cache_cap()  # a cap that cannot be read is found before anything is computed
        self.store = Store.default()
        self._pipeline: Pipeline | None = None
        self._cells: Sequence[Cell] = ()
        self._keys: dict[str, str] = {}
        self._known: dict[int, PartHashes] = {}

    def run(self, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
        """Yield the result of each cell as soon as it is there."""
        self._cells, self._keys, self._known = cells, {}, {}
        computed = False
        for cell in cells:
            with profiling.cell(f"{cell.name}: {cell.metric.identifier}"):
                result = self.run_cell(cell)
                profiling.note(status=result["status"], cached=result["cached"])
            computed = computed or not result["cached"]
            yield result
        if computed and any_over_cap(self.store):
            self.store.prune(cache_cap())

    def run_cell(self, cell: Cell) -> dict[str, Any]:
        """Score one cell, or read its record; errors become a record too.

        Raises
        ------
        InputError
            Only if the record cannot be written.
        """
        key = None
        try:
            with stage("plan"):
                key = self._key(cell)
            recorded = None if self.force else self._recorded(key)
            if recorded is not None:
                return {**recorded, "cached": True}
            check_writable(self.records)
            record = self._score(cell, key)
        except UnknownLayerError as error:
            # A slip of the keyboard, like any other unknown name: it leaves no row on the leaderboard.
            self.bad_input = True
            return {**self._without_score(cell, key, "failed", str(error)), "cached": False}
        except MissingDataError as error:
            record = self._without_score(cell, key, "missing-data", str(error))
        except BenchError as error:
            self.bad_input = self.bad_input or isinstance(error, InputError)
            record = self._without_score(cell, key, "failed", str(error))
        except (Exception, SystemExit) as error:
            # A plugin may raise anything, or end the program; the run goes on.
            record = self._without_score(cell, key, "failed", describe(error))
            if self.debug:
                traceback.print_exc()
        with stage("record"):
            write_record(self.records, record | {"error": without_folders(record["error"], self.store)})
            if record["status"] == "ok":
                record_path(self.records, cell.address).unlink(missing_ok=True)
        return {**record, "cached": False}

    def _key(self, cell: Cell) -> str:
        return cell_key(cell, self.registry, self.numerics.precision, self.store, self._known)

    @stage("record")
    def _recorded(self, key: str) -> dict[str, Any] | None:
        return read_score(self.records, key)

    @stage("imports")
    def pipeline(self) -> Pipeline:
        """Return the pipeline on the device asked for (imports torch)."""
        if self._pipeline is None:
            from benchmark_core.arrays import choose_backend, choose_devices

            devices = choose_devices(self.numerics.device)
            backend = choose_backend(self.numerics.backend, devices[0])
            self.numerics = replace(self.numerics, device=devices[0], devices=devices, backend=backend.name)
            self._pipeline = Pipeline(self.store, self.numerics, self.progress)
        return self._pipeline

    def _score(self, cell: Cell, key: str) -> dict[str, Any]:
        pipeline, parts = self.pipeline(), cell.benchmark.parts
        with stage("target"):
            sets = {name: part.stimuli() for name, part in parts.items()}
        pipeline.shared = shared_stimuli(sets)
        try:
            scored = {name: self._score_part(cell, name, part, sets[name]) for name, part in parts.items()}
        finally:
            pipeline.shared = None
        pipeline.remove_shared_spools()
        if not cell.benchmark.subjects:
            if scored[""].score.partial:
                raise InputError(scored[""].score.partial)
            return self._record(cell, key, scored[""].score, scored)
        by_subject = {name: part.score for name, part in scored.items()}
        combine = cell.metric.spec.combine
        if combine is None:
            score = mean_over_subjects(by_subject, cell.metric.identifier)
        else:
            score = import_target(combine)(by_subject)
        check_score(score, cell.metric)
        return self._record(cell, key, score, scored)

    def _score_part(self, cell: Cell, name: str, part: BenchmarkSpec | SubjectSpec, stimuli: StimulusSet) -> PartScore:
        """Score all of a cell, or one of the subjects who saw different stimuli."""
        with stage("imports"):
            from benchmark_core.randomised_pca import reduction_for
            from benchmark_core.standardised import training_sets_for

        pipeline = self.pipeline()
        with stage("target"):
            target = part.target()
        ids = getattr(target, "stimulus_ids", None)
        if ids is not None:
            match_stimuli(stimuli.stimulus_ids, ids, f"{cell.benchmark.name}{name and ' ' + name}: responses")
        splits = splits_of(part, stimuli)
        reduction = reduction_for(cell.metric, splits, len(stimuli))
        training_sets = training_sets_for(cell.metric, splits, getattr(target, "subject_names", ("",)))
        found = [
            pipeline.representations(
                model,
                self.registry.version(model.spec),
                stimuli,
                layers,
                self._siblings(cell, model),
                reduction,
                training_sets,
            )
            for model, layers in zip(cell.models, cell.layers(), strict=True)
        ]
        started = time.perf_counter()
        doing = f"{cell.name}{name and ' ' + name}: {cell.metric.identifier}"
        self.progress(doing, 0, 1)
        options: dict[str, Any] = dict(cell.metric.parameters)
        if stimuli.groups is not None:
            options["groups"] = dict(zip(stimuli.stimulus_ids, stimuli.groups, strict=True))
        metadata = metadata_of(cell.metric, stimuli)
        if metadata:
            options["metadata"] = metadata
        with stage("imports"):
            compute = import_target(cell.metric.spec.compute)
        with stage("metric"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            score = compute(
                [{layer: held[0] for layer, held in of_model.items()} for of_model in found],
                target,
                splits,
                **options,
            )
        check_score(score, cell.metric)
        seconds = time.perf_counter() - started
        self.progress(doing, 1, 1)
        return PartScore(
            score=score,
            n_features=[{layer: held[0].n_features for layer, held in of_model.items()} for of_model in found],
            origins=[
                {layer: {"key": held[0].key, **held[1]} for layer, held in of_model.items()} for of_model in found
            ],
            inputs={
                "stimuli": stimuli.manifest_hash,
                "target": part.target_hash() if part.target_hash else target.hash,
                "splits": splits.hash,
                "grouped": stimuli.groups is not None,
            },
            seconds=seconds,
            stimulus_ids=stimuli.stimulus_ids,
            caught=[str(w.message) for w in caught],
        )

    @stage("record")
    def _record(self, cell: Cell, key: str, score: Score, scored: Mapping[str, PartScore]) -> dict[str, Any]:
        """Return the record of a score, and keep its arrays."""
        parts = list(scored.values())
        one = None if cell.benchmark.subjects else parts[0]
        caught = [line for part in parts for line in part.caught]
        origins = [of_model for part in parts for of_model in part.origins]
        metric_seconds = sum(part.seconds for part in parts)
        # The metric's own fields come first: none of them can take the place of what the runner knows.
        record: dict[str, Any] = plain(dict(score.fields))
        record |= self._frame(cell, key) | self._values(cell, score, parts[0].n_features, caught)
        record |= {
            "seconds": round(metric_seconds + sum(_seconds(of_model) for of_model in origins), 3),
            "peak_rss_bytes": max([peak_rss(), *(o["peak_rss_bytes"] for m in origins for o in m.values())]),
            "device": self.numerics.device,
        }
        record["provenance"] = {
            "metric_seconds": metric_seconds,
            "inputs": {
                **(one.inputs if one else {"subjects": {name: part.inputs for name, part in scored.items()}}),
                "metric_parameters": cell.metric.parameters,
            },
            "representations": [
                {
                    "model": model.identifier,
                    "version": self.registry.version(model.spec),
                    "parameters": model.given,
                    "weights": weights_of(model, self.store),
                    "preprocessing": plain(preprocessing_of(model).as_key()),
                    **(
                        {"layers": one.origins[number]}
                        if one
                        else {"subjects": {name: part.origins[number] for name, part in scored.items()}}
                    ),
                }
                for number, model in enumerate(cell.models)
            ],
            **environment(self.numerics),
        }
        if score.arrays:
            of_all = {name: list(part.stimulus_ids) for name, part in scored.items()}
            meta = {"key": key, "stimulus_ids": of_all[""] if one else of_all}
            write_arrays(self.store.predictions_path(key), score.arrays, meta)
        return record

    def _siblings(self, cell: Cell, model: Resolved) -> list[Resolved]:
        """Return the models of this run that can share a forward pass with ``model`` and still need their kernels."""
        wanted: dict[str, Resolved] = {}
        for other in self._cells:
            if other.benchmark is cell.benchmark and other is not cell:
                sharing = {m.identifier: m for m in other.models if can_share_a_pass(model, m)}
                if sharing and self._is_to_do(other):
                    wanted |= sharing
        return list(wanted.values())

    def _is_to_do(self, cell: Cell) -> bool:
        """Whether a cell has to be scored (asked only for models that have a width)."""
        if self.force:
            return True
        try:
            # Asked once for each pair of cells.
            if cell.address not in self._keys:
                self._keys[cell.address] = self._key(cell)
            return read_score(self.records, self._keys[cell.address]) is None
        except BenchError:
            return False  # it will say so itself when its turn comes

    def _values(self, cell: Cell, score: Score, n_features: list[dict[str, int]], caught: list[str]) -> dict[str, Any]:
        """Return the fields of a record that the metric determines."""
        used = [
            folds or tuple(layers)
            for folds, layers in zip(score.layers or [()] * len(n_features), cell.layers(), strict=True)
        ]
        main = [max(sorted(set(folds)), key=folds.count) for folds in used]
        features = [of_model[layer] for of_model, layer in zip(n_features, main, strict=True)]
        record: dict[str, Any] = {
            "status": "ok",
            "score": score.value,
            "ci_low": score.ci_low,
            "ci_high": score.ci_high,
            "layer": " + ".join(main),
            "n_features": features[0] if len(features) == 1 else features or None,
            "subjects": score.subjects,
            "details": score.details,
            "warnings": list(dict.fromkeys([*score.warnings, *caught])),
            "error": None,
        }
        if score.resamples is not None and score.resamples_key is not None:
            record["resamples"] = pack_resamples(score.resamples, score.resamples_key)
        if any(len(set(folds)) > 1 for folds in used):
            record["layers"] = [list(folds) for folds in used] if len(used) > 1 else list(used[0])
        return dict(plain(record))

    def _frame(self, cell: Cell, key: str) -> dict[str, Any]:
        """Return the fields of a record that say which cell it is."""
        record: dict[str, Any] = {
            "format": FORMAT,
            "key": key,
            "models": [m.identifier for m in cell.models],
            "model_versions": [self.registry.version(m.spec) for m in cell.models],
            "trained": [m.trained for m in cell.models],
            "benchmark": cell.benchmark.name,
            "benchmark_version": cell.benchmark.version,
            "simulated": cell.benchmark.simulated,
            "metric": cell.metric.identifier,
            "metric_version": self.registry.version(cell.metric.spec),
            "precision": self.numerics.precision,
            "requested_layer": cell.layer,
            "layer": cell.layer,
        }
        if len(cell.models) == 1:
            record["model"] = cell.models[0].identifier
        return record

    def _without_score(self, cell: Cell, key: str | None, status: str, error: str) -> dict[str, Any]:
        """Return the record of a cell that has no score; it stands at the cell's address until one does."""
        return self._frame(cell, cell.address) | {
            "status": status,
            "score": None,
            "ci_low": None,
            "ci_high": None,
            "ceiling": None,
            "n_features": None,
            "n_stimuli": None,
            "n_neuroids": None,
            "subjects": {},
            "details": {"score_key": key},
            "warnings": [],
            "seconds": None,
            "peak_rss_bytes": peak_rss(),
            "device": self.numerics.device,
            # One line, and one that can be written: the name of a file may be no valid UTF-8.
            "error": " ".join(error.split()).encode("utf-8", "backslashreplace").decode(),
            "provenance": environment(self.numerics),
        }


def without_folders(error: str | None, store: Store) -> str | None:
    """Return an error as a record keeps it: without the names of the user's own folders."""
    if error is None:
        return None
    for folder, name in ((bench_home(), "BENCH_HOME"), (store.root, "BENCH_CACHE"), (Path.home(), "~")):
        error = error.replace(str(folder), name)
    return error


def check_score(score: Any, metric: Resolved) -> None:
    """Check what a metric returned.

    Raises
    ------
    BenchError
        If it is no Score, or its numbers are none.
    """
    if not isinstance(score, Score):
        raise BenchError(f"metric {metric.identifier} returned {type(score).__name__}, not Score")
    for name in ("value", "ci_low", "ci_high"):
        number = plain(getattr(score, name))
        if isinstance(number, bool) or not isinstance(number, (int, float, NoneType)):
            raise BenchError(f"metric {metric.identifier} gave {name} {number!r}, not a number or None")
    if score.resamples is not None and (getattr(score.resamples, "ndim", 0) != 1 or not score.resamples_key):
        raise BenchError(f"metric {metric.identifier} gave resamples that are no vector, or have no resamples_key")


def any_over_cap(store: Store) -> bool:
    """Whether the cache holds more than its cap."""
    return sum(size for _, size in store.usage().values()) > cache_cap()


def _seconds(of_model: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the work that a model's layers rest on; an extraction of several layers together counts once."""
    extractions = {tuple(o["extracted_layers"]): o["extraction_seconds"] for o in of_model.values()}
    return float(sum(extractions.values()) + sum(o["kernel_seconds"] for o in of_model.values()))
