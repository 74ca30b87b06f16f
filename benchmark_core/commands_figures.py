"""``bench figures``: figures and their tables from score records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark_core.console import (
    JsonOption,
    PluginsOption,
    RecordsOption,
    example,
    guarded,
    open_registry,
    say,
    write_json,
)
from benchmark_core.errors import InputError, MissingDataError, did_you_mean
from benchmark_core.registry import Registry

if TYPE_CHECKING:
    from benchmark_core.figure_records import Record


def add_to(app: typer.Typer) -> None:
    """Make ``figures`` a command of this app."""
    app.command(
        "figures",
        epilog=example(
            "bench figures --out figures",
            "bench figures --suite paper.main --dataset cowley2023 --out figures",
            "bench figures features --quantity r_pattern --format svg --out figures",
        ),
    )(figures_command)


@guarded
def figures_command(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to; made if need be.")],
    name: Annotated[list[str] | None, typer.Argument(help="Figures by name; all of them if left out.")] = None,
    suite: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the figures of a suite, e.g. paper.main.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only benchmarks of a dataset, e.g. cowley2023.")
    ] = None,
    quantity: Annotated[
        str, typer.Option(metavar="NAME", help="What of encoding is plotted: score, r_neuroid or r_pattern.")
    ] = "score",
    formats: Annotated[str, typer.Option("--format", metavar="LIST", help="svg, png, or both.")] = "svg,png",
    records_only: Annotated[
        bool, typer.Option("--records-only", help="Only what records hold: no predictions from the cache.")
    ] = False,
    records: RecordsOption = None,
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the figures that the records have the data for; each is written with the table it was drawn from.

    Figures without data are named on stderr, with the command that would make them, and so are models that a suite has
    and the records have not.
    """
    from benchmark_core.figure_records import quantity as quantity_named
    from benchmark_core.figure_records import usable
    from benchmark_core.figure_style import require_matplotlib
    from benchmark_core.figure_tables import Context
    from benchmark_core.figures import Expected, chosen, make_tables, of_dataset, widths, write
    from benchmark_core.home import expand
    from benchmark_core.published import published_on
    from benchmark_core.records import read_records, records_folder

    kinds = parse_formats(formats)
    plotted = quantity_named(quantity)
    registry = open_registry(plugins)
    wanted = chosen(name or [], suite)
    require_matplotlib()
    folder = expand(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file; name a folder to write figures to")
    every = list(read_records(records_folder(records)))
    recorded = sorted({r["benchmark"].partition(".")[0] for r in every})
    if dataset is not None and dataset not in recorded:
        _check_dataset(registry, dataset, recorded)
    found = of_dataset(usable(every), dataset)
    if suite is not None and all(spec.suite != suite for spec in wanted):
        found = _of_suite(found, suite, dataset, registry)
    published = {}
    if plotted.name == "r_pattern":
        from benchmark_core.agreement import cells_of

        published = cells_of(published_on({r["benchmark"] for r in found}))
    context = Context(plotted, widths(registry), published)
    expected = Expected(registry, every)
    read = None
    if not records_only:
        from benchmark_core.figure_predictions import reader
        from benchmark_core.store import Store

        read = reader(registry, Store.default())
    written, skipped = [], []
    for spec in wanted:
        if spec.tables is None and read is None:
            continue
        tables = make_tables(spec, found, context, read)
        if not tables:
            line = f"{spec.name}: no data; {expected.how_to(spec, dataset, recorded)}"
            skipped.append(line)
            say(f"skipped: {line}")
        for table in tables:
            missing = expected.missing(spec, table)
            if missing:
                say(f"{table.stem}: not recorded: {', '.join(missing)}")
            if table.words:
                say(f"{table.stem}: {table.words}")
            paths = write(spec, table.without(missing), folder, kinds)
            entry = {"figure": spec.name, "benchmark": table.benchmark, "files": [str(p) for p in paths]}
            written.append({**entry, "missing": missing})
            if not as_json:
                print(f"{table.stem}: {', '.join(p.suffix[1:] for p in paths)}", flush=True)
    if as_json:
        write_json({"out": str(folder), "figures": written, "skipped": skipped})
    elif written:
        print(f"{len(written)} figures in {folder}")
    if not written:
        raise MissingDataError(f"there is no data for {'this figure' if len(wanted) == 1 else 'any of these figures'}")


def parse_formats(text: str) -> list[str]:
    """Turn ``svg,png`` into a list.

    Raises
    ------
    InputError
        For formats that there are not.
    """
    from benchmark_core.figure_style import FORMATS

    kinds = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not kinds or set(kinds) - set(FORMATS):
        raise InputError(f"--format {text} is not allowed; use {' or '.join(FORMATS)}, or both with a comma")
    return kinds


def _check_dataset(registry: Registry, dataset: str, recorded: Sequence[str]) -> None:
    """Refuse a dataset that neither records nor plugins know."""
    known = {name.partition(".")[0] for name in registry.benchmarks.names()} | set(recorded)
    if dataset not in known:
        raise InputError(f"there is no dataset {dataset!r}.{did_you_mean(dataset, sorted(known))}")


def _of_suite(records: Sequence[Record], suite: str, dataset: str | None, registry: Registry) -> list[Record]:
    """Return the records that belong to the cells of a suite."""
    from benchmark_core.suites import suite_cells

    places = {(cell.models, cell.benchmark, cell.metric) for cell in suite_cells(suite, dataset, registry=registry)}
    return [r for r in records if (tuple(r["models"]), r["benchmark"], r["metric"]) in places]
