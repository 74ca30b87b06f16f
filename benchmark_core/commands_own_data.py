"""``bench data add``, ``check`` and ``remove``: a laboratory's own recordings, without code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark_core.console import BAD_INPUT, JsonOption, PluginsOption, guarded, open_registry, say, write_json
from benchmark_core.errors import InputError

if TYPE_CHECKING:
    from benchmark_core.own_data_reading import Request

RegionOption = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="R", help="Brain region; once for all files, or once for each in their order."),
]
SubjectOption = Annotated[
    list[str] | None,
    typer.Option("--subject", metavar="S", help="Subject; once for all files, or once for each in their order."),
]
IdsOption = Annotated[
    str | None,
    typer.Option("--ids", metavar="COLUMN", help="Column or coordinate of stimulus ids; for npy a file, an id a line."),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="HOW", help="kfold:K (default kfold:5), column:NAME or test:FILE (list of ids)."),
]
GroupsOption = Annotated[
    str | None,
    typer.Option(
        "--groups", metavar="COLUMN", help="Column that says which stimuli belong together (photograph, object)."
    ),
]
IdenticalOption = Annotated[
    bool, typer.Option("--group-identical", help="Images with the same pixels belong together.")
]
MatchedOption = Annotated[bool, typer.Option("--only-matched", help="Leave out stimuli without an image.")]
AxesOption = Annotated[
    str | None,
    typer.Option("--axes", metavar="A,B,...", help="Axes of an array: stimulus, repetition, neuroid, time_bin."),
]
VariableOption = Annotated[
    str | None, typer.Option("--variable", metavar="NAME", help="Variable of an npz or netCDF file with the responses.")
]
NeuroidColumnOption = Annotated[
    str | None,
    typer.Option("--neuroid-column", metavar="COLUMN", help="Of a table with a row for each response: the neuroids."),
]
ResponseColumnOption = Annotated[
    str | None,
    typer.Option("--response-column", metavar="COLUMN", help="Of a table with a row for each response: the responses."),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option("--ignore", metavar="COLUMN", help="Column or glob that is no neuroid; may be repeated."),
]
DecimalOption = Annotated[str, typer.Option("--decimal", metavar="CHAR", help="Decimal mark of a CSV file, . or ,")]


@guarded
def data_add(
    name: Annotated[str, typer.Argument(help="Name of the dataset; benchmarks are NAME.REGION.")],
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder of the images.")],
    responses: Annotated[
        list[Path],
        typer.Option("--responses", metavar="FILE", help="CSV, parquet, npy, npz or netCDF; may be repeated."),
    ],
    ids: IdsOption = None,
    region: RegionOption = None,
    subject: SubjectOption = None,
    split: SplitOption = None,
    groups: GroupsOption = None,
    group_identical: IdenticalOption = False,
    only_matched: MatchedOption = False,
    axes: AxesOption = None,
    variable: VariableOption = None,
    neuroid_column: NeuroidColumnOption = None,
    response_column: ResponseColumnOption = None,
    ignore: IgnoreOption = None,
    decimal: DecimalOption = ".",
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="One line about the data.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Put this in place of the dataset of this name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, write nothing.")] = False,
    plugins: PluginsOption = None,
) -> None:
    """Make benchmarks of your own recordings, or add subjects and regions to them."""
    from benchmark_core.own_data import add, names_taken
    from benchmark_core.own_data_texts import print_added

    request = make_request(
        images, responses, ids, region, subject, split, groups, group_identical, only_matched, axes, variable,
        neuroid_column, response_column, ignore, decimal,
    )  # fmt: skip
    taken = names_taken(open_registry(plugins))
    added = add(name, request, taken=taken, replace=replace, dry_run=dry_run, description=description, progress=say)
    for report in added.reports:
        for problem in report["problems"]:
            say(f"warning: {report['benchmark']}: {problem}")
    print_added(added, dry_run)


@guarded
def data_check(
    name: Annotated[
        str | None, typer.Argument(help="A dataset or benchmark that is here; or name files with the options.")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="Folder of the images.")] = None,
    responses: Annotated[
        list[Path] | None,
        typer.Option("--responses", metavar="FILE", help="CSV, parquet, npy, npz or netCDF; may be repeated."),
    ] = None,
    ids: IdsOption = None,
    region: RegionOption = None,
    subject: SubjectOption = None,
    split: SplitOption = None,
    groups: GroupsOption = None,
    group_identical: IdenticalOption = False,
    only_matched: MatchedOption = False,
    axes: AxesOption = None,
    variable: VariableOption = None,
    neuroid_column: NeuroidColumnOption = None,
    response_column: ResponseColumnOption = None,
    ignore: IgnoreOption = None,
    decimal: DecimalOption = ".",
    plugins: PluginsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a dataset, or at files not added yet, before anything is computed.

    Exit status: 0 fine, 2 there are problems that make scores wrong (one line each).
    """
    from benchmark_core.own_data_check import check_files, check_registered
    from benchmark_core.own_data_texts import print_report
    from benchmark_core.records import plain

    if name is not None and (images is not None or responses):
        raise InputError("name a dataset, or --images and --responses, not both")
    if name is not None:
        reports = check_registered(open_registry(plugins), name, say)
    elif images is not None and responses:
        request = make_request(
            images, responses, ids, region, subject, split, groups, group_identical, only_matched, axes, variable,
            neuroid_column, response_column, ignore, decimal,
        )  # fmt: skip
        reports = check_files(request, say)
    else:
        raise InputError("name a dataset (bench data check NAME), or files with --images DIR and --responses FILE")
    problems = [f"{report['benchmark']}: {problem}" for report in reports for problem in report["problems"]]
    if as_json:
        write_json(plain({"ok": not problems, "problems": problems, "benchmarks": reports}))
    else:
        for report in reports:
            print_report(report)
            print()
        print(f"{len(problems)} problem(s)" if problems else "fine")
    for problem in problems:
        say(f"error: {problem}")
    if problems:
        raise typer.Exit(BAD_INPUT)


@guarded
def data_remove(
    name: Annotated[str, typer.Argument(help="A dataset that you added with bench data add.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a dataset that you added; your own files and score records stay."""
    from benchmark_core.listing import size_text
    from benchmark_core.own_data import remove, size_on_disk
    from benchmark_core.own_data_manifest import MANIFEST, dataset_folder, find_own

    folder = dataset_folder(name)
    try:
        dataset = find_own(name)
        what = ", ".join(f"{name}.{region} v{entry.version}" for region, entry in dataset.regions.items())
    except InputError:
        if not (folder / MANIFEST).is_file():
            raise
        what = "a damaged dataset"
    say(f"removing {what}: {folder} ({size_text(size_on_disk(name))}); your own files and score records stay")
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("not removed, because nobody can be asked here; add --yes")
        if not typer.confirm("Go on?", err=True):
            say("not removed")
            raise typer.Exit(BAD_INPUT)
    remove(name)
    print(f"{name}: removed")


def make_request(
    images: Path,
    responses: list[Path],
    ids: str | None,
    region: list[str] | None,
    subject: list[str] | None,
    split: str | None,
    groups: str | None,
    group_identical: bool,
    only_matched: bool,
    axes: str | None,
    variable: str | None,
    neuroid_column: str | None,
    response_column: str | None,
    ignore: list[str] | None,
    decimal: str,
) -> Request:
    """Return what the options ask for.

    Raises
    ------
    InputError
        For an option that is not allowed.
    """
    from benchmark_core.own_data_arrays import parse_axes
    from benchmark_core.own_data_layout import Hints
    from benchmark_core.own_data_reading import Request

    if decimal not in (".", ","):
        raise InputError(f"--decimal {decimal} is not allowed; use . or ,")
    hints = Hints(
        ids=ids,
        axes=() if axes is None else parse_axes(axes),
        variable=variable,
        neuroid_column=neuroid_column,
        response_column=response_column,
        ignore=tuple(ignore or ()),
        decimal=decimal,
    )
    return Request(
        images=images,
        responses=tuple(responses),
        regions=tuple(region or ()),
        subjects=tuple(subject or ()),
        hints=hints,
        split=split,
        groups=groups,
        group_identical=group_identical,
        only_matched=only_matched,
    )
