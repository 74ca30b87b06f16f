"""``bench data``: which datasets are here, and how to get the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark_core.commands_own_data import data_add, data_check, data_remove
from benchmark_core.console import (
    BAD_INPUT,
    JsonOption,
    PluginsOption,
    example,
    guarded,
    open_registry,
    say,
    write_json,
)
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.registry import Registry

data_app = typer.Typer(
    no_args_is_help=True, help="Datasets: what is here, and how to get the rest.", epilog=example("bench data list")
)


def add_to(app: typer.Typer) -> None:
    """Make ``data`` a group of commands of this app."""
    app.add_typer(data_app, name="data")


_ADD = "bench data add my_lab --images images --responses v4.csv --region V4"
data_app.command("add", epilog=example(_ADD))(data_add)
data_app.command(
    "check", epilog=example("bench data check my_lab", "bench data check --images images --responses v4.csv")
)(data_check)
data_app.command("remove", epilog=example("bench data remove my_lab"))(data_remove)


@data_app.command("list", epilog=example("bench data list"))
@guarded
def data_list(plugins: PluginsOption = None, as_json: JsonOption = False) -> None:
    """List datasets: which parts are here, how large, and how to get the rest."""
    from benchmark_core.listing import data_listing, print_data_listing

    document = data_listing(open_registry(plugins))
    if as_json:
        write_json(document)
    else:
        print_data_listing(document)


@data_app.command("fetch", epilog=example("bench data fetch cowley2023"))
@guarded
def data_fetch(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    plugins: PluginsOption = None,
) -> None:
    """Download a public dataset (resumed where it broke off, hashes checked) and import it."""
    from benchmark_core.resolution import import_target

    dataset = find_dataset(open_registry(plugins), name)
    if dataset.fetcher is None:
        hint = (
            f"; import your own copy with: bench data import {name} --from DIR"
            if dataset.importer
            else "; it needs no download"
        )
        raise InputError(f"dataset {name!r} cannot be downloaded{hint}")
    try:
        parts = import_target(dataset.fetcher)(say)
    except MissingDataError as error:
        if dataset.importer is None:
            raise
        raise MissingDataError(
            f"{error}; files that you got another way are taken by: bench data import {name} --from DIR"
        ) from None
    print(f"{name}: {', '.join(parts)} ready")


@data_app.command("import", epilog=example("bench data import cowley2023 --from ~/V4_compact_models/data_V4_responses"))
@guarded
def data_import(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    source: Annotated[Path, typer.Option("--from", metavar="DIR", help="Folder with the published files.")],
    plugins: PluginsOption = None,
) -> None:
    """Check and convert files that you have."""
    from benchmark_core.resolution import import_target

    dataset = find_dataset(open_registry(plugins), name)
    if dataset.obtain:
        raise InputError(f"dataset {name!r} has nothing to import; it came from {dataset.obtain}")
    if dataset.importer is None:
        raise InputError(f"dataset {name!r} cannot be imported: it is built when it is first needed")
    parts = import_target(dataset.importer)(source, say)
    print(f"{name}: {', '.join(parts)} ready")


@data_app.command("add-tree", epilog=example("bench data add-tree birds --from ~/birds"))
@guarded
def data_add_tree(
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    source: Annotated[
        Path, typer.Option("--from", metavar="DIR", help="Holds train/ and test/ with a folder a category, or those.")
    ],
    plugins: PluginsOption = None,
) -> None:
    """Make a benchmark of classification from image folders."""
    from benchmark_core.trees import SPLIT, WHOLE, add_tree

    if any(d.name == name and not {SPLIT, WHOLE}.issuperset(d.parts) for d in open_registry(plugins).datasets()):
        raise InputError(f"there is a dataset {name!r} already; choose another name")
    parts = add_tree(name, source, say)
    print(f"{name}: the benchmark {name}.{'test' if SPLIT in parts else 'all'} is ready")


@data_app.command("verify", epilog=example("bench data verify cowley2023"))
@guarded
def data_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets; all that are here if left out.")] = None,
    plugins: PluginsOption = None,
) -> None:
    """Check every file of a dataset against its checksum, and ids both ways."""
    from benchmark_core import dataset_checks, datasets

    found = open_registry(plugins)
    chosen = (
        [find_dataset(found, n) for n in names]
        if names
        else [d for d in found.datasets() if any(p.present for p in dataset_checks.status(d))]
    )
    if not chosen:
        raise MissingDataError("no dataset is here yet; see: bench data list")
    bad = False
    for dataset in chosen:
        if names and not any(p.present for p in dataset_checks.status(dataset)):
            raise MissingDataError(
                f"dataset {dataset.name!r} is not on this machine; get it with {datasets.how_to_get(dataset)}"
            )
        problems = dataset_checks.verify(dataset, say)
        for problem in problems:
            say(f"error: {problem}")
        bad = bad or bool(problems)
        print(f"{dataset.name}: {'whole' if not problems else f'{len(problems)} problem(s)'}")
    if bad:
        raise typer.Exit(BAD_INPUT)


def find_dataset(found: Registry, name: str) -> Any:
    """Return a dataset by name, or raise with a suggestion."""
    from benchmark_core.errors import did_you_mean

    for dataset in found.datasets():
        if dataset.name == name:
            return dataset
    names = [d.name for d in found.datasets()]
    raise InputError(f"unknown dataset {name!r}.{did_you_mean(name, names) or ' There are: ' + ', '.join(names) + '.'}")
