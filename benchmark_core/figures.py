"""The figures: which there are, the suite that each belongs to, and from records to files.

Every figure is drawn from a table (:class:`benchmark_core.figure_tables.FigureTable`), which is a pure function of records
and is written beside it as CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core import figure_comparisons, figure_curves, figure_distributions, figure_drawing, figure_panels
from benchmark_core.errors import InputError, did_you_mean
from benchmark_core.figure_predictions import Reader, predictions
from benchmark_core.figure_records import Record, WidthOf, options_of, options_text
from benchmark_core.figure_tables import Context, FigureTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark_core.registry import Registry

Tables = Callable[[Sequence[Record], Context], Iterator[FigureTable]]


@dataclass(frozen=True)
class FigureSpec:
    """One kind of figure.

    Parameters
    ----------
    name
        As it is asked for, and the first part of its files' names.
    suite
        The suite whose scores it shows.
    description
        One line.
    metric
        Name of the metric whose records it shows.
    tables
        From usable records to a table for each benchmark that has the data. None for the figure of held-out
        predictions, which needs more than records.
    draw
        From such a table to the figure.
    varied
        Parameters of the metric that the figure itself varies.
    of_models
        Whether it shows the models of its suite, so that it says which are not recorded.
    """

    name: str
    suite: str
    description: str
    metric: str
    tables: Tables | None
    draw: Callable[[FigureTable], Figure]
    varied: tuple[str, ...] = ()
    of_models: bool = True


FIGURES = (
    FigureSpec(
        "features",
        "paper.main",
        "encoding against number of features, by family, with trained models as lines",
        "encoding",
        figure_curves.features,
        figure_drawing.curves,
    ),
    FigureSpec(
        "networks",
        "paper.sota",
        "encoding by trained and untrained networks",
        "encoding",
        figure_comparisons.networks,
        figure_drawing.bars,
    ),
    FigureSpec(
        "layers",
        "paper.sota",
        "cross-validated r over the layers of each model",
        "encoding",
        figure_curves.layers,
        figure_panels.layer_panels,
    ),
    FigureSpec(
        "components",
        "paper.pca",
        "encoding against number of principal components",
        "encoding",
        figure_curves.components,
        figure_drawing.curves,
        ("components",),
    ),
    FigureSpec(
        "connectivity",
        "paper.local-connectivity",
        "local against dispersed connectivity: pixels intact and shuffled",
        "encoding",
        figure_comparisons.connectivity,
        figure_drawing.bars,
    ),
    FigureSpec(
        "classification",
        "paper.classification",
        "accuracy, with chance",
        "classification",
        figure_comparisons.classification,
        figure_drawing.bars,
    ),
    FigureSpec(
        "ablations",
        "paper.ablations",
        "the expansion model and its ablations",
        "encoding",
        figure_comparisons.ablations,
        figure_drawing.bars,
    ),
    FigureSpec(
        "init",
        "paper.init",
        "the expansion model with other initial weights",
        "encoding",
        figure_comparisons.init,
        figure_drawing.bars,
    ),
    FigureSpec(
        "nonlinearity",
        "paper.nonlinearity",
        "the expansion model with other nonlinearities",
        "encoding",
        figure_comparisons.nonlinearity,
        figure_drawing.bars,
    ),
    FigureSpec(
        "variance-partitioning",
        "paper.variance-partitioning",
        "what models explain alone and together",
        "variance-partitioning",
        figure_distributions.variance,
        figure_panels.parts,
    ),
    FigureSpec(
        "rsa",
        "paper.rsa",
        "representational similarity, with ceiling",
        "rsa",
        figure_comparisons.rsa,
        figure_drawing.bars,
    ),
    FigureSpec(
        "dimensionality",
        "paper.variance-explained",
        "encoding against components needed and effective dimensionality",
        "spectrum",
        figure_distributions.dimensionality,
        figure_panels.dimensions,
    ),
    FigureSpec(
        "reliability",
        "paper.noise-ceiling",
        "distribution of the neuroids' reliability",
        "noise-ceiling",
        figure_distributions.reliability,
        figure_panels.histogram,
        of_models=False,
    ),
    FigureSpec(
        "predictions",
        "paper.main",
        "predicted against measured responses of a neuroid",
        "encoding",
        None,
        figure_panels.scatter,
        of_models=False,
    ),
)


def chosen(names: Sequence[str], suite: str | None) -> list[FigureSpec]:
    """Return the figures asked for: by name, of a suite, or all; a suite that is not of the paper has all.

    Raises
    ------
    InputError
        For an unknown name.
    """
    known = {spec.name: spec for spec in FIGURES}
    for name in names:
        if name not in known:
            raise InputError(
                f"there is no figure {name!r}; there are {', '.join(known)}.{did_you_mean(name, list(known))}"
            )
    wanted = [known[name] for name in dict.fromkeys(names)] or list(FIGURES)
    of_suite = [spec for spec in wanted if spec.suite == suite]
    if suite is None or (not of_suite and not names):
        return wanted
    if not of_suite:
        raise InputError(f"the suite {suite} has no figure {' or '.join(names)}; leave --suite or the name out")
    return of_suite


def widths(registry: Registry) -> WidthOf:
    """Return a function that says which parameter widens the last layer of a model, and that parameter's default."""

    def width_of(name: str) -> tuple[str, int | None] | None:
        try:
            resolved = registry.model(name)
        except Exception:  # a model of a plugin that is not here, or a module scored from Python
            return None
        if resolved.spec.width is None:
            return None
        parameter = resolved.spec.width.parameter
        default = resolved.parameters[parameter]
        return parameter, None if default is None else int(default)

    return width_of


def make_tables(
    spec: FigureSpec, records: Sequence[Record], context: Context, read: Reader | None = None
) -> list[FigureTable]:
    """Return the tables of a figure, one for each benchmark (and set of the metric's parameters) that has the data.

    Parameters
    ----------
    records
        Usable ones (:func:`benchmark_core.figure_records.usable`).
    read
        Where held-out predictions come from; without it they are left out.
    """
    if spec.tables is not None:
        return list(spec.tables(records, context))
    return [] if read is None else list(predictions(records, read))


def of_dataset(records: Iterable[Record], dataset: str | None) -> list[Record]:
    """Return the records of a dataset: those of benchmarks ``DATASET.REGION``."""
    return [r for r in records if dataset is None or r["benchmark"].partition(".")[0] == dataset]


class Expected:
    """What suites would have on a benchmark, and which of it is not recorded.

    Parameters
    ----------
    registry
        Where models, benchmarks and metrics are looked up.
    records
        All that there are.
    """

    def __init__(self, registry: Registry, records: Sequence[Record]) -> None:
        self.registry = registry
        self.have = {_place(r["models"], r["benchmark"], r["metric"]) for r in records if r["status"] == "ok"}
        self._cells: dict[tuple[str, str], list[Any]] = {}

    def cells(self, suite: str, dataset: str) -> list[Any]:
        """Return the cells of a suite on a dataset; none where it has none."""
        from benchmark_core.suites import load_suite, suite_cells

        if (suite, dataset) not in self._cells:
            try:
                read = load_suite(suite)
                known = dataset in read.dataset_names
                found = suite_cells(read, dataset, registry=self.registry) if known else []
            except InputError:  # a suite that is not there or does not fit the plugins: nothing is expected
                found = []
            self._cells[suite, dataset] = found
        return self._cells[suite, dataset]

    def missing(self, spec: FigureSpec, table: FigureTable) -> list[str]:
        """Return what the suite has on the table's benchmark, with the table's metric, and no record: in the suite's order."""
        if not spec.of_models:
            return []
        absent: dict[str, list[str]] = {}
        every: dict[str, int] = {}
        for cell in self.cells(spec.suite, table.benchmark.partition(".")[0]):
            on = {table.benchmark, f"{table.benchmark}{figure_comparisons.SHUFFLED}"}
            name, options = options_of({"metric": cell.metric}, spec.varied)
            if cell.benchmark not in on or name != spec.metric or options_text(options) != table.options:
                continue
            if cell.benchmark != table.benchmark and spec.name != "connectivity":
                continue
            model = " + ".join(cell.models) or cell.metric
            every[model] = every.get(model, 0) + 1
            if _place(cell.models, cell.benchmark, cell.metric) not in self.have:
                varied = {k: v for k, v in options_of({"metric": cell.metric})[1].items() if k in spec.varied}
                text = options_text(varied) or "all" if cell.benchmark == table.benchmark else cell.benchmark
                absent.setdefault(model, []).append(text)
        return [
            model if len(texts) == every[model] else f"{model} ({_joined(texts)})" for model, texts in absent.items()
        ]

    def how_to(self, spec: FigureSpec, dataset: str | None, recorded: Sequence[str]) -> str:
        """Return the command that would record what a figure shows, or why there is none for a dataset."""
        from benchmark_core.suites import load_suite

        try:
            suite = load_suite(spec.suite)
        except InputError:
            return f"bench run --metric {spec.metric} --benchmark {dataset or 'DATASET'}.REGION --model MODEL"
        names = suite.dataset_names
        if dataset is not None and dataset not in names:
            return f"the suite {spec.suite} has nothing for {dataset}" + (
                f": {suite.without[dataset]}" if dataset in suite.without else f", but for {', '.join(names)}"
            )
        at = dataset or next((d for d in recorded if d in names), names[0] if names else None)
        return f"make it with: bench run --suite {spec.suite}" + (f" --dataset {at}" if at else "")


def _joined(texts: Sequence[str]) -> str:
    """Write ``components=1`` and ``components=10`` as ``components=1, 10``."""
    name = texts[0].partition("=")[0]
    same = all(text.partition("=")[0] == name for text in texts)
    return ", ".join([texts[0], *(text.removeprefix(f"{name}=") if same else text for text in texts[1:])])


def _place(models: Iterable[str], benchmark: str, metric: str) -> tuple[Any, ...]:
    from benchmark_core.figure_records import without_draw

    return (tuple(without_draw(m) for m in models), benchmark, metric)


def draw(spec: FigureSpec, table: FigureTable, formats: Sequence[str]) -> dict[str, bytes]:
    """Return the files of a figure by their endings: its table as ``csv``, and the picture in each format.

    A figure that shows words in place of data has no table.
    """
    from benchmark_core.figure_style import style, to_bytes

    files: dict[str, bytes] = {} if table.words else {"csv": table.to_csv().encode()}
    with style():
        figure = spec.draw(table)
        for kind in formats:
            files[kind] = to_bytes(figure, kind, f"{table.title}, {table.benchmark}")
    return files


def write(spec: FigureSpec, table: FigureTable, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure and its table, each whole or not at all; return the files.

    Raises
    ------
    InputError
        If they cannot be written.
    """
    from benchmark_core.atomic import write_atomically

    paths = []
    for ending, content in draw(spec, table, formats).items():
        path = folder / f"{table.stem}.{ending}"
        write_atomically(path, content)
        paths.append(path)
    return paths
