"""Tables for the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark_core.text_graphics import Axis, bar, characters, shortened

RULE = "-"
BARS = (8, 24)  # characters of an interval bar, at least and at most
NOBODY = "-"  # the model of a metric of the target alone


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print aligned columns; those named in ``right`` are aligned to the right.

    The last column is cut to the width of a terminal; nothing is cut where stdout is not one.
    """
    cells = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for number, row in enumerate(cells):
        parts = [
            text.rjust(width) if heading in right else text.ljust(width)
            for text, width, heading in zip(row, widths, headings, strict=True)
        ]
        line = "  ".join(parts).rstrip()
        print(line if limit is None or len(line) <= limit else line[: limit - 1] + characters().ellipsis)
        if number == 0:
            print("  ".join(RULE * width for width in widths)[:limit])


def number(value: Any, digits: int = 3) -> str:
    """Write a number with a fixed count of decimals, or a dash where there is none."""
    return "-" if not isinstance(value, (int, float)) else f"{value + 0.0:.{digits}f}"


def interval(row: Mapping[str, Any]) -> str:
    """Write a 95 % interval."""
    if row.get("ci_low") is None or row.get("ci_high") is None:
        return "-"
    return f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"


def benchmark_name(row: Mapping[str, Any]) -> str:
    """Write a benchmark with its version, and say so where its responses are simulated."""
    simulated = " (simulated)" if row.get("simulated") else ""
    return f"{row['benchmark']} v{row['benchmark_version']}{simulated}"


def model_name(row: Mapping[str, Any], models: str) -> str:
    """Write a model, and say so where the numbers are not exact."""
    precision = row.get("precision") or "exact"
    return models if precision == "exact" else f"{models} ({precision})"


def print_remark_on_ceilings(rows: Sequence[Mapping[str, Any]]) -> None:
    """Say what predictivities of responses without a ceiling mean, if there are any (similarities are no shares)."""
    scored = [
        r
        for r in rows
        if r["status"] == "ok"
        and None not in (r["score"], r.get("n_neuroids"), r.get("r_neuroid"))
        and (r.get("models") or r.get("model"))
    ]
    if any(r.get("ceiling") is None for r in scored):
        print("no ceiling: single trials are not at hand, so the score is a share of all variance, noise included")


def print_results(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the results of a run: a table for each benchmark and metric, their parts, and their warnings.

    The tables fit 80 columns, or the terminal, as long as names are short; names are cut only where stdout is a
    terminal. Intervals are drawn; wider terminals show them in numbers, too.
    """
    if not results:
        return
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for r in results:
        groups.setdefault((benchmark_name(r), r["metric"]), []).append(r)
    for number_of_group, ((benchmark, metric), members) in enumerate(groups.items()):
        print(("\n" if number_of_group else "") + f"{benchmark}, {metric}")
        print_group(members)
        print_remark_on_ceilings(members)
    if any("layers" in r for r in results):
        print("+N: so many other layers were chosen in some of the folds")
    for r in results:
        print_parts(r)
    for r in results:
        for warning in r.get("warnings", []):
            print(f"note on {' + '.join(r['models']) or r['metric']}, {r['benchmark']}: {warning}")


def print_group(members: Sequence[Mapping[str, Any]]) -> None:
    """Print the results on one benchmark by one metric."""
    drawn, axis, limit = characters(), Axis.of(members), shutil.get_terminal_size().columns
    columns = {
        "model": [model_name(r, " + ".join(r["models"]) or NOBODY) for r in members],
        "score": [number(r["score"]) if r["status"] == "ok" else r["status"] for r in members],
        "ceiling": [number(r.get("ceiling")) for r in members],
        "r": [number(r.get("r_neuroid")) for r in members],
        "layer": [layer_name(r) for r in members],
        "time": ["recorded" if r["cached"] else seconds(r.get("seconds")) for r in members],
    }
    right = ("score", "ceiling", "r", "time")
    widths = {name: max(len(text) for text in (name, *cells)) for name, cells in columns.items()}
    numbers = [interval(r) for r in members]
    spare = limit - sum(widths.values()) - 2 * len(columns)
    wide = spare - len("95 % interval") - 5 >= BARS[1]
    spare -= 5 + max(len("95 % interval"), *map(len, numbers)) if wide else 0
    bars = min(BARS[1], max(BARS[0], spare))
    missing = max(0, bars - spare) if sys.stdout.isatty() else 0
    for name, least in (("layer", 8), ("model", 12)):  # what does not fit is taken from names, never from numbers
        cut = min(missing, max(0, widths[name] - least))
        columns[name] = [shortened(text, widths[name] - cut, drawn) for text in columns[name]]
        missing -= cut
    heading = axis.heading(bars)
    shown = list(columns)
    columns[heading] = [bar(r, axis, len(heading), drawn) for r in members]
    shown.insert(2, heading)
    if wide:
        columns["95 % interval"] = numbers
        shown.insert(2, "95 % interval")
    print_table(shown, zip(*(columns[name] for name in shown), strict=True), right=right)


def layer_name(result: Mapping[str, Any]) -> str:
    """Write the layer of most folds, and how many others there are (``blocks.5 +1``)."""
    if not result["models"]:
        return NOBODY
    folds = result.get("layers", [])
    of_models = folds if folds and isinstance(folds[0], list) else [folds]
    others = sum(max(0, len(set(of_model)) - 1) for of_model in of_models)
    return f"{result['layer']} +{others}" if others else str(result["layer"])


def print_parts(result: Mapping[str, Any]) -> None:
    """Print the shares that a metric of several models gives to each and to all of them, if it does."""
    details = result.get("details", {})
    shares: dict[str, Any] = {}
    for kind in ("explained", "parts"):
        found = details.get(kind, {})  # a record's names are sorted: small sets of models first again
        shares |= {name: found[name] for name in sorted(found, key=lambda n: (n.startswith("shared"), len(n), n))}
    if len(result["models"]) < 2 or not shares:
        return
    names = ", ".join(f"{letter} = {model}" for letter, model in zip("ABC", result["models"], strict=False))
    print(f"\n{names}, {benchmark_name(result)}")
    print_table(
        ["part", "share", "95 % interval"],
        [[name, number(share["value"]), interval(share)] for name, share in shares.items()],
        right=("share",),
    )


def seconds(value: float | None) -> str:
    """Write a duration."""
    if value is None:
        return "-"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"


def print_leaderboard(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one table per benchmark and metric."""
    from benchmark_core.leaderboard import one_row_a_model

    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in one_row_a_model(rows):
        groups.setdefault((benchmark_name(row), row["metric"]), []).append(row)
    for (benchmark, metric), members in groups.items():
        print(f"{benchmark}, {metric}")
        contest = [row["in_best_set"] for row in members if row.get("in_best_set") is not None]
        marks = {True: "*", False: " ", None: " "} if len(contest) > 1 else dict.fromkeys((True, False, None), "")
        # The layer last: a name may be cut to the width of a terminal, a number may not.
        headings = ["model", "score", "95 % interval", "ceiling", "r", "features", "layer"]
        lines = [
            [
                model_name(row, row["model"] or NOBODY),
                number(row["score"]) + marks[row.get("in_best_set")] if row["status"] == "ok" else row["status"],
                interval(row),
                number(row["ceiling"]),
                number(row["r_neuroid"]),
                "-" if row["n_features"] is None else str(row["n_features"]),
                str(row["layer"]) or NOBODY,
            ]
            for row in members
        ]
        if any(row.get("n_seeds") for row in members):
            headings.insert(2, "over seeds")
            for line, member in zip(lines, members, strict=True):
                seeds = member.get("n_seeds")
                line.insert(2, f"sd {number(member['seed_sd'])}, n = {seeds}" if seeds else "-")
        if any(member.get("published_r_pattern") is not None for member in members):
            at = headings.index("features")
            headings[at:at] = ["r pattern", "published"]
            for line, member in zip(lines, members, strict=True):
                line[at:at] = [number(member["r_pattern"]), number(member.get("published_r_pattern"))]
        print_table(headings, lines, right=("score", "ceiling", "r", "r pattern", "published", "features"))
        if len(contest) > 1:
            print("* cannot be told from the best (all pairs, 5 %; `bench compare` has the differences)")
        if "published" in headings:
            print("published: r_pattern of Kazemian et al. (`bench leaderboard --against published` has the intervals)")
        print_remark_on_ceilings(members)
        print()
