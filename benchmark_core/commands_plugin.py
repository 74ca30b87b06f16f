"""``bench plugin``: starting a plugin, and checking one against the contract."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark_core.console import (
    FAILED,
    MISSING,
    JsonOption,
    PluginsOption,
    example,
    guarded,
    open_registry,
    say,
    write_json,
)
from benchmark_core.errors import InputError

if TYPE_CHECKING:
    from benchmark_core.contract import CheckResult

plugin_app = typer.Typer(
    no_args_is_help=True,
    help="Write a plugin of your own, and check it.",
    epilog=example("bench plugin new model my-model", "bench plugin check my-model"),
)


def add_to(app: typer.Typer) -> None:
    """Make ``plugin`` a group of commands of this app."""
    app.add_typer(plugin_app, name="plugin")


@plugin_app.command(
    "new", epilog=example("bench plugin new model my-model", "bench plugin new benchmark mydata.V4 --dir ~/plugins")
)
@guarded
def plugin_new(
    kind: Annotated[str, typer.Argument(help="model, benchmark or metric.")],
    name: Annotated[str, typer.Argument(help="Its identifier; a benchmark's is DATASET.REGION[-VARIANT].")],
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where to put the package, in a new folder.")
    ] = Path("."),
    plugins: PluginsOption = None,
) -> None:
    """Write a small package that works at once: spec, implementation, tests and README."""
    from benchmark_core.scaffold import write_package

    made = write_package(kind, name, folder, open_registry(plugins))
    for path in made.files:
        print(path)
    say(f"next: bench plugin check {made.shown}    (then see {made.shown}{os.sep}README.md)")


@plugin_app.command(
    "check",
    epilog=example(
        "bench plugin check my_plugins/contours.py",
        "bench plugin check expansion5l:filters=30,filters_2=8,filters_3=8,filters_4=8",
    ),
)
@guarded
def plugin_check(
    targets: Annotated[
        list[str], typer.Argument(metavar="PATH|ID...", help="Plugin files, folders or packages; identifiers or globs.")
    ],
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the contract that every built-in model, benchmark and metric passes.

    What is named by PATH need not be installed. Make a model small with its parameters; no data are needed for one.
    Exit status: 0 all passed, 2 bad input, 3 data or weights missing, 4 some checks failed.
    """
    from benchmark_core.contract import expand, run_checks

    registry = open_registry(plugins)
    results: list[CheckResult] = []
    work = []
    for target in targets:
        try:
            work += [(registry, kind, identifier) for kind, identifier in expand(registry, target)]
        except InputError:
            if not _may_be_path(target):
                raise
            from benchmark_core.contract_paths import look_at

            found = look_at(Path(target), plugins or [])
            results += found.failures
            work += [(found.registry, kind, identifier) for kind, identifier in found.identifiers]
    if results and not as_json:
        print_checks(results)
    for number, (where, kind, identifier) in enumerate(work):
        of_one = list(run_checks(where, kind, identifier))
        results += of_one
        if not as_json:
            if number or len(results) > len(of_one):
                print()
            print(f"{identifier} ({kind})")
            print_checks(of_one)
    counts: Counter[str] = Counter(result.status for result in results)
    if as_json:
        write_json({"checks": [result.as_json() for result in results], "counts": dict(counts)})
    else:
        words = {"pass": "passed", "fail": "failed", "skip": "skipped", "missing": "missing data"}
        say(", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status]))
    if counts["fail"] or counts["missing"]:
        raise typer.Exit(FAILED if counts["fail"] else MISSING)


def print_checks(results: list[CheckResult]) -> None:
    """Print the checks of one identifier as a table."""
    from benchmark_core.tables import print_table

    rows = [(r.check if r.kind != "plugin" else f"{r.identifier}: {r.check}", r.status, r.reason) for r in results]
    print_table(("check", "result", "what"), rows)


def _may_be_path(target: str) -> bool:
    """Whether an argument that is no identifier is rather meant as a path."""
    return Path(target).expanduser().exists() or target.endswith(".py") or os.sep in target
