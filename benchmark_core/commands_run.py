"""``bench run``: score models on benchmarks."""

from __future__ import annotations

import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from benchmark_core.commands_suite import DatasetOption, SuiteOption, plan_request
from benchmark_core.console import (
    BAD_INPUT,
    DONE,
    FAILED,
    INTERRUPTED,
    MISSING,
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
from benchmark_core.offline import offline


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


def add_to(app: typer.Typer) -> None:
    """Make ``run`` a command of this app."""
    app.command(
        "run",
        cls=RunCommand,
        epilog=example(
            "bench run --model pixels --benchmark simulated.V4",
            "bench run -m pixels -m expansion5l:filters=300 -b 'cowley2023.*' --json",
            "bench run -m expansion5l-256 -b simulated.V4 --seeds 0-9",
            "bench run --suite paper.ablations --dataset cowley2023",
        ),
    )(run_command)


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


def parse_batch_size(text: str) -> int | None:
    """Turn ``auto`` or a positive whole number into a batch size."""
    if text == "auto":
        return None
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise InputError(f"--batch-size {text} is not allowed; use auto or a whole number of at least 1")
    return int(text)
