"""The Python interface: models and benchmarks by their identifiers, scores as objects, and checks of the options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.cells import AUTO, make_plan
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.pipeline import Numerics
from benchmark_core.records import Score, records_folder, unpack_resamples
from benchmark_core.registry import Registry
from benchmark_core.results import Results
from benchmark_core.runner import Runner

if TYPE_CHECKING:
    import torch

    from benchmark_core.extraction import Precision


def run(
    models: str | Sequence[str],
    benchmarks: str | Sequence[str],
    *,
    metric: str | Sequence[str] | None = None,
    layer: str = AUTO,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "exact",
    batch_size: int | None = None,
    records: Path | str | None = None,
    plugins: Sequence[Path | str] = (),
    force: bool = False,
    registry: Registry | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Results:
    """Score every model on every benchmark and return the results, failed ones included.

    Parameters
    ----------
    models, benchmarks
        Identifiers or globs.
    metric
        Metric identifier, or several; by default each benchmark's own.
    layer
        ``auto`` (chosen on training stimuli), ``all``, or a layer's name.
    seeds
        Draw every untrained model with each of these; others are scored once.
    device, backend, precision, batch_size
        As on the command line.
    records
        Folder of score records (default: ``BENCH_HOME/records``).
    plugins
        Folders of drop-in plugins.
    force
        Compute again what is already recorded.

    Raises
    ------
    InputError
        For anything named that is not known or not allowed.
    """
    found = registry or Registry.default([Path(p) for p in plugins])
    cells, _ = make_plan(found, _listed(models), _listed(benchmarks), metric, layer, seeds)
    runner = make_runner(found, device, backend, precision, batch_size, records, force, progress)
    return Results(runner.run(cells))


def score(model: str | torch.nn.Module, benchmark: str, **options: Any) -> Score:
    """Score one model on one benchmark.

    Parameters
    ----------
    model
        An identifier, or a :class:`torch.nn.Module` of one's own, which needs no plugin.
    benchmark
        Identifier.
    **options
        Those of :func:`run`; for a module those of :func:`benchmark_core.own_module.score_module`: ``layers``,
        ``preprocessing``, ``name``, ``trained`` besides.

    Raises
    ------
    MissingDataError
        If data or weights are not on this machine.
    BenchError
        If the score could not be computed.

    Examples
    --------
    >>> from benchmark_core import score
    >>> score("pixels", "simulated.V4").value  # doctest: +SKIP
    >>> score(my_module, "simulated.V4", layers=["features.3", "output"]).value  # doctest: +SKIP
    """
    if not isinstance(model, (str, list, tuple)):
        from benchmark_core.own_module import score_module

        return score_module(model, benchmark, **options)
    for name in ("layers", "preprocessing", "name", "trained"):
        if name in options:
            raise InputError(f"{name}= is for a torch module of your own; {model!r} is an identifier (see bench info)")
    results = run(model, benchmark, **options)
    if len(results) != 1:
        raise InputError(f"{model!r} on {benchmark!r} stands for {len(results)} scores; use benchmark_core.run")
    return as_score(results[0])


def as_score(record: dict[str, Any]) -> Score:
    """Return a result of :func:`run` as the score that a metric gave.

    Raises
    ------
    MissingDataError
        If data or weights are not on this machine.
    BenchError
        If the score could not be computed.
    """
    if record["status"] == "missing-data":
        raise MissingDataError(record["error"])
    if record["status"] != "ok":
        raise BenchError(record["error"])
    resamples, key = unpack_resamples(record) or (None, None)
    return Score(
        value=record["score"],
        ci_low=record["ci_low"],
        ci_high=record["ci_high"],
        fields={
            k: v for k, v in record.items() if k not in ("details", "subjects", "provenance", "warnings", "resamples")
        },
        details=record["details"],
        subjects=record["subjects"],
        layers=(tuple(record.get("layers", [record["layer"]])),),
        warnings=tuple(record["warnings"]),
        record=record,
        resamples=resamples,
        resamples_key=key,
    )


def make_runner(
    registry: Registry,
    device: str,
    backend: str,
    precision: str,
    batch_size: int | None,
    records: Path | str | None,
    force: bool,
    progress: Callable[[str, int, int], None] | None,
) -> Runner:
    """Return what scores cells, for the options of :func:`run`.

    Raises
    ------
    InputError
        For an option that is not known or not allowed.
    """
    numerics = Numerics(
        check_device(device), check_backend(backend, device), check_precision(precision), check_batch(batch_size)
    )
    runner = Runner(registry, numerics, records_folder(Path(records) if records else None), force)
    if progress:
        runner.progress = progress
    return runner


def check_precision(precision: str) -> Precision:
    """Return the precision if it is known."""
    if precision == "exact":
        return "exact"
    if precision == "fast":
        return "fast"
    raise InputError(f"unknown precision {precision!r}; use exact or fast")


def check_batch(batch_size: int | None) -> int | None:
    """Return the batch size if it is positive."""
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch size {batch_size} is not allowed; use auto or a whole number of at least 1")
    return batch_size


def check_device(device: str) -> str:
    """Return a device, or several with commas, if known and there; ``auto`` and ``cpu`` import no torch."""
    if device in ("auto", "cpu"):
        return device
    from benchmark_core.arrays import choose_devices

    return ",".join(choose_devices(device))


def check_backend(backend: str, device: str) -> str:
    """Return a backend if it is known and can use the device."""
    if backend != "auto":
        from benchmark_core.arrays import choose_backend, choose_device

        choose_backend(backend, choose_device(device) if backend == "cupy" else device)
    return backend


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
