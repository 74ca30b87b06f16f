"""``bench data check``: reports on files that are not added yet, and on datasets of any origin."""

from __future__ import annotations

from typing import Any

from benchmark_core.assembly import Responses
from benchmark_core.cells import splits_of
from benchmark_core.errors import BenchError, InputError, MissingDataError, did_you_mean
from benchmark_core.own_data import groups_of
from benchmark_core.own_data_images import Look, look_at_all
from benchmark_core.own_data_manifest import splits_for
from benchmark_core.own_data_reading import Progress, Request, prepare
from benchmark_core.own_data_report import report_on
from benchmark_core.registry import Registry
from benchmark_core.specs import BenchmarkSpec, SubjectSpec
from benchmark_core.splits import Splits
from benchmark_core.stimuli import StimulusSet


def check_files(request: Request, progress: Progress = lambda line: None) -> list[dict[str, Any]]:
    """Return a report on files that are not added yet, one for each region."""
    prepared = prepare(request, progress)
    reports: list[dict[str, Any]] = []
    for region, responses in prepared.regions.items():
        stimuli = StimulusSet(
            responses.stimulus_ids,
            tuple(prepared.files[i][1] for i in responses.stimulus_ids),
            tuple(prepared.looks[i].pixels for i in responses.stimulus_ids),
            {column: tuple(texts[i] for i in responses.stimulus_ids) for column, texts in prepared.metadata.items()},
        )
        reports.append(
            report_on(
                region,
                stimuli.stimulus_ids,
                [prepared.looks[i] for i in stimuli.stimulus_ids],
                responses,
                _try_splits(splits_for(prepared.split), stimuli),
                groups_of(stimuli),
                prepared.matched if not reports else {**prepared.matched, "lines": []},  # said once for all regions
            )
        )
    return reports


def _try_splits(make: Any, stimuli: StimulusSet) -> Splits | BenchError:
    try:
        found: Splits = make(stimuli)
        return found
    except BenchError as error:
        return error


def check_registered(registry: Registry, name: str, progress: Progress = lambda line: None) -> list[dict[str, Any]]:
    """Return a report on each benchmark of a dataset (or on one benchmark), whoever provides it.

    Raises
    ------
    InputError
        If there is no such dataset or benchmark.
    MissingDataError
        If none of it is on this machine.
    """
    specs = [registry.benchmark(n) for n in registry.benchmarks.names()]
    chosen = [s for s in specs if s.name == name or any(d.name == name for d in s.needs)]
    if not chosen:
        known = [*(d.name for d in registry.datasets()), *(s.name for s in specs)]
        raise InputError(
            f"no dataset or benchmark is named {name!r}.{did_you_mean(name, known) or ' See: bench data list.'}"
        )
    seen: dict[str, list[Look]] = {}
    reports: list[dict[str, Any]] = []
    missing: MissingDataError | None = None
    for spec in chosen:
        for subject, part in spec.parts.items():
            name = f"{spec.name} {subject}".rstrip()
            try:
                reports.append(_check_benchmark(name, part, seen, progress))
            except MissingDataError as error:
                missing = missing or error
                progress(f"{name}: not on this machine, left out")
    if missing is not None and not reports:
        raise missing
    return reports


def _check_benchmark(
    name: str, spec: BenchmarkSpec | SubjectSpec, seen: dict[str, list[Look]], progress: Progress
) -> dict[str, Any]:
    stimuli, target = spec.stimuli(), spec.target()
    progress(f"{name}: looking at {len(stimuli)} images")
    if stimuli.manifest_hash not in seen:
        seen[stimuli.manifest_hash] = look_at_all(stimuli.image, len(stimuli), progress)
    ids = set(getattr(target, "stimulus_ids", stimuli.stimulus_ids))
    without_image = sorted(ids - set(stimuli.stimulus_ids))
    without_responses = sorted(set(stimuli.stimulus_ids) - ids)
    lines = []
    for found, what in (
        (without_image, "have responses and no image"),
        (without_responses, "have an image and no responses"),
    ):
        if found:
            lines.append(f"{len(found)} stimulus ids {what}: {found[0]!r}; get the data again")
    return report_on(
        name,
        stimuli.stimulus_ids,
        seen[stimuli.manifest_hash],
        target if isinstance(target, Responses) else None,
        _try_splits(lambda s: splits_of(spec, s), stimuli),
        groups_of(stimuli),
        {
            "n_matched": len(ids & set(stimuli.stimulus_ids)),
            "without_image": without_image,
            "without_responses": without_responses,
            "lines": lines,
        },
    )
