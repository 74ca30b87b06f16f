"""Plans: which (models, benchmark, metric, layer) cells a request stands for, and the key of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark_core.errors import InputError
from benchmark_core.keys import digest, score_key
from benchmark_core.pipeline import candidate_layers, layer_keys
from benchmark_core.profiling import stage
from benchmark_core.registry import Registry, is_glob
from benchmark_core.resolution import Resolved, resolve
from benchmark_core.specs import BenchmarkSpec, SubjectSpec
from benchmark_core.splits import Splits

if TYPE_CHECKING:
    from benchmark_core.stimuli import StimulusSet
    from benchmark_core.store import Store

AUTO, ALL = "auto", "all"
JOINT = " + "
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Cell:
    """One score to be: models on a benchmark by a metric.

    ``layer`` is a layer's name, or ``auto``: the metric chooses among the model's layers on training stimuli
    (``all`` is left where the model could not tell its layers). Of several models it stands for each, or names one for
    each: ``features.8 + auto``.
    """

    models: tuple[Resolved, ...]
    benchmark: BenchmarkSpec
    metric: Resolved
    layer: str

    @property
    def name(self) -> str:
        """The cell in words, for progress and errors."""
        return f"{' + '.join(m.identifier for m in self.models) or self.metric.identifier} on {self.benchmark.name}"

    @property
    def address(self) -> str:
        """Where the cell stands on the leaderboard, whatever its inputs are: names a record without a score."""
        return digest(
            {
                "kind": "address",
                "models": [m.identifier for m in self.models],
                "benchmark": self.benchmark.name,
                "benchmark_version": self.benchmark.version,
                "metric": self.metric.identifier,
                "layer": self.layer,
            }
        )

    def layers(self) -> list[tuple[str, ...]]:
        """Return, for each model, the layers that the metric gets."""
        names = _one_for_each(self.models, self.layer)
        return [
            candidate_layers(model) if name in (AUTO, ALL) else (name,)
            for model, name in zip(self.models, names, strict=True)
        ]


@stage("plan")
def make_plan(
    registry: Registry,
    models: Sequence[str],
    benchmarks: Sequence[str],
    metric: str | Sequence[str] | None = None,
    layer: str = AUTO,
    seeds: Sequence[int] | None = None,
) -> tuple[list[Cell], list[str]]:
    """Turn names and globs into cells, model by model, and notes on pairs that were left out.

    Cells of one model on one benchmark stand together, so that metrics share what they make of a representation.
    Without ``metric`` each benchmark is scored by its own. A metric of no model (a noise ceiling) takes the models for
    nobody.

    Raises
    ------
    InputError
        For names that are unknown, or pairs named outright that cannot go together.
    """
    chosen_models = _unique([m for pattern in models for m in registry.expand_models(pattern)])
    chosen_benchmarks = [(b, is_glob(pattern)) for pattern in benchmarks for b in registry.expand_benchmarks(pattern)]
    asked = [metric] if isinstance(metric, str) else metric
    named = None if asked is None else [registry.metric(m) for m in asked]
    if not chosen_benchmarks or not (chosen_models or (named and all(_takes_no_model(m) for m in named))):
        raise InputError("name at least one model and one benchmark, e.g. --model pixels --benchmark simulated.V4")
    cells: dict[str, Cell] = {}
    notes: list[str] = []
    if seeds is not None:
        chosen_models, notes = with_seeds(chosen_models, seeds)
    for spec, from_glob in chosen_benchmarks:
        for resolved in named if named is not None else _own_metric(registry, spec, from_glob, notes):
            low, high = resolved.spec.n_models
            problem = _mismatch(resolved, spec)
            if problem:
                if not from_glob:
                    raise InputError(problem)
                notes.append(f"skipped: {problem}")
                continue
            if low > 1 and not low <= len(chosen_models) <= high:
                raise InputError(f"{resolved.identifier} compares {low} to {high} models, not {len(chosen_models)}")
            if _takes_no_model(resolved):
                rows: list[tuple[Resolved, ...]] = [()]
            else:
                rows = [tuple(chosen_models)] if low > 1 else [(m,) for m in chosen_models]
            for row in rows:
                for name in _layer_names(row, layer):
                    cell = Cell(row, spec, resolved, name)
                    cells.setdefault(cell.address, cell)
    if cells and not any(cell.models for cell in cells.values()):
        metrics = ", ".join(dict.fromkeys(cell.metric.identifier for cell in cells.values()))
        left_out = [m.identifier for m in chosen_models] + ([] if layer == AUTO else [f"--layer {layer}"])
        if left_out:
            notes.append(f"{metrics} takes no model: {', '.join(left_out)} left out")
    order = {m.identifier: i for i, m in enumerate(chosen_models)}
    return sorted(cells.values(), key=lambda c: order[c.models[0].identifier] if c.models else -1), notes


def _mismatch(metric: Resolved, benchmark: BenchmarkSpec) -> str:
    """Say why a metric, with its parameters, cannot score a benchmark; an empty text if it can."""
    if benchmark.target_kind not in metric.spec.accepts:
        accepted = " or ".join(metric.spec.accepts)
        return f"{metric.identifier} cannot score {benchmark.name}: it accepts {accepted}, not {benchmark.target_kind}"
    if metric.spec.check is not None:
        try:
            metric.spec.check(metric.parameters, benchmark.target_kind)
        except InputError as error:
            return f"{metric.identifier} cannot score {benchmark.name}: {error}"
    return ""


def _takes_no_model(metric: Resolved) -> bool:
    return bool(metric.spec.n_models[1] == 0)


def _own_metric(registry: Registry, spec: BenchmarkSpec, from_glob: bool, notes: list[str]) -> list[Resolved]:
    """Return the metric that a benchmark is scored by; none, and a note, where that is unknown and a glob found it."""
    try:
        return [registry.metric(spec.metric)]
    except InputError as error:
        problem = f"{spec.name} is scored by {spec.metric!r}: {error}"
        if not from_glob:
            raise InputError(problem) from None
        notes.append(f"skipped: {problem}")
        return []


def with_seeds(models: Sequence[Resolved], seeds: Sequence[int]) -> tuple[list[Resolved], list[str]]:
    """Return every untrained model once for each seed, and notes on those that have none and stay as they are.

    Raises
    ------
    InputError
        If a model names a seed itself, or does not allow one of these.
    """
    drawn: list[Resolved] = []
    notes = []
    for model in models:
        if "seed" not in model.parameters or model.trained:
            drawn.append(model)
            notes.append(f"{model.identifier} has no random weights: scored once")
            continue
        if "seed" in model.given:
            raise InputError(f"{model.identifier} names a seed, and so does --seeds; leave one of them out")
        given = {**model.given, **model.asked}
        drawn += [resolve(model.spec, model.spec.name, {**given, "seed": seed}) for seed in seeds]
    return _unique(drawn), notes


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that ``0-9`` or ``0,3,5-7`` stand for, each once.

    Raises
    ------
    InputError
        For anything else.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else not last)) or len(first + last) > 30:
            raise InputError(f"--seeds {text} is not allowed; write a range or a list, e.g. 0-9 or 0,3,5-7")
        low, high = int(first), int(last if dash else first)
        if high < low or high - low >= MOST_SEEDS:
            raise InputError(f"--seeds {text}: {part.strip()} is not a range of at most {MOST_SEEDS} seeds")
        seeds |= dict.fromkeys(range(low, high + 1))
    return list(seeds)


def _layer_names(models: Sequence[Resolved], layer: str) -> list[str]:
    if not models:
        return [AUTO]
    if len(models) > 1:
        names = _one_for_each(models, layer)
        if len(names) != len(models):
            raise InputError(
                f"--layer {layer!r} names {len(names)} layers for {len(models)} models; name one for each, in the order "
                f"of the models and with + between them, or one for all"
            )
        if ALL in names:
            raise InputError("--layer all works for metrics of one model; name a layer, or use auto")
        return [names[0] if len(set(names)) == 1 else JOINT.join(names)]
    if layer != ALL:
        return [layer]
    try:
        return list(candidate_layers(models[0]))
    except Exception:
        return [ALL]  # the cell fails, not the run: its layers are asked for once more


def _one_for_each(models: Sequence[Resolved], layer: str) -> list[str]:
    """Return the layers of several models that a text names with + between them; one name stands for all."""
    if len(models) < 2 or "+" not in layer:
        return [layer] * len(models)
    return [name.strip() for name in layer.split("+")]


def _unique(models: Sequence[Resolved]) -> list[Resolved]:
    return list({m.identifier: m for m in models}.values())


def splits_of(benchmark: BenchmarkSpec | SubjectSpec, stimuli: StimulusSet) -> Splits:
    """Return a benchmark's (or one subject's) splits; every id in them must be in the stimulus set."""
    splits = benchmark.splits(stimuli)
    for folds in (splits.folds, *splits.by_subject.values()):
        for fold in folds:
            stimuli.index([*fold.train, *fold.test])
    return splits


def metadata_of(metric: Resolved, stimuli: StimulusSet) -> dict[str, dict[str, str]]:
    """Return ``{column: {stimulus_id: text}}`` for what a metric asks for of the stimuli's metadata, as far as it is there."""
    return {
        column: dict(zip(stimuli.stimulus_ids, stimuli.metadata[column], strict=True))
        for column in _metadata_asked(metric)
        if column in stimuli.metadata
    }


def _metadata_asked(metric: Resolved) -> tuple[str, ...]:
    asked = metric.spec.metadata
    return tuple(asked(**metric.parameters) if callable(asked) else asked)


@dataclass(frozen=True, eq=False)
class PartHashes:
    """What keys rest on of a benchmark, or of one of its subjects: the same for all models and metrics."""

    part: BenchmarkSpec | SubjectSpec
    stimuli: str
    target: str
    splits: str
    groups: str | None

    @classmethod
    def of(cls, part: BenchmarkSpec | SubjectSpec) -> PartHashes:
        """Read them from manifests."""
        stimuli = part.stimuli()
        target = part.target_hash() if part.target_hash else part.target().hash
        groups = None if stimuli.groups is None else digest(list(stimuli.groups))
        return cls(part, stimuli.manifest_hash, target, splits_of(part, stimuli).hash, groups)


def cell_key(
    cell: Cell, registry: Registry, precision: str, store: Store, known: dict[int, PartHashes] | None = None
) -> str:
    """Return the key of a cell's score, from manifests alone.

    Parameters
    ----------
    cell, registry, precision, store
        Whose key, and what it depends on besides.
    known
        What earlier cells of the run read of their benchmarks, by ``id()`` of each part; added to.

    Raises
    ------
    MissingDataError
        If the benchmark's data or a model's weights are not there.
    """
    benchmark = cell.benchmark
    known = {} if known is None else known
    for part in benchmark.parts.values():
        if id(part) not in known:
            known[id(part)] = PartHashes.of(part)
    inputs = {
        name: _inputs(cell, known[id(part)], registry, precision, store)
        for name, part in sorted(benchmark.parts.items())
    }
    if benchmark.subjects:
        groups = {name: of.groups for name, of in inputs.items() if of.groups is not None}
        metadata = {name: of.metadata for name, of in inputs.items() if of.metadata is not None}
        whole = _Inputs(
            [[key for of in inputs.values() for key in of.representations[m]] for m in range(len(cell.models))],
            digest({"subjects": {name: of.target for name, of in inputs.items()}}),
            digest({"subjects": {name: of.splits for name, of in inputs.items()}}),
            digest({"subjects": groups}) if groups else None,
            digest({"subjects": metadata}) if metadata else None,
        )
    else:
        (whole,) = inputs.values()
    return score_key(
        representations=whole.representations,
        target=whole.target,
        splits=whole.splits,
        groups=whole.groups,
        benchmark=benchmark.name,
        benchmark_version=registry.version(benchmark),
        metric=cell.metric.spec.name,
        metric_version=registry.version(cell.metric.spec),
        parameters=cell.metric.given,
        layer=cell.layer,
        metadata=whole.metadata,
    )


@dataclass(frozen=True)
class _Inputs:
    """What the key of a score rests on: keys of each model's layers, and hashes."""

    representations: list[list[str]]
    target: str
    splits: str
    groups: str | None
    metadata: str | None


def _inputs(cell: Cell, of: PartHashes, registry: Registry, precision: str, store: Store) -> _Inputs:
    representations = [
        list(layer_keys(model, registry.version(model.spec), of.stimuli, layers, precision, store).values())
        for model, layers in zip(cell.models, cell.layers(), strict=True)
    ]
    metadata = metadata_of(cell.metric, of.part.stimuli()) if _metadata_asked(cell.metric) else {}
    return _Inputs(representations, of.target, of.splits, of.groups, digest(metadata) if metadata else None)
