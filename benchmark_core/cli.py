"""``bench``: thin commands over the public API. Progress and errors go to stderr, results to stdout."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import redirect_stdout
from copy import copy
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from benchmark_core import __version__
from benchmark_core.commands_cache import cache_app
from benchmark_core.commands_compare import add_to as add_compare
from benchmark_core.commands_data import data_app
from benchmark_core.commands_figures import add_to as add_figures
from benchmark_core.commands_leaderboard import add_to as add_leaderboard
from benchmark_core.commands_plugin import plugin_app
from benchmark_core.commands_show import add_to as add_show
from benchmark_core.commands_suite import DatasetOption, SuiteOption, plan_request, suite_app
from benchmark_core.console import (
    BAD_INPUT,
    DONE,
    FAILED,
    INTERRUPTED,
    MISSING,
    JsonOption,
    PluginsOption,
    example,
    guarded,
    open_registry,
    say,
    write_json,
)
from benchmark_core.errors import BenchError, InputError
from benchmark_core.offline import offline

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Score vision models against recordings of visual cortex.",
    epilog=example("bench list", "bench run --model pixels --benchmark simulated.V4", "bench leaderboard"),
)
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")
app.add_typer(plugin_app, name="plugin")
app.add_typer(suite_app, name="suite")

RecordsOption = Annotated[
    Path | None, typer.Option("--records", metavar="DIR", help="Folder of score records (default: BENCH_HOME/records).")
]


def forbid_downloads(context: typer.Context, value: bool) -> bool:
    """Forbid downloads until the command has ended."""
    context.with_resource(offline(value))
    return value


class RunCommand(TyperCommand):
    """``bench run``, whose ``--profile`` may stand without a path."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name no file after a ``--profile`` that none follows."""
        given = []
        for argument, following in zip(args, [*args[1:], "--"], strict=False):
            given.append(argument)
            if argument == "--profile" and following.startswith("-") and following != "-":
                given.append("-")
        return super().parse_args(ctx, given)


def record_profile(context: typer.Context, value: Path | None) -> Path | None:
    """Record, until the command has ended, where its time and memory go."""
    if value is not None and not context.resilient_parsing:
        from benchmark_core.profile_report import profiled

        try:
            context.with_resource(profiled(value, say))
        except InputError as error:
            raise typer.BadParameter(str(error)) from None
    return value


def show_version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        print(f"cortex-bench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (works anywhere on the line).")] = False,
) -> None:
    """Score vision models against recordings of visual cortex."""


@app.command("list", epilog=example("bench list models", "bench list benchmarks 'cowley2023.*'"))
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


@app.command("info", epilog=example("bench info expansion5l", "bench info cowley2023.V4"))
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


@app.command(
    "run",
    cls=RunCommand,
    epilog=example(
        "bench run --model pixels --benchmark simulated.V4",
        "bench run -m pixels -m expansion5l:filters=300 -b 'cowley2023.*' --json",
        "bench run -m expansion5l-256 -b simulated.V4 --seeds 0-9",
        "bench run --suite paper.ablations --dataset cowley2023",
    ),
)
@guarded
def run_command(
    benchmark: Annotated[
        list[str] | None, typer.Option("--benchmark", "-b", metavar="ID", help="Benchmark or glob; may be repeated.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", metavar="ID", help="Model identifier or glob; may be repeated.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Metric identifier (default: the benchmark's own); may be repeated."),
    ] = None,
    layer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto (chosen on training stimuli), all, or a layer's name; of several models NAME+NAME.",
        ),
    ] = "auto",
    suite: SuiteOption = None,
    dataset: DatasetOption = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="RANGE", help="Draws of untrained models, e.g. 0-9 or 0,3,5-7.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda:N, several as cuda:0,cuda:1, or cuda for all GPUs.")
    ] = "auto",
    backend: Annotated[str, typer.Option(help="auto, numpy, torch or cupy.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="exact, or fast (TF32 and float32 products, half the disk).")
    ] = "exact",
    batch_size: Annotated[str, typer.Option(metavar="N", help="auto, or stimuli in a forward pass.")] = "auto",
    records: RecordsOption = None,
    plugins: PluginsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Compute again what is already recorded.")] = False,
    no_downloads: Annotated[
        bool,
        typer.Option("--offline", callback=forbid_downloads, help="Download nothing, weights neither (BENCH_OFFLINE)."),
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="[PATH]",
            callback=record_profile,
            help="Show where time and memory went, stage by stage; PATH gets it as JSON.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score every model on every benchmark; what is already recorded is not computed again.

    Exit status: 0 all done, 2 bad input, 3 data or weights missing, 4 some cells failed, 130 interrupted.
    """
    from benchmark_core.api import check_backend, check_device, check_precision
    from benchmark_core.cells import make_plan, parse_seeds
    from benchmark_core.pipeline import Numerics
    from benchmark_core.progress import progress_display
    from benchmark_core.records import plain, records_folder
    from benchmark_core.runner import Runner
    from benchmark_core.tables import print_results

    found = open_registry(plugins)
    drawn = None if seeds is None else parse_seeds(seeds)
    if suite is None and dataset is not None:
        raise InputError("--dataset belongs to --suite; name benchmarks with --benchmark (bench list benchmarks)")
    if suite is not None:
        named = {"--model": model, "--benchmark": benchmark, "--metric": metric, "--layer": layer != "auto"}
        cells, notes = plan_request(found, suite, dataset, drawn, named)
    else:
        cells, notes = make_plan(found, model or [], benchmark or [], metric or None, layer, drawn)
    numerics = Numerics(
        check_device(device), check_backend(backend, device), check_precision(precision), parse_batch_size(batch_size)
    )
    for note in notes:
        say(note)
    runner = Runner(found, numerics, records_folder(records), force, debug=bool(os.environ.get("BENCH_DEBUG")))
    results: list[dict[str, Any]] = []
    status = DONE
    try:
        # What plugins print is no result.
        with redirect_stdout(sys.stderr), progress_display() as progress:
            runner.progress = progress
            for result in runner.run(cells):
                results.append(result)
                if result["error"]:
                    say(
                        f"{result['status']}: {' + '.join(result['models']) or result['metric']} on {result['benchmark']}: {result['error']}"
                    )
    except KeyboardInterrupt:
        status = INTERRUPTED
        say(f"interrupted after {len(results)} of {len(cells)} scores; run the same command again to go on")
    except BenchError as error:
        # A record could not be written: the scores so far are shown all the same.
        status = error.status
        say(f"error: {error}")
    if as_json:
        shown = [{k: v for k, v in result.items() if k not in ("provenance", "resamples")} for result in results]
        write_json({"results": plain(shown)})
    else:
        print_results(results)
        if results:
            say(f"records: {runner.records}")
    statuses = {result["status"] for result in results}
    if not status:
        status = BAD_INPUT if runner.bad_input else FAILED if "failed" in statuses else DONE
    if not status and "missing-data" in statuses:
        status = MISSING
    if status:
        raise typer.Exit(status)


add_leaderboard(app)
add_show(app)
add_compare(app)
add_figures(app)


@app.command("doctor", epilog=example("bench doctor", "bench doctor --verify"))
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


def parse_batch_size(text: str) -> int | None:
    """Turn ``auto`` or a positive whole number into a batch size."""
    if text == "auto":
        return None
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise InputError(f"--batch-size {text} is not allowed; use auto or a whole number of at least 1")
    return int(text)


def main() -> None:
    """Run the command line; ``--debug`` may stand anywhere."""
    if "--debug" in sys.argv[1:]:
        os.environ["BENCH_DEBUG"] = "1"
        sys.argv = [sys.argv[0], *(a for a in sys.argv[1:] if a != "--debug")]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing
    _asked_for(sys.argv[1:2])(prog_name="bench")


def _asked_for(name: list[str]) -> typer.Typer:
    """Return the command line with that command alone: typer reads the signatures of all, a fifth of `bench list`."""
    one = copy(app)
    one.registered_commands = [command for command in app.registered_commands if command.name in name]
    one.registered_groups = [group for group in app.registered_groups if group.name in name]
    return one if one.registered_commands or one.registered_groups else app


if __name__ == "__main__":
    main()
