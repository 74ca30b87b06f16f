"""``bench``: thin commands over the public API. Progress and errors go to stderr, results to stdout."""

from __future__ import annotations

import io
import os
import sys
from functools import cache
from importlib import import_module
from typing import Annotated

import typer

from benchmark_core import __version__
from benchmark_core.console import example

COMMANDS = {
    "list": "commands_list",
    "info": "commands_list",
    "run": "commands_run",
    "leaderboard": "commands_leaderboard",
    "show": "commands_show",
    "compare": "commands_compare",
    "figures": "commands_figures",
    "doctor": "commands_doctor",
    "data": "commands_data",
    "cache": "commands_cache",
    "plugin": "commands_plugin",
    "suite": "commands_suite",
}
"""In which module each command lies."""


def show_version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        print(f"cortex-bench {__version__}")
        raise typer.Exit


def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (works anywhere on the line).")] = False,
) -> None:
    """Score vision models against recordings of visual cortex."""


@cache
def command_line(*asked: str) -> typer.Typer:
    """Return the command line with these commands alone, or with all, which take a fifth longer to start."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Score vision models against recordings of visual cortex.",
        epilog=example("bench list", "bench run --model pixels --benchmark simulated.V4", "bench leaderboard"),
    )
    app.callback()(common)
    for module in dict.fromkeys(COMMANDS[name] for name in asked or COMMANDS):
        import_module(f"benchmark_core.{module}").add_to(app)
    return app


def main() -> None:
    """Run the command line; ``--debug`` may stand anywhere."""
    if "--debug" in sys.argv[1:]:
        os.environ["BENCH_DEBUG"] = "1"
        sys.argv = [sys.argv[0], *(a for a in sys.argv[1:] if a != "--debug")]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing
    command_line(*(name for name in sys.argv[1:2] if name in COMMANDS))(prog_name="bench")
