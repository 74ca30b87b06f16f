"""From suites to cells: which models, benchmarks and metrics a named grid stands for.

>>> from benchmark_core.suites import suite_cells
>>> cells = suite_cells("paper.main", "cowley2023")
>>> cells[0].models, cells[0].benchmark, cells[0].metric, cells[0].group, dict(cells[0].axes)
(('expansion5l:filters=3',), 'cowley2023.V4', 'encoding', 'expansion5l', {'filters': 3})
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core.cells import Cell, make_plan, with_seeds
from benchmark_core.errors import InputError
from benchmark_core.identifiers import Value, canonical, format_value, split_identifier
from benchmark_core.registry import Registry
from benchmark_core.suite_files import Axes, Grid, Suite, load_suite, suite_paths

if TYPE_CHECKING:
    from benchmark_core.results import Results

__all__ = ["SuiteCell", "load_suite", "plan_suite", "run_suite", "suite_cells", "suite_paths"]


@dataclass(frozen=True)
class SuiteCell:
    """One score of a suite, and where it stands in its grid.

    Parameters
    ----------
    cell
        What is to be scored.
    group
        What the models of its grid are called together: one line of a figure.
    axes
        Values of the parameters that the grid varies, of models and of metrics (``{"filters": 300, "components": 10}``);
        with draws also ``seed``.
    reference
        Whether it is shown for comparison.
    """

    cell: Cell
    group: str
    axes: Mapping[str, Value]
    reference: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """Canonical identifiers of the models, as records have them; none for a metric of the target alone."""
        return tuple(model.identifier for model in self.cell.models)

    @property
    def benchmark(self) -> str:
        """Name of the benchmark."""
        return self.cell.benchmark.name

    @property
    def benchmark_version(self) -> int:
        """Version of the benchmark."""
        return self.cell.benchmark.version

    @property
    def metric(self) -> str:
        """Canonical identifier of the metric."""
        return self.cell.metric.identifier

    @property
    def layer(self) -> str:
        """The layer asked for (``requested_layer`` of a record)."""
        return self.cell.layer

    @property
    def width(self) -> int | None:
        """Value of the parameter that widens the model's last layer (``filters`` of ``expansion5l``), or None.

        The same for one model, whether or not the grid varies it.
        """
        if len(self.cell.models) != 1 or self.cell.models[0].spec.width is None:
            return None
        (model,) = self.cell.models
        value = model.parameters[model.spec.width.parameter]
        return None if value is None else int(value)

    @property
    def seed(self) -> int | None:
        """The draw of an untrained model, or None."""
        seeds = {m.parameters["seed"] for m in self.cell.models if "seed" in m.parameters and not m.trained}
        return int(seeds.pop() or 0) if len(seeds) == 1 else None

    @property
    def parameters(self) -> Mapping[str, Value | None]:
        """All parameters of the model, defaults included (``init``, ``nonlinearity``, ...); empty for several models."""
        return dict(self.cell.models[0].parameters) if len(self.cell.models) == 1 else {}

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is of this cell."""
        return (
            tuple(record["models"]),
            record["benchmark"],
            record["benchmark_version"],
            record["metric"],
            record.get("requested_layer", "auto"),
        ) == (self.models, self.benchmark, self.benchmark_version, self.metric, self.layer)


def suite_cells(
    suite: str | Path | Suite,
    dataset: str | None = None,
    *,
    registry: Registry | None = None,
    seeds: Sequence[int] | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> list[SuiteCell]:
    """Return the cells of a suite on a dataset, in the order of its grids.

    A cell that several grids name stands there once for each, under the group of each.

    Parameters
    ----------
    suite
        Its name, or the path of its file.
    dataset
        One of those that it has; may be left out where there is only one.
    registry
        Where plugins come from (default: all that are found).
    seeds
        Draw every untrained model with each of these.
    note
        Called with lines about what was left out.

    Raises
    ------
    InputError
        For names that are unknown, in the request or in the file.
    """
    read = suite if isinstance(suite, Suite) else load_suite(suite)
    found = registry or Registry.default()
    notes: dict[str, None] = {}
    cells: list[SuiteCell] = []
    for grid in read.grids(dataset):
        try:
            cells += _cells_of(grid, found, seeds, notes)
        except InputError as error:
            raise InputError(f"{grid.where}: {error}") from None
    for line in notes:
        note(line)
    return cells


def plan_suite(cells: Sequence[SuiteCell]) -> list[Cell]:
    """Return what is to be run, each cell once, model by model, so that models share what can be shared."""
    once = {one.cell.address: one.cell for one in cells}
    order: dict[str, int] = {}
    for cell in once.values():
        for model in cell.models[:1]:
            order.setdefault(model.identifier, len(order))
    return sorted(once.values(), key=lambda cell: order[cell.models[0].identifier] if cell.models else -1)


def run_suite(
    suite: str | Path | Suite,
    dataset: str | None = None,
    *,
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
    """Score what a suite stands for and return the results, failed ones included.

    Parameters
    ----------
    suite, dataset, seeds
        See :func:`suite_cells`.
    device, backend, precision, batch_size, records, plugins, force, registry, progress
        See :func:`benchmark_core.run`.

    Raises
    ------
    InputError
        For anything named that is not known or not allowed.
    """
    from benchmark_core.api import make_runner
    from benchmark_core.results import Results

    found = registry or Registry.default([Path(p) for p in plugins])
    cells = plan_suite(suite_cells(suite, dataset, registry=found, seeds=seeds))
    runner = make_runner(found, device, backend, precision, batch_size, records, force, progress)
    return Results(runner.run(cells))


def _cells_of(
    grid: Grid, registry: Registry, seeds: Sequence[int] | None, notes: dict[str, None]
) -> Iterator[SuiteCell]:
    metrics = list(_metrics(grid, registry))
    rows = list(_rows(grid, registry, seeds, notes))
    for metric, metric_axes in metrics:
        for models, group, axes in rows:
            for benchmark in grid.benchmarks:
                planned, left_out = make_plan(registry, models, [benchmark], metric, grid.layer)
                notes |= dict.fromkeys(left_out)
                for cell in planned:
                    label = grid.group or group or cell.metric.spec.name
                    yield SuiteCell(cell, label, {**axes, **metric_axes}, grid.reference)


def _metrics(grid: Grid, registry: Registry) -> Iterator[tuple[str | None, dict[str, Value]]]:
    """Yield the metrics of a grid, and the values that they have on its axes; None for each benchmark's own."""
    if not grid.metrics:
        yield None, {}
    for metric in grid.metrics:
        for values in _combinations(grid.metric_parameters):
            identifier = registry.metric(_with(metric, values)).identifier
            yield identifier, {name: values[name] for name in grid.metric_varied}


def _rows(
    grid: Grid, registry: Registry, seeds: Sequence[int] | None, notes: dict[str, None]
) -> Iterator[tuple[list[str], str, dict[str, Value]]]:
    """Yield models to be scored (together), their name as it was written, and their values on the axes of the grid."""
    if not grid.models:
        yield [], "", {}
    for entry in grid.models:
        if not isinstance(entry, str):
            resolved = [registry.model(name) for name in entry]
            for drawn, axes in _drawn([resolved], seeds, notes):
                yield [m.identifier for m in drawn], " + ".join(entry), axes
            continue
        name = entry.partition(":")[0]
        for values in _combinations(grid.parameters):
            alone = [[model] for model in registry.expand_models(_with(entry, values))]
            on_axes = {key: values[key] for key in grid.varied}
            for drawn, axes in _drawn(alone, seeds, notes):
                yield [m.identifier for m in drawn], name, on_axes | axes


def _drawn(
    rows: Sequence[Sequence[Any]], seeds: Sequence[int] | None, notes: dict[str, None]
) -> Iterator[tuple[Sequence[Any], dict[str, Value]]]:
    """Yield every row of models once for each seed; as it is where nothing in it is drawn."""
    for row in rows:
        if seeds is None:
            yield row, {}
            continue
        for seed in seeds:
            drawn, lines = with_seeds(row, [seed])
            notes |= dict.fromkeys(lines)
            if len(lines) == len(row):
                yield row, {}
                break
            yield drawn, {"seed": seed}


def _combinations(axes: Axes) -> Iterator[dict[str, Value]]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _with(identifier: str, values: Mapping[str, Value]) -> str:
    """Return an identifier (or a glob) with further parameters.

    Raises
    ------
    InputError
        If it names one of them itself.
    """
    name, colon, rest = identifier.partition(":")
    if colon:
        _, given = split_identifier("name:" + rest)
        twice = [key for key in given if key in values]
        if twice:
            raise InputError(f"{identifier!r} names the parameter {twice[0]!r}, which the grid's parameters name, too")
    if not values:
        return identifier
    added = canonical("", values).removeprefix(":")
    return f"{name}:{rest},{added}" if colon else f"{name}:{added}"


def describe_axes(axes: Mapping[str, Value]) -> str:
    """Write values on axes as identifiers do: ``filters=300, components=10``."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in axes.items())
