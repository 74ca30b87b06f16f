"""Scores as notebooks and prompts show them: one line of text, or a small piece of HTML.

The HTML has no script, no style sheet and no colours of its own: tables take the notebook's, and interval bars are drawn
in the colour of the text, so it is readable on light and on dark ground. Whatever comes from a record is escaped.
Standard library only.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark_core.tables import NOBODY, benchmark_name, interval, model_name, number

if TYPE_CHECKING:
    from benchmark_core.records import Score

MOST_ROWS = 50  # of a table; more are counted
BAR = (180, 12)  # width and height of an interval bar, pixels
NOISY_ONE = 1.2
_FOLDED = 5  # subjects and warnings that a card shows


def line_of(score: Score) -> str:
    """Return a score as one line: ``Score(0.469, 95 % 0.446 to 0.491, pixels on toy.V4, encoding, layer output)``."""
    row = _row(score)
    parts = [number(score.value) if score.value is not None else "no value"]
    if _has_interval(row):
        parts.append(f"95 % {interval(row)}")
    if row.get("benchmark"):
        parts.append(f"{_models(row)} on {row['benchmark']}" if _models(row) else str(row["benchmark"]))
    if row.get("metric"):
        parts.append(str(row["metric"]))
    if _models(row) and row.get("layer"):
        parts.append(f"layer {row['layer']}")
    return f"Score({', '.join(parts)})"


def card_of(score: Score) -> str:
    """Return a score as HTML: value, interval and bar, what it rests on, subjects, warnings."""
    row = _row(score)
    title = " on ".join(
        text for text in (_models(row), benchmark_name(row) if "benchmark_version" in row else "") if text
    )
    value = number(score.value) if score.value is not None else "no value"
    spread = f" ({interval(row)})" if _has_interval(row) else ""
    bar = _bar(row, _scale([row]))
    facts = [(name, text) for name, text in _facts(row) if text]
    subjects = {
        name: values for name, values in score.subjects.items() if isinstance(values, Mapping) and "score" in values
    }
    parts = [
        f"<p><strong>{_text(title)}</strong></p>" if title else "",
        f"<p>score <strong>{_text(value)}</strong>{_text(spread)} {bar}</p>",
        _table((), facts),
    ]
    if len(subjects) > 1:
        rows = [(name, number(v.get("score")), interval(v), number(v.get("ceiling"))) for name, v in subjects.items()]
        parts.append(_table(("subject", "score", "95 % interval", "ceiling"), rows[:MOST_ROWS], len(rows)))
    parts += [f"<p>note: {_text(warning)}</p>" for warning in score.warnings[:_FOLDED]]
    if len(score.warnings) > _FOLDED:
        parts.append(f"<p>and {len(score.warnings) - _FOLDED} more notes</p>")
    return f"<div>{''.join(parts)}</div>"


def tables_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of the leaderboard as HTML: a table for each benchmark and metric, in the order they come in.

    At most :data:`MOST_ROWS` rows are shown; a line says how many there are.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows[:MOST_ROWS]:
        groups.setdefault((benchmark_name(row), str(row["metric"])), []).append(row)
    parts = [_group(f"{benchmark}, {metric}", members) for (benchmark, metric), members in groups.items()]
    if len(rows) > MOST_ROWS:
        parts.append(f"<p>{len(rows) - MOST_ROWS} more of {len(rows)} rows: to_frame() has all</p>")
    return f"<div>{''.join(parts) or '<p>no scores</p>'}</div>"


def _group(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    contest = sum(row.get("in_best_set") is not None for row in rows) > 1
    seeds = any(row.get("n_seeds") for row in rows)
    scale = _scale(rows)
    headings = ["model", "score", "95 % interval", "", "ceiling", "r", "features", "layer"]
    lines = []
    for row in rows:
        mark = "*" if contest and row.get("in_best_set") else ""
        line: list[str | _Markup] = [
            model_name(row, row["model"] or NOBODY),
            number(row["score"]) + mark if row["status"] == "ok" else str(row["status"]),
            interval(row),
            _bar(row, scale),
            number(row.get("ceiling")),
            number(row.get("r_neuroid")),
            NOBODY if row.get("n_features") is None else str(row["n_features"]),
            str(row["layer"]) or NOBODY,
        ]
        if seeds:
            text = f"sd {number(row['seed_sd'])}, n = {row['n_seeds']}" if row.get("n_seeds") else NOBODY
            line.insert(2, text)
        lines.append(line)
    if seeds:
        headings.insert(2, "over seeds")
    foot = "<p>* cannot be told from the best (all pairs, 5 %)</p>" if contest else ""
    return f"<p><strong>{_text(title)}</strong></p>{_table(headings, lines)}{foot}"


class _Markup(str):
    """Text that is HTML already."""


def _text(value: object) -> str:
    return value if isinstance(value, _Markup) else html.escape(str(value))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], total: int | None = None) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f'<{tag} style="text-align:left">{_text(c)}</{tag}>' for c in cells) + "</tr>"

    lines = [line("td", row) for row in rows]
    head = f"<thead>{line('th', headings)}</thead>" if headings else ""
    more = f"<p>{total - len(lines)} more</p>" if total is not None and total > len(lines) else ""
    return f"<table>{head}<tbody>{''.join(lines)}</tbody></table>{more}"


def _row(score: Score) -> dict[str, Any]:
    """Return the fields of a score as a row; one that no runner made has the names its metric gave."""
    return {**score.fields, **score.record, "score": score.value, "ci_low": score.ci_low, "ci_high": score.ci_high}


def _models(row: Mapping[str, Any]) -> str:
    return " + ".join(row.get("models", ()))


def _has_interval(row: Mapping[str, Any]) -> bool:
    return row.get("ci_low") is not None and row.get("ci_high") is not None


def _facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a card says besides the score, name and text; empty texts are left out."""
    layer = str(row.get("layer") or "") if row.get("models") else ""
    if "layers" in row and layer:
        layer += " (varies over folds)"
    rests = [
        f"{row[name]} {unit}"
        for name, unit in (("n_stimuli", "stimuli"), ("n_neuroids_valid", "neuroids"), ("n_features", "features"))
        if row.get(name) is not None
    ]
    known = {name: row.get(name) for name in ("ceiling", "r_neuroid", "r_pattern")}
    return [
        ("metric", str(row.get("metric") or "")),
        ("layer", layer),
        *((name, number(value)) for name, value in known.items() if value is not None),
        ("rests on", ", ".join(rests)),
        ("key", str(row.get("key") or "")[:12]),
    ]


def _scale(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the ends of the axis on which the bars of rows are drawn: 0 to 1, or as far as intervals go."""
    values = [row[name] for row in rows for name in ("score", "ci_low", "ci_high") if row.get(name) is not None]
    highest = max([0.0, *values])
    # Shares of the ceiling and correlations end at 1, bar the noise of an estimate; counts of dimensions do not.
    return min([0.0, *values]), highest if highest > NOISY_ONE else max(1.0, highest)


def _bar(row: Mapping[str, Any], scale: tuple[float, float]) -> _Markup:
    """Return an interval as a line, its score as a dot, and 0 (and 1, where scores end there) as ticks."""
    if row.get("score") is None or not _has_interval(row):
        return _Markup("")
    width, height = BAR
    middle, margin = height / 2, height / 3

    def x(value: float) -> str:
        share = (value - scale[0]) / (scale[1] - scale[0])
        return f"{margin + share * (width - 2 * margin):.1f}"

    ends = (0.0, 1.0) if scale[1] <= NOISY_ONE else (0.0,)
    ticks = "".join(f'<line x1="{x(v)}" x2="{x(v)}" y1="1" y2="{height - 1}" opacity=".4"/>' for v in ends)
    label = html.escape(f"{number(row['score'])}, 95 % interval {interval(row)}")
    return _Markup(
        f'<svg role="img" aria-label="{label}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'stroke="currentColor" fill="currentColor">{ticks}'
        f'<line x1="{x(row["ci_low"])}" x2="{x(row["ci_high"])}" y1="{middle:g}" y2="{middle:g}" stroke-width="2"/>'
        f'<circle cx="{x(row["score"])}" cy="{middle:g}" r="2.2"/></svg>'
    )
