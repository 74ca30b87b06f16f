"""The leaderboard as a page: one HTML file that works from disk, without network.

It is a pure function of the score records and the published scores, as the CSV is. What enters it is data inside a
``<script type="application/json">`` element, escaped so that no name can end that element, and shown as text only; the
page's Content-Security-Policy allows its own scripts, by their hashes, and no request. ``page/`` holds its parts.
Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmark_core.atomic import write_atomically
from benchmark_core.errors import InputError
from benchmark_core.leaderboard import Entry, draws_of_one_model, one_row_a_model
from benchmark_core.leaderboard_cards import card_of, ceiling_of_score, environment_of, mapping
from benchmark_core.published import REFERENCE

LIBRARY = "tanstack-table-core-8.21.3.js"
SCRIPTS = ("dom.js", "charts.js", "card.js", "table.js")
DIGITS = 6
JOINT = " + "


def to_html(entries: Sequence[Entry]) -> str:
    """Return the leaderboard as an HTML document.

    Parameters
    ----------
    entries
        Rows with their records (:func:`benchmark_core.leaderboard.leaderboard_entries`).
    """
    data = page_data(entries)
    style = _part("page.css")
    library = _without_source_map(_part(LIBRARY))
    script = "(() => {\n'use strict';\n" + "\n".join(_part(name) for name in SCRIPTS) + "})();\n"
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    filled = {
        "policy": policy,
        "style": style,
        "summary": _summary(data),
        "data": in_script(data),
        "library": library,
        "script": script,
    }
    # In one pass: what is filled in may itself hold braces.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: filled[found.group(1)], _part("template.html"))


def write_html(entries: Sequence[Entry], path: Path) -> None:
    """Write the page, atomically.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the HTML file to write, e.g. {path / 'leaderboard.html'}")
    write_atomically(path, to_html(entries).encode())


def in_script(data: Any) -> str:
    """Return data as JSON that may stand in a ``<script>`` element: ASCII, without ``<``, ``>`` and ``&``."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what the page shows, as plain data.

    Returns
    -------
    dict
        ``rows``: one for each entry, with its card; ``draws``: for each model that was drawn several times the places
        of its rows, and what its one row shows; ``groups``: benchmark, metric and scale; ``environments``: where scores
        were computed, shared by rows; ``start``: the group that is shown first, or None.
    """
    groups, group_of = _groups(entries)
    environments: dict[str, int] = {}
    families = _families(m for entry in entries for m in entry.record["models"])
    rows = []
    for entry, group in zip(entries, group_of, strict=True):
        environment = environments.setdefault(in_script(environment_of(entry.record)), len(environments))
        card = card_of(entry.record) | {"environment": environment}
        rows.append(_row(entry, groups[group]["benchmark"], families) | {"group": group, "card": card})
    scored = Counter(g for g, e in zip(group_of, entries, strict=True) if e.row["score"] is not None)
    data = {
        "rows": rows,
        "draws": _draws(entries),
        "groups": groups,
        "environments": [json.loads(text) for text in environments],
        "start": min(scored, key=lambda g: (-scored[g], g)) if scored else None,
    }
    return dict(_compact(data))


def _row(entry: Entry, benchmark: str, families: Mapping[str, str]) -> dict[str, Any]:
    row, record = entry.row, entry.record
    features = record.get("n_features")
    scored = row["status"] == "ok" and row["score"] is not None
    published = row.get("published_r_pattern")
    return {
        "id": row["key"],
        "model": row["model"],
        "family": list(dict.fromkeys(families[m] for m in record["models"])) or ["no model"],
        "benchmark": benchmark,
        "simulated": row["simulated"],
        "metric": row["metric"],
        "trained": row["trained"],
        "requested_layer": row["requested_layer"] or "auto",
        "layer": row["layer"],
        "status": row["status"],
        "error": row["error"],
        "score": row["score"],
        "ci_low": row["ci_low"],
        "ci_high": row["ci_high"],
        "best": row["in_best_set"],
        "ceiling": row["ceiling"],
        "ceiling_at": ceiling_of_score(record) if scored else None,
        "no_ceiling": (scored and bool(record["models"]) and row["ceiling"] is None and row["r_neuroid"] is not None)
        or None,
        "chance": mapping(record, "details").get("chance"),
        "r": row["r_neuroid"],
        "features": features if isinstance(features, list) or features is None else [features],
        "precision": row["precision"],
        "published": None
        if published is None
        else {
            "r_pattern": published,
            "ci_low": row["published_ci_low"],
            "ci_high": row["published_ci_high"],
            "recipe": row.get("published_recipe"),
            "source": REFERENCE,
        },
    }


def _draws(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return, for each model that was drawn several times, the places of its draws and what they are together."""
    rows = [entry.row for entry in entries]
    place = {row["key"]: i for i, row in enumerate(rows)}
    together = {row["key"]: row for row in one_row_a_model(rows)}
    found = []
    for draws in draws_of_one_model(rows):
        one = together[draws[0]["key"]]
        found.append(
            {
                "members": [place[draw["key"]] for draw in draws],
                "draws": {"sd": one["seed_sd"]},
                "model": one["model"],
                "score": one["score"],
                "ci_low": one["ci_low"],
                "ci_high": one["ci_high"],
                "ceiling": one["ceiling"],
                "r": one["r_neuroid"],
                "layer": one["layer"],
            }
        )
    return sorted(found, key=lambda d: d["members"][0])


def _groups(entries: Sequence[Entry]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return benchmarks with their metrics, each with the ends of its scale, and the group of every entry."""
    place: dict[tuple[str, str], int] = {}
    held: list[list[Entry]] = []
    group_of = []
    for entry in entries:
        name = (f"{entry.row['benchmark']} v{entry.row['benchmark_version']}", str(entry.row["metric"]))
        if name not in place:
            place[name] = len(held)
            held.append([])
        held[place[name]].append(entry)
        group_of.append(place[name])
    groups = []
    for (benchmark, metric), members in zip(place, held, strict=True):
        low, high = _scale(members)
        groups.append({"benchmark": benchmark, "metric": metric, "low": low, "high": high})
    return groups, group_of


def _scale(entries: Sequence[Entry]) -> tuple[float, float]:
    """Return the ends of the scale on which the scores of a benchmark and metric are drawn: 0 to 1 where they fit.

    Scores that are no shares end at the highest; a scale with a ceiling below 1 at the ceiling or the highest score.
    """
    values = [e.row[n] for e in entries for n in ("score", "ci_low", "ci_high") if e.row[n] is not None]
    ceilings = [bound for e in entries for bound in ceiling_of_score(e.record) or ()]
    low, high = min([0.0, *values]), max([0.0, *values])
    if ceilings:
        return low, max(high, *ceilings)
    return low, (1.0 if high <= 1.0 else high)


def _families(models: Iterable[str]) -> dict[str, str]:
    """Return the family of each model: what its name and those of its variants begin with.

    Parameters, what follows ``/``, and ``-trained`` or ``-untrained`` are left away; of the names that remain,
    one that another continues after a hyphen stands for both (``expansion5l`` for ``expansion5l-256``).
    """
    stems = {m: re.sub(r"-(un)?trained$", "", m.partition(":")[0]) for m in models}
    stems = {m: s.partition("/")[0] if "/" in s and not s.startswith("own/") else s for m, s in stems.items()}
    shortest = sorted(set(stems.values()), key=len)
    return {m: next(s for s in shortest if stem == s or stem.startswith(f"{s}-")) for m, stem in stems.items()}


def _summary(data: Mapping[str, Any]) -> str:
    rows = data["rows"]
    models = len({m["model"] for row in rows for m in row["card"].get("models", [])})
    benchmarks = len({row["benchmark"] for row in rows})
    return f"{len(rows)} scores of {models} models on {benchmarks} benchmarks."


def _compact(value: Any) -> Any:
    """Return plain data without what is None in mappings; numbers with six significant digits."""
    if isinstance(value, Mapping):
        return {k: _compact(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_compact(v) for v in value]
    if isinstance(value, float):
        short = float(f"{value + 0.0:.{DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 2**53 else short
    return value


def _part(name: str) -> str:
    return (files("benchmark_core") / "page" / name).read_text(encoding="utf-8")


def _without_source_map(script: str) -> str:
    """Leave out the comment that names a file beside the script, which a browser's tools would ask for."""
    return re.sub(r"\n//# sourceMappingURL=\S*\s*$", "\n", script)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
