"""``bench list`` and ``bench info``: what there is, and what each of it is."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark_core.console import JsonOption, PluginsOption, example, guarded, open_registry, write_json


def add_to(app: typer.Typer) -> None:
    """Make ``list`` and ``info`` commands of this app."""
    app.command("list", epilog=example("bench list models", "bench list benchmarks 'cowley2023.*'"))(list_command)
    app.command("info", epilog=example("bench info expansion5l", "bench info cowley2023.V4"))(info_command)


@guarded
def list_command(
    kind: Annotated[str | None, typer.Argument(help="models, benchmarks or metrics; all of them if left out.")] = None,
    pattern: Annotated[str | None, typer.Argument(help="Only names that match this glob.")] = None,
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List models, benchmarks and metrics."""
    from benchmark_core.listing import listing, print_listing

    document = listing(open_registry(plugins), kind, pattern)
    if as_json:
        write_json(document)
    else:
        print_listing(document)


@guarded
def info_command(
    identifier: Annotated[str, typer.Argument(help="Identifier of a model, benchmark or metric.")],
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one model, benchmark or metric: parameters, layers, data, source."""
    from benchmark_core.listing import information, print_information

    document = information(open_registry(plugins), identifier)
    if as_json:
        write_json(document)
    else:
        print_information(document)
