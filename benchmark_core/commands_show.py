"""``bench show``: one recorded score in depth."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark_core.console import JsonOption, PluginsOption, RecordsOption, example, guarded, open_registry, write_json
from benchmark_core.errors import InputError, MissingDataError, did_you_mean
from benchmark_core.records import records_folder
from benchmark_core.registry import is_glob

if TYPE_CHECKING:
    from benchmark_core.leaderboard import Entry
    from benchmark_core.registry import Registry

NO_MODEL = "-"


def add_to(app: typer.Typer) -> None:
    """Make ``show`` a command of this app."""
    app.command(
        "show",
        epilog=example(
            "bench show efficientnet-lite0 cowley2023.V4",
            "bench show 'expansion5l*' 'cowley2023.*' --metric encoding",
            "bench show - cowley2023.V4 --metric noise-ceiling",
        ),
    )(show_command)


@guarded
def show_command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model or glob; several as 'A + B'; - for metrics of no model.")
    ],
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="Benchmark or glob.")],
    metric: Annotated[
        str | None, typer.Option(metavar="ID", help="Metric or glob (default: all that are recorded).")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only scores for which this layer was asked (or auto).")
    ] = None,
    records: RecordsOption = None,
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show recorded scores in depth: interval, ceiling, neuroids, layers, folds, provenance, how to compute it again."""
    from benchmark_core.leaderboard import leaderboard_entries
    from benchmark_core.leaderboard_cards import rerun
    from benchmark_core.records import plain, read_records
    from benchmark_core.score_text import print_score, score_document

    entries = leaderboard_entries(read_records(records_folder(records)))
    chosen = choose(entries, model, benchmark, metric, layer, lambda: open_registry(plugins), records)
    documents = []
    for entry in chosen:
        again = rerun(entry.record)
        if records is not None and again["command"].startswith("bench "):
            again = again | {"command": f"{again['command']} --records {shlex.quote(str(records))}"}
        documents.append(score_document(entry, entries, again))
    if as_json:
        write_json({"scores": plain(documents)})
        return
    for number, document in enumerate(documents):
        if number:
            print("\n")
        print_score(document)


def choose(
    entries: Sequence[Entry],
    model: str,
    benchmark: str,
    metric: str | None,
    layer: str | None,
    registry: Callable[[], Registry],
    named: Path | None = None,
) -> list[Entry]:
    """Return the entries that names or globs stand for, in the leaderboard's order.

    Parameters
    ----------
    entries
        Of all records.
    model, benchmark, metric, layer
        Names or globs; None for all.
    registry
        Called where a name is not recorded as it stands: it may be another name of what is.
    named
        Folder of the records as the user named it, for messages.

    Raises
    ------
    InputError
        If nothing recorded has such a name, with the nearest names.
    MissingDataError
        If all of the names are known, and there is no such score; it names the command that computes it.
    """
    here, folder = list(entries), records_folder(named)
    recorded = sorted({entry.row["model"] or NO_MODEL for entry in here})
    wanted = _names(model, recorded, lambda text: _canonical_models(text, registry()))
    if not wanted and is_glob(model):
        raise InputError(f"no recorded model matches {model!r} in {folder}; recorded: {_few(recorded)}")
    benchmarks = sorted({entry.row["benchmark"] for entry in here})
    of = _names(benchmark, benchmarks, lambda text: registry().benchmark(text).name)
    if not of:
        if is_glob(benchmark):
            raise InputError(f"no recorded benchmark matches {benchmark!r} in {folder}; recorded: {_few(benchmarks)}")
        known = _known(lambda: registry().benchmark(benchmark).name, benchmark, "benchmark", benchmarks, folder)
        of = [known]
    if not wanted:
        name = _known(lambda: _canonical_models(model, registry()), model, "model", recorded, folder)
        raise MissingDataError(f"no score of {name} in {folder}; run: {_command(name, of[0], metric, layer, named)}")
    found = [e for e in here if (e.row["model"] or NO_MODEL) in wanted and e.row["benchmark"] in of]
    if not found:
        on = sorted({e.row["benchmark"] for e in here if (e.row["model"] or NO_MODEL) in wanted})
        raise MissingDataError(
            f"no score of {model} on {benchmark} in {folder} (there is on {_few(on)}); "
            f"run: {_command(wanted[0], of[0], metric, layer, named)}"
        )
    if metric is not None:
        metrics = sorted({e.row["metric"] for e in found})
        by = _names(metric, metrics, lambda text: registry().metric(text).identifier)
        if not by:
            if not is_glob(metric):
                _known(lambda: registry().metric(metric).identifier, metric, "metric", metrics, folder)
            raise MissingDataError(
                f"no score of {model} on {benchmark} by {metric} in {folder} (there is by {_few(metrics)})"
                + ("" if is_glob(metric) else f"; run: {_command(wanted[0], of[0], metric, layer, named)}")
            )
        found = [e for e in found if e.row["metric"] in by]
    if layer is not None:
        layers = sorted({str(e.row["requested_layer"]) for e in found})
        if layer not in layers:
            raise InputError(f"no such score with the layer {layer!r}; layers asked for: {_few(layers)}")
        found = [e for e in found if e.row["requested_layer"] == layer]
    return found


def _names(pattern: str, recorded: Sequence[str], canonical: Callable[[str], str]) -> list[str]:
    """Return the recorded names that a name or glob stands for."""
    if pattern in recorded:
        return [pattern]
    if is_glob(pattern):
        return [name for name in recorded if fnmatchcase(name, pattern)]
    try:
        name = canonical(pattern)
    except InputError:
        return []
    return [name] if name in recorded else []


def _known(canonical: Callable[[], str], name: str, kind: str, recorded: Sequence[str], folder: Path) -> str:
    """Return a name in its canonical form, or say which recorded names are near it."""
    try:
        return canonical()
    except InputError as error:
        near = did_you_mean(name, list(recorded))
        if near:
            raise InputError(f"no {kind} {name!r} is recorded in {folder}.{near}") from None
        raise error from None


def _canonical_models(text: str, registry: Registry) -> str:
    """Return the identifiers of one or several models as the leaderboard writes them."""
    return " + ".join(registry.model(part.strip()).identifier for part in text.split(" + "))


def _command(model: str, benchmark: str, metric: str | None, layer: str | None, records: Path | None) -> str:
    words = ["bench", "run"]
    for one in [] if model == NO_MODEL else model.split(" + "):
        words += ["--model", one]
    words += ["--benchmark", benchmark]
    words += [] if metric is None or is_glob(metric) else ["--metric", metric]
    words += [] if layer in (None, "auto") else ["--layer", str(layer)]
    words += [] if records is None else ["--records", str(records)]
    return shlex.join(words)


def _few(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "") or "nothing"
