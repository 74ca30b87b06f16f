"""``bench leaderboard``: the table of all scores and its CSV, what moved in it, and how it agrees with published scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark_core.console import JsonOption, RecordsOption, example, guarded, write_json
from benchmark_core.errors import InputError

if TYPE_CHECKING:
    from benchmark_core.agreement import Agreement
    from benchmark_core.leaderboard_comparison import Moves

AGAINST = ("published",)


def add_to(app: typer.Typer) -> None:
    """Make ``leaderboard`` a command of this app."""
    app.command(
        "leaderboard",
        epilog=example(
            "bench leaderboard",
            "bench leaderboard --records records --csv scores.csv",
            "bench leaderboard --html scores.html",
            "bench leaderboard --compare last_month.csv",
            "bench leaderboard --against published",
        ),
    )(leaderboard_command)


@guarded
def leaderboard_command(
    records: RecordsOption = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="PATH", help="Where to write the CSV (default: beside the records).")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="PATH", help="Write it as a page, too: one file that works without network."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="OLD.csv", help="Show what moved since this CSV was written, and why."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="published", help="Show our scores beside published ones of the same cells."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the leaderboard and write its CSV from the score records.

    With --compare or --against no CSV is written unless --csv names one.
    """
    from benchmark_core.home import expand
    from benchmark_core.leaderboard import leaderboard_entries, write_csv
    from benchmark_core.records import read_records, records_folder
    from benchmark_core.tables import print_leaderboard

    if against is not None and against not in AGAINST:
        raise InputError(f"--against {against} is not allowed; use {' or '.join(AGAINST)}")
    folder = records_folder(records)
    moves = found = None
    if compare is not None:  # read first: it may be the file that is written
        from benchmark_core.leaderboard_comparison import compare_leaderboards, read_leaderboard

        old, absent = read_leaderboard(expand(compare))
        entries = leaderboard_entries(read_records(folder))
        moves = compare_leaderboards(old, [entry.row for entry in entries], absent)
    else:
        entries = leaderboard_entries(read_records(folder))
    rows = [entry.row for entry in entries]
    if against is not None:
        from benchmark_core.agreement import agreements
        from benchmark_core.published import published_on

        found = agreements(rows, published_on({row["benchmark"] for row in rows}))
    path = expand(csv) if csv is not None else folder.parent / "leaderboard.csv"
    shows = moves is None and found is None
    if shows or csv is not None:
        write_csv(rows, path)
    page = None if html is None else expand(html)
    if page is not None:
        from benchmark_core.leaderboard_page import write_html

        write_html(entries, page)
    if as_json:
        document = _document(rows, path if shows or csv is not None else None, moves, found)
        write_json(document if page is None else document | {"html": str(page)})
        return
    if moves is not None:
        print_moves(moves, str(compare))
    if found is not None:
        print_agreement(found, str(folder))
    if shows:
        print_leaderboard(rows)
    if shows or csv is not None:
        print(f"{len(rows)} rows in {path}")
    if page is not None:
        print(f"page in {page}")


def _document(
    rows: Sequence[Mapping[str, Any]], path: Path | None, moves: Moves | None, found: Sequence[Agreement] | None
) -> dict[str, Any]:
    """Return what the command shows as plain data."""
    document: dict[str, Any] = {}
    if path is not None:
        document["csv"] = str(path)
    if moves is not None:
        document["compare"] = moves.document()
    if found is not None:
        from benchmark_core.agreement import agreement_document

        document |= agreement_document(found)
    if moves is None and found is None:
        document["rows"] = list(rows)
    return document


def print_moves(moves: Moves, old: str) -> None:
    """Print what moved: a table for each kind, benchmark and metric."""
    from benchmark_core.leaderboard_comparison import told
    from benchmark_core.tables import NOBODY, interval, number, print_table

    if moves.absent:
        print(
            f"{old} was written by an older version: it has no {', '.join(moves.absent[:3])}"
            f"{' and ' + str(len(moves.absent) - 3) + ' more columns' if len(moves.absent) > 3 else ''}; "
            "reasons that rest on them are not known"
        )
    groups: dict[tuple[str, str, str], list[Any]] = {}
    for move in moves.moves:
        heading = f"{move.benchmark} v{move.benchmark_version}"
        groups.setdefault((move.kind, heading, move.metric), []).append(move)
    for (kind, benchmark, metric), members in groups.items():
        print(f"{kind}: {benchmark}, {metric}")
        lines = [
            [
                (m.model or NOBODY) + _which(m),
                number(m.old),
                number(m.new),
                "-"
                if m.difference is None
                else f"{m.difference:+.3f}"
                if abs(m.difference) >= 5e-4
                else f"{m.difference:+.1g}",
                interval(asdict(m)),
                told(m),
            ]
            for m in members
        ]
        print_table(["model", "old", "new", "difference", "95 % interval", "why"], lines, ("old", "new", "difference"))
        print()
    counts = {kind: sum(m.kind == kind for m in moves.moves) for kind in ("added", "removed", "changed", "same values")}
    same = counts.pop("same values")
    words = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    print(f"{moves.n_old} rows before, {moves.n_new} now: {words if any(counts.values()) else 'nothing moved'}")
    if same:
        print(f"{same} have another key and the same values")
    if moves.recomputed:
        print(f"{moves.recomputed} were computed anew, with the same values")


def _which(move: Any) -> str:
    """Say which of several rows of a model it is."""
    said = [] if move.requested_layer in ("auto", "") else [move.requested_layer]
    said += [] if move.precision == "exact" else [move.precision]
    return f" ({', '.join(said)})" if said else ""


def print_agreement(found: Sequence[Agreement], folder: str) -> None:
    """Print our r_pattern beside the published one, or what would be needed for that."""
    from benchmark_core.agreement import summary, what_is_needed
    from benchmark_core.published import REFERENCE
    from benchmark_core.tables import interval, number, print_table

    if not found:
        print(f"no score in {folder} has a published counterpart")
        for line in what_is_needed():
            print(line)
        return
    print(f"r_pattern here and published ({REFERENCE})")
    print()
    groups: dict[str, list[Agreement]] = {}
    for one in found:
        groups.setdefault(f"{one.benchmark} v{one.benchmark_version}, {one.metric}", []).append(one)
    headings = ["model", "here", "95 % interval", "published", "95 % interval ", "difference", "over seeds"]
    for heading, members in groups.items():
        print(heading)
        lines = [
            [
                a.model if a.precision == "exact" else f"{a.model} ({a.precision})",
                number(a.r_pattern),
                interval(asdict(a)),
                number(a.published),
                interval({"ci_low": a.published_ci_low, "ci_high": a.published_ci_high}),
                f"{a.difference:+.3f}",
                "-" if a.seed_sd is None else f"sd {number(a.seed_sd)}, n = {a.n_seeds}",
            ]
            for a in members
        ]
        print_table(headings, lines, ("here", "published", "difference"))
        recipes: dict[tuple[str, ...], list[str]] = {}
        for a in members:
            recipes.setdefault(a.recipe, []).append(a.model)
        for recipe, models in recipes.items():
            whose = "" if len(recipes) == 1 else f" of {', '.join(models)}"
            print(f"recipe{whose}: {'; '.join(recipe) or 'no difference that is known'}")
        print()
    total = summary(found)
    largest = total["largest"]
    print(
        f"{total['n_cells']} cells: difference {total['median_difference']:+.3f} in the median, {total['median_absolute_difference']:.3f} "
        f"without its sign, {largest['difference']:+.3f} at most ({largest['model']} on {largest['benchmark']})"
    )
    print("intervals that overlap are no test: they speak of other stimuli, not of other draws of the weights")
