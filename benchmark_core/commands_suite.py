"""``bench suite list|show``, and what ``bench run --suite`` stands for."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

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
from benchmark_core.errors import BenchError, InputError
from benchmark_core.tables import NOBODY, print_table

if TYPE_CHECKING:
    from benchmark_core.cells import Cell
    from benchmark_core.registry import Registry
    from benchmark_core.suite_estimates import Estimate
    from benchmark_core.suite_states import CellState
    from benchmark_core.suites import SuiteCell

SuiteOption = Annotated[
    str | None,
    typer.Option("--suite", metavar="NAME", help="Score a named grid, or one from a TOML file (see bench suite list)."),
]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Which of the suite's datasets, e.g. cowley2023.")
]

suite_app = typer.Typer(
    no_args_is_help=True,
    help="Show suites: named grids of models, benchmarks and metrics.",
    epilog=example(
        "bench suite list",
        "bench suite show paper.main --dataset cowley2023",
    ),
)


def add_to(app: typer.Typer) -> None:
    """Make ``suite`` a group of commands of this app."""
    app.add_typer(suite_app, name="suite")


def plan_request(
    registry: Registry,
    suite: str,
    dataset: str | None,
    seeds: Sequence[int] | None,
    named: Mapping[str, object],
) -> tuple[list[Cell], list[str]]:
    """Return the cells that ``bench run --suite`` stands for, and notes on what was left out.

    Parameters
    ----------
    named
        Options that a suite states itself, by name, as they were given.

    Raises
    ------
    InputError
        If one of these was given, or a name is unknown.
    """
    from benchmark_core.suites import plan_suite, suite_cells

    given = [option for option, value in named.items() if value]
    if given:
        raise InputError(
            f"--suite names models, benchmarks, metrics and layers itself and cannot be combined with {given[0]}; "
            "write a suite of your own instead (docs/suites.md)"
        )
    notes: list[str] = []
    return plan_suite(suite_cells(suite, dataset, registry=registry, seeds=seeds, note=notes.append)), notes


@suite_app.command("list", epilog=example("bench suite list"))
@guarded
def list_command(plugins: PluginsOption = None, as_json: JsonOption = False) -> None:
    """List suites: what they stand for, their datasets, and how many scores each has."""
    from benchmark_core.suites import load_suite, plan_suite, suite_cells, suite_paths

    registry = open_registry(plugins)
    rows: list[dict[str, Any]] = []
    for name, path in suite_paths().items():
        row: dict[str, Any] = {"name": name, "description": "", "replaces": [], "datasets": {}, "problem": None}
        try:
            suite = load_suite(path)
            row |= {"description": suite.description, "replaces": list(suite.replaces)}
            for dataset in suite.datasets:
                row["datasets"][dataset] = len(plan_suite(suite_cells(suite, dataset or None, registry=registry)))
        except BenchError as error:  # one bad file does not hide the others
            row["problem"] = str(error)
            say(f"warning: {error}")
        rows.append(row | {"path": str(path)})
    if as_json:
        write_json({"suites": rows})
        return
    shown = [
        (
            row["name"],
            ", ".join(f"{d or 'scores'} {n}" for d, n in row["datasets"].items()) or "cannot be used",
            row["description"],
        )
        for row in rows
    ]
    print_table(("suite", "datasets and their scores", "what it is"), shown)


@suite_app.command(
    "show",
    epilog=example(
        "bench suite show paper.main --dataset cowley2023", "bench suite show my.toml --records records --json"
    ),
)
@guarded
def show_command(
    name: Annotated[str, typer.Argument(metavar="SUITE", help="Name of a suite, or the path of its TOML file.")],
    dataset: DatasetOption = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="RANGE", help="Draws of untrained models, e.g. 0-9 or 0,3,5-7.")
    ] = None,
    precision: Annotated[str, typer.Option(help="exact or fast.")] = "exact",
    records: RecordsOption = None,
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a suite would run, what of it is there, what it lacks, and how long the rest may take."""
    from benchmark_core.api import check_precision
    from benchmark_core.cells import parse_seeds
    from benchmark_core.progress import progress_display
    from benchmark_core.records import read_records, records_folder
    from benchmark_core.store import Store
    from benchmark_core.suite_estimates import Experience, estimate
    from benchmark_core.suite_states import cell_states
    from benchmark_core.suites import load_suite, plan_suite, suite_cells

    registry = open_registry(plugins)
    suite = load_suite(name)
    chosen = suite.dataset(dataset)
    cells = suite_cells(
        suite, dataset, registry=registry, seeds=None if seeds is None else parse_seeds(seeds), note=say
    )
    plan, folder = plan_suite(cells), records_folder(records)
    with progress_display() as progress:
        states = cell_states(
            plan,
            registry,
            folder,
            Store.default(),
            check_precision(precision),
            lambda done, total: progress(f"{suite.name}: looking at records and kernels", done, total),
        )
    guess = estimate(states, Experience.of(read_records(folder) if folder.is_dir() else (), registry))
    command = ["bench", "run", "--suite", name, *(["--dataset", chosen] if chosen else [])]
    command += [] if seeds is None else ["--seeds", seeds]
    command += [] if precision == "exact" else ["--precision", precision]
    command += [] if records is None else ["--records", str(records)]
    shown = document(suite.name, chosen, suite.description, cells, states, guess, shlex.join(command))
    if as_json:
        write_json(shown)
    else:
        print_suite(shown)


def document(
    name: str,
    dataset: str,
    description: str,
    cells: Sequence[SuiteCell],
    states: Sequence[CellState],
    guess: Estimate,
    command: str,
) -> dict[str, Any]:
    """Return a suite, the state of its cells and the estimate as plain data."""
    of_address: dict[str, list[SuiteCell]] = {}
    for one in cells:
        of_address.setdefault(one.cell.address, []).append(one)
    rows = []
    for state, cost in zip(states, guess.cells, strict=True):
        named = of_address[state.cell.address]
        rows.append(
            {
                "groups": list(dict.fromkeys(one.group for one in named)),
                "axes": dict(named[0].axes),
                "models": list(named[0].models),
                "benchmark": named[0].benchmark,
                "benchmark_version": named[0].benchmark_version,
                "metric": named[0].metric,
                "layer": named[0].layer,
                "reference": any(one.reference for one in named),
                "state": state.state,
                "problem": state.problem or None,
                "key": state.key,
                "n_stimuli": sum(state.n_stimuli.values()) or None,
                "seconds": None if cost.seconds is None else round(cost.seconds, 3),
                "basis": cost.basis,
            }
        )
    return {
        "suite": name,
        "dataset": dataset or None,
        "description": description,
        "cells": rows,
        "states": dict(Counter(row["state"] for row in rows)),
        "estimate": {
            "seconds": round(guess.seconds, 3),
            "n_unknown": guess.n_unknown,
            "recorded_seconds": round(guess.recorded_seconds, 3),
            "flops_per_second": guess.rate,
            "rate_is_recorded": guess.rate_is_recorded,
            "peak_rss_bytes": guess.peak_rss_bytes,
            "devices": list(guess.devices),
        },
        "command": command,
    }


def print_suite(shown: Mapping[str, Any]) -> None:
    """Print what :func:`document` returns."""
    from benchmark_core.suite_states import STATES

    of = f" on {shown['dataset']}" if shown["dataset"] else ""
    print(f"{shown['suite']}{of}{shown['description'] and ': ' + shown['description']}")
    print()
    several = len({row["metric"] for row in shown["cells"]}) > 1
    lines = []
    for row in shown["cells"]:
        cost = "" if row["state"] not in ("compute", "kernels") else _duration(row["seconds"])
        line = [" + ".join(row["models"]) or NOBODY, row["benchmark"], STATES[row["state"]], cost]
        lines.append([*line[:2], row["metric"], *line[2:]] if several else line)
    headings = ["model", "benchmark", *(["metric"] if several else []), "state", "estimate"]
    print_table(headings, lines, right=("estimate",))
    print()
    parts = [
        f"{shown['states'][state]} {text.replace('lacks', 'lacking')}"
        for state, text in STATES.items()
        if state in shown["states"]
    ]
    print(f"{len(shown['cells'])} scores: {', '.join(parts)}")
    problems: dict[str, list[str]] = {}
    for row in shown["cells"]:
        if row["problem"]:
            problems.setdefault(row["problem"], []).append(" + ".join(row["models"]) or row["metric"])
    for problem, models in problems.items():
        names = list(dict.fromkeys(models))
        print(f"  {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}: {problem}")
    if any(row["state"] == "missing" for row in shown["cells"]):
        print("  (looked at without downloads; a run may fetch weights itself)")
    print_estimate(shown)
    print(f"run it: {shown['command']}")


def print_estimate(shown: Mapping[str, Any]) -> None:
    """Print how long the rest may take, how much memory, and what that rests on."""
    guess = shown["estimate"]
    left = sum(row["state"] in ("compute", "kernels") for row in shown["cells"])
    if not left:
        return
    known = left - guess["n_unknown"]
    if not known and not guess["seconds"]:
        print(f"time: unknown ({left} to score, nothing alike is recorded)")
    else:
        at = f"{guess['flops_per_second'] / 1e9:.0f} GFLOP/s, {'as recorded' if guess['rate_is_recorded'] else 'assumed'}"
        counted = guess["seconds"] - guess["recorded_seconds"]
        recorded = f"{_duration(guess['recorded_seconds'])} from recorded times"
        bases = ["from recorded times" if counted <= 0.5 else recorded] if guess["recorded_seconds"] else []
        bases += [f"{_duration(counted)} from operation counts ({at})"] if counted > 0.5 else []
        unknown = f"; {guess['n_unknown']} of {left} scores are not in it: nothing alike is recorded"
        about = f"time: about {_duration(guess['seconds'])} ({', '.join(bases)})"
        print(about + (unknown if guess["n_unknown"] else ""))
    if guess["peak_rss_bytes"]:
        where = f" on {', '.join(guess['devices'])}" if guess["devices"] else ""
        print(
            f"memory: up to {guess['peak_rss_bytes'] / 1e9:.1f} GB, the most that was recorded with these models{where}"
        )
    else:
        print("memory: unknown, nothing with these models is recorded")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
