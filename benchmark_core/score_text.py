"""One score in depth, as text: what it is, what it rests on, and how to compute it again.

Everything comes from the score's record and those beside it; nothing is computed anew. Standard library only, but for
comparisons with other models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark_core.leaderboard import Entry, draws_of_one_model, mean_score, without_seed
from benchmark_core.leaderboard_cards import card_of, environment_of, layer_curves, mapping
from benchmark_core.leaderboard_columns import COLUMNS, text_of
from benchmark_core.tables import NOBODY, benchmark_name, interval, model_name, number, print_table, seconds
from benchmark_core.text_graphics import Axis, Characters, bar, characters, histogram, quantiles, shortened, sparkline

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WIDTH = 80
BAR = 40  # characters
_MOST = 12  # others, subjects and penalties that are listed
_IN_TABLES = ("explained_", "unique_", "shared")  # columns that a card's tables hold, with their intervals
_NEVER_TABLES = {"details", "Other conventions"}
_ALWAYS_TABLES = {"Explained by each set of models", "Parts of the explained variance"}


def neuroid_values(record: Mapping[str, Any], name: str) -> list[float]:
    """Return ``r`` or ``reliability`` of the neuroids of all subjects, those without one left out."""
    every = (of.get(name) for of in mapping(record, "subjects").values() if isinstance(of, Mapping))
    lists = [values for values in every if isinstance(values, list)]
    return [float(v) for values in lists for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]


def distribution(values: Sequence[float]) -> dict[str, Any]:
    """Return count, quantiles and a histogram of values, as plain data; at least one value."""
    counts, low, high = histogram(values)
    points = quantiles(values, QUANTILES)
    return {
        "n": len(values),
        "quantiles": {f"{share:g}": value for share, value in zip(QUANTILES, points, strict=True)},
        "histogram": {"low": low, "high": high, "counts": counts},
    }


def not_told_from(entry: Entry, entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Return which other models a score cannot be told from, and the differences.

    Compared are single models on the same benchmark by the same metric whose layers were chosen on training stimuli and whose
    resamples are shared; draws of another model count as one. A difference counts as none where its p, adjusted for all pairs,
    is above .05.

    Returns
    -------
    dict or None
        ``n`` others, and ``others``: those that it cannot be told from, nearest first, each with ``model``, ``score``,
        ``difference`` (this score minus theirs), ``ci_low``, ``ci_high`` and ``p_adjusted``. None where there is nobody to
        compare with.
    """
    from benchmark_core.comparison import comparable, compare
    from benchmark_core.records import unpack_resamples

    row = entry.row
    own = unpack_resamples(entry.record)
    if row["score"] is None or len(entry.record["models"]) != 1 or own is None or not comparable(own[0]):
        return None
    same = ("benchmark", "benchmark_version", "metric", "metric_version", "precision")
    field = [
        e
        for e in entries
        if all(e.row[name] == row[name] for name in same)
        and (e.row["status"], e.row["requested_layer"]) == ("ok", "auto")
        and e.row["score"] is not None
        and len(e.record["models"]) == 1
        and without_seed(e.row["model"]) != without_seed(row["model"])
    ]
    records = {e.row["key"]: e.record for e in field}
    grouped = {r["key"]: draws for draws in draws_of_one_model([e.row for e in field]) for r in draws}
    scores = {}
    for e in field:
        draws = grouped.get(e.row["key"], [e.row])
        if e.row is draws[0]:
            name = e.row["model"] if len(draws) == 1 else f"{without_seed(e.row['model'])} ({len(draws)} draws)"
            score = mean_score([records[draw["key"]] for draw in draws])
            if score.resamples is not None and (score.resamples_key, len(score.resamples)) == (own[1], len(own[0])):
                scores[name] = score
    if not scores:
        return None
    this = f"this {row['model']}"
    found = compare({this: mean_score([entry.record]), **scores})
    others = []
    for d in found.differences:
        if this in (d.first, d.second) and (d.p_adjusted is None or d.p_adjusted > found.alpha):
            sign = 1 if d.first == this else -1
            low, high = sorted((sign * d.ci_low, sign * d.ci_high))
            other = d.second if d.first == this else d.first
            others.append(
                {
                    "model": other,
                    "score": scores[other].value,
                    "difference": sign * d.difference,
                    "ci_low": low,
                    "ci_high": high,
                    "p_adjusted": d.p_adjusted,
                }
            )
    return {"n": len(scores), "others": sorted(others, key=lambda o: (abs(o["difference"]), o["model"]))}


def score_document(entry: Entry, entries: Sequence[Entry], rerun: Mapping[str, str]) -> dict[str, Any]:
    """Return everything that is shown of a score, as plain data."""
    record = entry.record
    values = {name: neuroid_values(record, name) for name in ("r", "reliability")}
    return {
        "row": entry.row,
        "neuroids": {name: distribution(of) for name, of in values.items() if of},
        "layer_curves": layer_curves(record),
        "not_told_from": not_told_from(entry, entries),
        "rerun": dict(rerun),
        "record": {name: value for name, value in record.items() if name != "resamples"},
    }


def print_score(document: Mapping[str, Any]) -> None:
    """Print a score in depth.

    Parameters
    ----------
    document
        Of :func:`score_document`.
    """
    row, record, drawn = document["row"], document["record"], characters()
    print(f"{model_name(row, row['model'] or NOBODY)} on {benchmark_name(row)}, {row['metric']}")
    if row["status"] != "ok":
        print(f"{row['status']}: {row['error']}")
        _print_facts([("again", document["rerun"]["command"])])
        return
    _print_headline(row, record, drawn)
    _print_conventions(row, record)
    _print_neuroids(document["neuroids"], row, drawn)
    _print_subjects(record)
    _print_folds(record)
    _print_layers(document["layer_curves"], drawn)
    _print_beside(row, document["not_told_from"])
    for warning in record.get("warnings", []):
        print(f"note: {warning}")
    _print_provenance(row, record, document["rerun"])


def _print_facts(facts: Sequence[tuple[str, str]], indent: str = "") -> None:
    """Print names and what they stand for; long texts go on below themselves, except commands."""
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        lines = [text] if name == "again" else list(_wrapped(text, WIDTH - width - 2 - len(indent)))
        for number_of_line, line in enumerate(lines):
            print(f"{indent}{(name if number_of_line == 0 else '').ljust(width)}  {line}")


def _wrapped(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def _print_headline(row: Mapping[str, Any], record: Mapping[str, Any], drawn: Characters) -> None:
    value = number(row["score"]) if row["score"] is not None else "none can be computed"
    unit = mapping(record, "details").get("unit")
    said = f"{value}{f' {unit}' if unit else ''}"
    if row["ci_low"] is not None:
        said += f", 95 % interval {interval(row)}"
    facts = [("score", said)]
    if row["score"] is not None:
        ceiling = mapping(record, "details").get("ceiling_upper")
        axis = Axis.of([row, {"score": ceiling}, {"score": row["chance"]}])
        facts.append(("", ""))
    if row["ceiling"] is not None:
        facts.append(("ceiling", number(row["ceiling"]) + _about_the_ceiling(row)))
    if row["ceiling_upper"] is not None:
        facts.append(("ceilings", f"{number(row['ceiling_lower'])} to {number(row['ceiling_upper'])} over subjects"))
    if row["chance"] is not None:
        facts.append(("chance", f"{number(row['chance'])}, {row['n_categories']} categories"))
    if row["model"]:
        how = "chosen on training stimuli" if row["requested_layer"] == "auto" else "as asked for"
        among = f" among {row['n_layers']}" if row["requested_layer"] == "auto" and row["n_layers"] else ""
        varies = f"; by fold: {row['layers']}" if row["layers"] else ""
        facts.append(("layer", f"{row['layer']} ({how}{among}){varies}, {row['n_features']} features"))
    counts = [f"{row['n_stimuli']} stimuli"] if row["n_stimuli"] is not None else []
    if row["n_neuroids"] is not None:
        counts.append(f"{text_of(row['n_neuroids_valid'])} of {row['n_neuroids']} neuroids".strip())
    if row["n_subjects"]:
        counts.append(f"{row['n_subjects']} subject{'s' if row['n_subjects'] > 1 else ''}")
    if counts:
        facts.append(("rests on", ", ".join(counts)))
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        if name:
            _print_facts([(name.ljust(width), text)])
            continue
        indent = " " * (width + 2)
        print(f"{indent}{bar(row, axis, BAR, drawn)}".rstrip())
        print(f"{indent}{axis.heading(BAR)}")


def _about_the_ceiling(row: Mapping[str, Any]) -> str:
    name = row["metric"].partition(":")[0]
    if name in ("encoding", "variance-partitioning"):
        return " (mean reliability of the neuroids; a score of 1 is all of it)"
    return ""


def _print_conventions(row: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Print what others report of the same predictions, and the values of metrics that have several."""
    lines = []
    for column in COLUMNS:
        known = row[column.name]
        if (
            column.group not in ("conventions", "other metrics")
            or known is None
            or re.search("_ci_(low|high)$", column.name)
        ):
            continue
        if column.name in ("chance", "n_categories", "ceiling_lower", "ceiling_upper") or column.name.startswith(
            _IN_TABLES
        ):
            continue
        ends = {"ci_low": row.get(f"{column.name}_ci_low"), "ci_high": row.get(f"{column.name}_ci_high")}
        text = number(known) if isinstance(known, float) else text_of(known)
        lines.append([column.name, text, interval(ends)])
    if lines:
        print()
        print_table(("value", "", "95 % interval"), lines, right=("",))
    for table in card_of(record)["tables"] or ():
        if table["title"] in _NEVER_TABLES or (row["r_neuroid"] is not None and table["title"] not in _ALWAYS_TABLES):
            continue
        print()
        if all(isinstance(r["value"], str) for r in table["rows"]):
            _print_facts([(f"{table['title']}: {r['name']}", r["value"]) for r in table["rows"]])
            continue
        rows = [(str(r["name"]), _short(r["value"]), interval(r)) for r in table["rows"]]
        print_table((table["title"], "", "95 % interval"), rows, right=("",))


def _short(value: Any) -> str:
    return number(value) if isinstance(value, float) else text_of(value)


def _print_neuroids(found: Mapping[str, Any], row: Mapping[str, Any], drawn: Characters) -> None:
    names = {"r": "r of neuroids", "reliability": "reliability"}
    for name, of in found.items():
        counts = of["histogram"]["counts"]
        blocks = "".join(2 * c for c in sparkline([n or None for n in counts], drawn, low=0))
        low, high = f"{of['histogram']['low']:.3g}", f"{of['histogram']['high']:.3g}"
        print()
        print(f"{names.get(name, name)}, {of['n']} neuroids, the fullest bin {max(counts)}")
        print(f"  {blocks}")
        print(f"  {low}{' ' * max(1, len(blocks) - len(low) - len(high))}{high}")
        shares = (f"{100 * float(share):g} %: {number(value)}" for share, value in of["quantiles"].items())
        print(f"  quantiles {', '.join(shares)}")


def _print_subjects(record: Mapping[str, Any]) -> None:
    subjects = {n: of for n, of in mapping(record, "subjects").items() if isinstance(of, Mapping) and "score" in of}
    if len(subjects) < 2:
        return
    rows = [
        (name, number(of.get("score")), interval(of), number(of.get("ceiling")), number(of.get("r_neuroid")))
        for name, of in list(subjects.items())[:_MOST]
    ]
    print()
    print_table(("subject", "score", "95 % interval", "ceiling", "r"), rows, right=("score", "ceiling", "r"))
    if len(subjects) > _MOST:
        print(f"and {len(subjects) - _MOST} more (--json has them)")


def _print_folds(record: Mapping[str, Any]) -> None:
    """Print the penalty of each fold, by subject."""
    alphas = mapping(mapping(record, "details"), "alphas")
    facts = []
    for subject, folds in list(alphas.items())[:_MOST]:
        if isinstance(folds, list) and folds:
            facts.append((f"penalties, {subject}", " ".join(_penalty(fold) for fold in folds) + " (by fold)"))
    if facts:
        print()
        _print_facts(facts)


def _penalty(of_fold: Any) -> str:
    """Write the penalty of a fold; of many neuroids the least and the largest."""
    if isinstance(of_fold, list):
        known = [v for v in of_fold if isinstance(v, (int, float))]
        ends = sorted({text_of(float(v)) for v in (min(known), max(known))}, key=float) if known else []
        return "..".join(ends) or "-"
    return text_of(of_fold)


def _print_layers(curves: Sequence[Mapping[str, Any]], drawn: Characters) -> None:
    for curve in curves:
        points = curve["points"]
        ends = [{"score": p["value"], "ci_low": p["low"], "ci_high": p["high"]} for p in points]
        axis = Axis.of(ends)
        means = [p["value"] for p in points]
        print()
        print(f"{curve['title']}, {curve['label']} (mean over folds, and their range): {sparkline(means, drawn)}")
        heading = axis.heading(24)
        rows = [
            (shortened(p["layer"], 30, drawn), number(p["value"]), bar(end, axis, len(heading), drawn), _chosen(p))
            for p, end in zip(points, ends, strict=True)
        ]
        print_table(("layer", curve["label"], heading, "folds that chose it"), rows, right=(curve["label"],))


def _chosen(point: Mapping[str, Any]) -> str:
    return str(point["chosen"]) if point["chosen"] else ""


def _print_beside(row: Mapping[str, Any], others: Mapping[str, Any] | None) -> None:
    facts = []
    if row["published_r_pattern"] is not None:
        ends = {"ci_low": row["published_ci_low"], "ci_high": row["published_ci_high"]}
        recipe = f"; {row['published_recipe']}" if row["published_recipe"] else ""
        here = f"r_pattern {number(row['published_r_pattern'])} ({interval(ends)}), here {number(row['r_pattern'])}"
        facts.append(("published", here + recipe))
    if row["n_seeds"]:
        facts.append(
            (
                "draws",
                f"{row['n_seeds']} draws of this model: mean {number(row['seed_mean'])}, sd {number(row['seed_sd'])}",
            )
        )
    if others is not None:
        few = others["others"][:_MOST]
        texts = [f"{o['model']} ({o['difference']:+.3f}, {interval(o)})" for o in few]
        more = f" and {len(others['others']) - _MOST} more" if len(others["others"]) > _MOST else ""
        said = "; ".join(texts) + f"{more}, of" if texts else "nobody of"
        facts.append(("cannot be told from", f"{said} {others['n']} others (all pairs, 5 %)"))
        if texts:
            facts.append(("", "(differences are this score minus theirs, with 95 % intervals)"))
    if row["in_best_set"] is not None:
        facts.append(("best set", "cannot be told from the best" if row["in_best_set"] else "worse than the best"))
    if facts:
        print()
        _print_facts(facts)


def _print_provenance(row: Mapping[str, Any], record: Mapping[str, Any], rerun: Mapping[str, str]) -> None:
    env = environment_of(record)
    provenance = mapping(record, "provenance")
    commit = (row["git_commit"] or "not from a checkout") + (", with changes" if row["git_dirty"] else "")
    computed = [str(t) for t in (provenance.get("finished"), env["device"], env["numerics"], env["platform"]) if t]
    facts = [("computed", ", ".join(computed) or "not known"), ("commit", commit)]
    versions = " ".join(f"{n} {v}," for n, v in sorted((env["versions"] or {}).items())).rstrip(",")
    facts += [("versions", versions)] if versions else []
    work = [seconds(record.get("seconds"))]
    if record.get("peak_rss_bytes"):
        work.append(f"{record['peak_rss_bytes'] / 1e9:.1f} GB at most")
    facts.append(("work", ", ".join(work)))
    inputs = [f"{name} {row[name]}" for name in ("weights", "stimuli", "target", "splits") if row[name]]
    facts += [("rests on", ", ".join(inputs))] if inputs else []
    facts += [("key", row["key"]), ("again", rerun["command"])]
    facts += [("", rerun["note"])] if rerun.get("note") else []
    print()
    _print_facts(facts)
