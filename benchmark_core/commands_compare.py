"""``bench compare``: scores of several models side by side, from their records alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark_core.console import JsonOption, PluginsOption, RecordsOption, example, guarded, open_registry, write_json
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.records import read_records, records_folder
from benchmark_core.registry import is_glob
from benchmark_core.tables import interval, number, print_table

if TYPE_CHECKING:
    from benchmark_core.comparison import Comparison
    from benchmark_core.registry import Registry


MOST_PAIRED = 10  # models of which a table shows all pairs; of more, the differences from the best


@dataclass(frozen=True)
class Wanted:
    """Which records are to be compared.

    Parameters
    ----------
    benchmark, benchmark_version, metric, metric_version, layer, precision
        As records have them.
    own_metric
        Whether it is the metric that the benchmark is scored by unless another is asked for.
    """

    benchmark: str
    benchmark_version: int
    metric: str
    metric_version: str
    layer: str
    precision: str
    own_metric: bool

    @classmethod
    def of(cls, registry: Registry, benchmark: str, metric: str | None, layer: str, precision: str) -> Wanted:
        """Look names up.

        Raises
        ------
        InputError
            For unknown names, and metrics that do not take one model at a time.
        """
        from benchmark_core.api import check_precision

        spec = registry.benchmark(benchmark)
        own = registry.metric(spec.metric)
        chosen = own if metric is None else registry.metric(metric)
        low, high = chosen.spec.n_models
        if not low <= 1 <= high:
            raise InputError(f"{chosen.identifier} does not score one model at a time: there is nothing to compare")
        return cls(
            spec.name,
            spec.version,
            chosen.identifier,
            registry.version(chosen.spec),
            layer,
            check_precision(precision),
            chosen.identifier == own.identifier,
        )

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is of this benchmark, metric, layer and precision, and of one model."""
        return len(record["models"]) == 1 and (
            record["benchmark"],
            record["benchmark_version"],
            record["metric"],
            str(record.get("metric_version")),
            record.get("requested_layer"),
            record.get("precision", "exact"),
        ) == (self.benchmark, self.benchmark_version, self.metric, self.metric_version, self.layer, self.precision)

    def command(self, models: Sequence[str], records: Path | None) -> str:
        """Return the command that scores models in this way."""
        words = ["bench", "run"]
        for model in models:
            words += ["--model", model]
        words += ["--benchmark", self.benchmark]
        words += [] if self.own_metric else ["--metric", self.metric]
        words += [] if self.layer == "auto" else ["--layer", self.layer]
        words += [] if self.precision == "exact" else ["--precision", self.precision]
        words += [] if records is None else ["--records", str(records)]
        return shlex.join(words)


def find_records(
    wanted: Wanted, models: Sequence[str], registry: Registry, folder: Path, named: Path | None
) -> dict[str, dict[str, Any]]:
    """Return the records of models by identifier; a glob stands for all models that are recorded.

    Parameters
    ----------
    models
        Identifiers or globs.
    folder
        Of records.
    named
        The same as the user named it, or None.

    Raises
    ------
    MissingDataError
        Naming the command that would score what is not recorded.
    InputError
        For unknown models, globs without a match, and fewer than two models.
    """
    scored: dict[str, dict[str, Any]] = {}
    for record in read_records(folder) if folder.is_dir() else ():
        if wanted.matches(record) and record["status"] == "ok" and record["score"] is not None:
            (model,) = record["models"]
            held = scored.get(model)
            if held is None or _finished(held) < _finished(record):
                scored[model] = record
    chosen: dict[str, dict[str, Any]] = {}
    missing: list[str] = []
    for pattern in models:
        if is_glob(pattern):
            found = [m for m in sorted(scored) if fnmatchcase(m, pattern)]
            if not found:
                raise InputError(f"no model recorded on {wanted.benchmark} matches {pattern!r} in {folder}")
        else:
            name = pattern if pattern in scored else registry.model(pattern).identifier
            found = [name] if name in scored else []
            missing += [] if found else [name]
        chosen |= {m: scored[m] for m in found}
    if missing:
        raise MissingDataError(
            f"no score of {', '.join(missing)} on {wanted.benchmark} by {wanted.metric} in {folder}; "
            f"run: {wanted.command(missing, named)}"
        )
    if len(chosen) < 2:
        raise InputError("name at least two models, or a glob that matches several")
    return chosen


def _finished(record: Mapping[str, Any]) -> str:
    return str(record.get("provenance", {}).get("finished", ""))


def add_to(app: typer.Typer) -> None:
    """Make ``compare`` a command of this app."""
    app.command(
        "compare",
        epilog=example(
            "bench compare pixels efficientnet-lite0 --benchmark cowley2023.V4",
            "bench compare 'expansion5l*' --benchmark cowley2023.V4 --json",
        ),
    )(compare_command)


@guarded
def compare_command(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models or globs; two at least.")],
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", metavar="ID", help="Benchmark.")],
    metric: Annotated[
        str | None, typer.Option(metavar="ID", help="Metric identifier (default: the benchmark's own).")
    ] = None,
    layer: Annotated[
        str, typer.Option(metavar="NAME", help="auto (chosen on training stimuli), or the layer that was named.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="exact or fast.")] = "exact",
    records: RecordsOption = None,
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare recorded scores in pairs, on the resamples that they share; nothing is computed anew.

    Differences come with 95 % intervals and p values, raw and adjusted for all pairs.
    """
    from benchmark_core.api import as_score
    from benchmark_core.comparison import compare

    registry = open_registry(plugins)
    wanted = Wanted.of(registry, benchmark, metric, layer, precision)
    chosen = find_records(wanted, models, registry, records_folder(records), records)
    without = [name for name, record in chosen.items() if record.get("resamples") is None]
    if without:
        raise InputError(
            f"records without resamples: {', '.join(without)}; they are older than resamples are, or their metric gives "
            f"none. To compute them again: {wanted.command(without, records)} --force"
        )
    comparison = compare({name: as_score(record) for name, record in chosen.items()})
    if as_json:
        write_json(document(wanted, comparison, chosen))
    else:
        print_comparison(wanted, comparison, chosen)


def document(wanted: Wanted, comparison: Comparison, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a comparison as plain data."""
    return {
        "benchmark": wanted.benchmark,
        "benchmark_version": wanted.benchmark_version,
        "metric": wanted.metric,
        "layer": wanted.layer,
        "alpha": comparison.alpha,
        "n_resamples": comparison.n_resamples,
        "models": [
            {
                "model": name,
                "score": value,
                "ci_low": chosen[name]["ci_low"],
                "ci_high": chosen[name]["ci_high"],
                "in_best_set": name in comparison.best_set,
                "key": chosen[name]["key"],
            }
            for name, value in zip(comparison.names, comparison.values, strict=True)
        ],
        "differences": [asdict(difference) for difference in comparison.differences],
    }


def print_comparison(wanted: Wanted, comparison: Comparison, chosen: Mapping[str, Mapping[str, Any]]) -> None:
    """Print scores, and the differences of all pairs, or of many models the differences from the best."""
    print(f"{wanted.benchmark} v{wanted.benchmark_version}, {wanted.metric}: {comparison.n_resamples} shared resamples")
    rows = [
        (name, number(value) + ("*" if name in comparison.best_set else " "), interval(chosen[name]))
        for name, value in zip(comparison.names, comparison.values, strict=True)
    ]
    print_table(("model", "score", "95 % interval"), rows, right=("score",))
    print(f"* cannot be told from the best (all pairs, {100 * comparison.alpha:g} %)")
    print()
    few = len(comparison.names) <= MOST_PAIRED
    shown = [d for d in comparison.differences if few or d.first == comparison.names[0]]
    headings = ("higher", "lower", "difference", "95 % interval", "p", "p, all pairs")
    lines = [
        (d.first, d.second, number(d.difference), interval(asdict(d)), p_text(d.p), p_text(d.p_adjusted)) for d in shown
    ]
    print_table(headings, lines, right=("difference", "p", "p, all pairs"))
    if not few:
        print(f"differences from the best; --json has all {len(comparison.differences)} pairs")


def p_text(p: float | None) -> str:
    """Write a p value with three decimals; a dash where there is none."""
    return "-" if p is None else "< .001" if p < 0.001 else f"{p:.3f}"
