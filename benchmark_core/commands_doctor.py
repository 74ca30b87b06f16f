"""``bench doctor``: what is installed and at hand."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark_core.console import (
    BAD_INPUT,
    JsonOption,
    PluginsOption,
    example,
    guarded,
    open_registry,
    write_json,
)


def add_to(app: typer.Typer) -> None:
    """Make ``doctor`` a command of this app."""
    app.command("doctor", epilog=example("bench doctor", "bench doctor --verify"))(doctor_command)


@guarded
def doctor_command(
    verify: Annotated[bool, typer.Option("--verify", help="Read all data that is here and check it.")] = False,
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is installed, which devices and data are at hand, and what each benchmark still needs."""
    from benchmark_core.doctor import examine, print_examination

    document = examine(open_registry(plugins), verify)
    if as_json:
        write_json(document)
    else:
        print_examination(document)
    if any(dataset["damage"] for dataset in document["datasets"]):
        raise typer.Exit(BAD_INPUT)
