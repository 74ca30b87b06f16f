"""What the leaderboard's page shows of one score when its row is opened: everything but long arrays.

A card is plain data, made from one record alone. Standard library only.
"""

from __future__ import annotations

import math
import re
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

Record = Mapping[str, Any]

LONGEST = 400  # values that one table of a card may have; longer ones stay in the record
BIN = 0.1  # width of the histogram's bins
OWN = "own/"  # models that were given to benchmark_core.score as modules
_FACTS = (
    ("r, mean over neuroids", "r_neuroid"),
    ("r, median", "r_neuroid_median"),
    ("ceiling", "ceiling"),
    ("r pattern", "r_pattern"),
    ("layer", "layer"),
    ("penalty", "alpha"),
    ("features", "n_features"),
    ("stimuli", "n_stimuli"),
)
_ELSEWHERE = {"criteria", "layers", "unit", "score_key", "ceiling_lower", "ceiling_upper", "alphas", "fold_factor"}
_TITLES = {
    "explained": "Explained by each set of models",
    "parts": "Parts of the explained variance",
    "kinds": "Kinds of ceilings",
    "conventions": "Other conventions",
    "accuracy_by_category": "Accuracy by category",
    "variance_explained": "Variance explained by the first components",
}


def card_of(record: Record) -> dict[str, Any]:
    """Return the card of a record.

    Parameters
    ----------
    record
        As :func:`benchmark_core.records.read_record` gives it.

    Returns
    -------
    dict
        Plain data; what the record does not say is left out or None.
    """
    details, inputs = mapping(record, "details"), mapping(mapping(record, "provenance"), "inputs")
    return {
        "facts": _facts(record),
        "unit": details.get("unit"),
        "warnings": record.get("warnings") or None,
        "r_pattern": _r_pattern(record, details),
        "curves": layer_curves(record) or None,
        "neuroids": histogram(record),
        "subjects": _subjects(record),
        "tables": _tables(details, mapping(record, "subjects"), record["models"]),
        "models": _models(record),
        "metric_version": record.get("metric_version"),
        "metric_parameters": inputs.get("metric_parameters"),
        "rerun": rerun(record),
        "benchmark_version": record["benchmark_version"],
        "finished": _text(mapping(record, "provenance").get("finished")),
        "seconds": record.get("seconds"),
        "peak_rss_bytes": record.get("peak_rss_bytes"),
        "inputs": {k: inputs[k] for k in ("stimuli", "target", "splits") if isinstance(inputs.get(k), str)} or None,
    }


def _facts(record: Record) -> list[list[Any]]:
    facts = [[name, record[key]] for name, key in _FACTS if record.get(key) not in (None, "")]
    every, valid = record.get("n_neuroids"), record.get("n_neuroids_valid")
    if every is not None:
        facts.append(["neuroids", every if valid in (None, every) else f"{every}, {valid} of them with r"])
    return facts


def environment_of(record: Record) -> dict[str, Any]:
    """Return where a record was computed: what many records have in common."""
    provenance = mapping(record, "provenance")
    git = mapping(provenance, "git")
    device = [str(part) for part in (record.get("device"), provenance.get("device_name")) if part]
    numerics = [str(part) for part in (provenance.get("backend"), record.get("precision")) if part]
    return {
        "commit": git.get("commit"),
        "dirty": git.get("dirty"),
        "device": ", ".join(dict.fromkeys(device)) or None,
        "numerics": ", ".join(numerics) or None,
        "platform": provenance.get("platform"),
        "versions": mapping(provenance, "versions") or None,
    }


def rerun(record: Record) -> dict[str, str]:
    """Return the command that computes a score again, quoted for a shell, and what it leaves open.

    A module that was scored from Python has no identifier that a command could load; its call is returned instead.
    """
    models = record["models"]
    metric = str(record["metric"])
    requested = str(record.get("requested_layer") or "auto")
    if any(model.startswith(OWN) for model in models):
        name = models[0].removeprefix(OWN).partition(":")[0]
        rest = "" if requested == "auto" else f", layers=[{requested!r}]"
        call = f"benchmark_core.score(module, {record['benchmark']!r}, metric={metric!r}, name={name!r}{rest})"
        return {"command": call, "note": "In Python: the model is a torch module that was given to this call."}
    words = ["bench", "run"]
    for model in models:
        words += ["--model", model]
    words += ["--benchmark", str(record["benchmark"]), "--metric", metric]
    if models and requested != "auto":
        words += ["--layer", requested.replace(" + ", "+")]
    if record.get("precision") == "fast":
        words += ["--precision", "fast"]
    answer = {"command": shlex.join(words)}
    if any("=@" in model for model in models):
        answer["note"] = "Put the path of your file in the place of @…, the first digits of its SHA-256."
    return answer


def ceiling_of_score(record: Record) -> list[float] | None:
    """Return where the ceiling lies on the scale of the score, from its lower to its upper bound; None without one.

    Predictivities are divided by their ceiling, so it lies at 1; similarities of RDMs are not, and have two bounds.
    """
    details = mapping(record, "details")
    lower, upper = details.get("ceiling_lower"), details.get("ceiling_upper")
    if _is_number(lower) and _is_number(upper):
        return [float(lower), float(upper)]
    divided = str(record["metric"]).partition(":")[0] in ("encoding", "variance-partitioning")
    return [1.0, 1.0] if divided and _is_number(record.get("ceiling")) else None


def layer_curves(record: Record) -> list[dict[str, Any]]:
    """Return, for each model with several layers, what its layers were chosen by, in their order in the model.

    Values are means over folds and subjects, ``low`` and ``high`` their range; ``chosen`` counts folds.
    """
    by_layer = mapping(mapping(record, "details"), "layers")
    if by_layer and all(isinstance(v, Mapping) for v in by_layer.values()):
        values = {name: of.get("effective_dimensionality") for name, of in by_layer.items()}
        known = {name: [v] for name, v in values.items() if _is_number(v)}
        if len(known) < 2:
            return []
        note = "Effective dimensionality of each layer; the score is that of the filled one."
        return [_curve("effective dimensionality", "Layers", note, known, {str(record["layer"]): 1}, _order(record, 0))]
    folds = list(_criteria(record))
    curves = []
    for number, model in enumerate(record["models"]):
        held: dict[str, list[float]] = {}
        for fold in folds:
            of_model = fold.get("ABC"[number]) if number < 3 and set(fold) <= set("ABC") else fold
            for name, value in of_model.items() if isinstance(of_model, Mapping) else ():
                if _is_number(value):
                    held.setdefault(name, []).append(float(value))
        if len(held) < 2 or (len(record["models"]) > 1 and not all(set(f) <= set("ABC") for f in folds)):
            continue
        title = "Layers" if len(record["models"]) == 1 else f"Layers of {model}"
        note = (
            "What layers were chosen by, on training stimuli only: mean over folds, and its range. "
            "Filled: chosen in at least one fold."
        )
        curves.append(_curve("criterion", title, note, held, _chosen(record, number), _order(record, number)))
    return curves


def _curve(
    label: str,
    title: str,
    note: str,
    values: Mapping[str, Sequence[float]],
    chosen: Mapping[str, int],
    order: Mapping[str, int],
) -> dict[str, Any]:
    names = sorted(values, key=lambda name: (order.get(name, len(order)), _natural(name)))
    points = [
        {
            "layer": name,
            "value": statistics.fmean(values[name]),
            "low": min(values[name]),
            "high": max(values[name]),
            "chosen": chosen.get(name, 0),
        }
        for name in names
    ]
    return {"label": label, "title": title, "note": note, "points": points}


def _criteria(record: Record) -> Iterator[Mapping[str, Any]]:
    """Yield the values of each fold, of every subject: from the subjects where they have them, else from all."""
    held = [s["criteria"] for s in _by_subject(record) if s.get("criteria")]
    held = held or [mapping(record, "details").get("criteria")]
    for folds in held:
        for fold in folds if isinstance(folds, list) else ():
            if isinstance(fold, Mapping) and fold:
                yield fold


def _chosen(record: Record, number: int) -> dict[str, int]:
    """Return in how many folds each layer of a model was chosen."""
    held = [s["layers"] for s in _by_subject(record) if s.get("layers")]
    held = held or [mapping(record, "details").get("layers")]
    counts: dict[str, int] = {}
    for folds in held:
        for fold in folds if isinstance(folds, list) else ():
            name = fold[number] if isinstance(fold, list) and number < len(fold) else fold
            if isinstance(name, str):
                counts[name] = counts.get(name, 0) + 1
    return counts


def _order(record: Record, number: int) -> dict[str, int]:
    """Return the place of each layer in its model: the order in which its layers were read, forward."""
    of_model = dict(enumerate(_representations(record))).get(number, {})
    # Of subjects who saw stimuli of their own, each has layers of its own.
    for layers in (mapping(of_model, "layers"), *mapping(of_model, "subjects").values()):
        for of_layer in layers.values() if isinstance(layers, Mapping) else ():
            names = of_layer.get("extracted_layers") if isinstance(of_layer, Mapping) else None
            if isinstance(names, list) and len(names) > 1:
                return {str(name): i for i, name in enumerate(names)}
    return {}


def histogram(record: Record) -> dict[str, Any] | None:
    """Return how many neuroids of all subjects have which r, and which reliability, in bins of .1.

    Returns
    -------
    dict or None
        ``low`` and ``width`` of the bins, counts ``r`` and, where it is known, ``reliability``, and ``n``, the number
        of neuroids; those without r are in ``n`` only. None where the record has no r for each neuroid.
    """
    subjects = _by_subject(record)
    every = [value for s in subjects if isinstance(s.get("r"), list) for value in s["r"]]
    values = [float(v) for v in every if _is_number(v)]
    if not values:
        return None
    reliable = [v for s in subjects if isinstance(s.get("reliability"), list) for v in s["reliability"]]
    known = [float(v) for v in reliable if _is_number(v)]
    low, high = min(_bin(v) for v in (*values, *known)), max(_bin(v) for v in (*values, *known))
    low, high = max(min(low, 0), -10), min(max(high, 9), 9)

    def counts(of: Sequence[float]) -> list[int]:
        bins = [0] * (high - low + 1)
        for value in of:
            bins[min(max(_bin(value), low), high) - low] += 1
        return bins

    return {
        "low": low * BIN,
        "width": BIN,
        "r": counts(values),
        "reliability": counts(known) if known else None,
        "n": len(every),
    }


def _bin(value: float) -> int:
    return math.floor(value / BIN + 1e-9)


def _r_pattern(record: Record, details: Mapping[str, Any]) -> dict[str, Any] | None:
    if not _is_number(record.get("r_pattern")):
        return None
    low, high = _bounds(details, "r_pattern")
    return {"value": record["r_pattern"], "ci_low": low, "ci_high": high}


def _bounds(details: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    found = details.get(f"{name}_ci")
    return (found[0], found[1]) if isinstance(found, list) and len(found) == 2 else (None, None)


def _subjects(record: Record) -> list[dict[str, Any]] | None:
    names = ("score", "ci_low", "ci_high", "ceiling", "r_neuroid")
    subjects = mapping(record, "subjects").items()
    rows = [{"subject": name, **{k: of.get(k) for k in names}} for name, of in subjects if isinstance(of, Mapping)]
    return rows or None


def _tables(
    details: Mapping[str, Any], subjects: Mapping[str, Any], models: Sequence[str]
) -> list[dict[str, Any]] | None:
    """Return what a metric reports as tables: each set of values or of values with intervals, then single values.

    Of what it reports by subject, only several subjects make a table.
    """
    letters = ", ".join(f"{letter} = {model}" for letter, model in zip("ABC", models, strict=False))
    tables: list[dict[str, Any]] = []
    single = []
    for name, value in details.items():
        if name in _ELSEWHERE or value is None:
            continue
        if isinstance(value, Mapping):
            rows = list(_rows(value))
            by_subject = len(subjects) < 2 and set(value) <= set(subjects)
            if rows and len(rows) == len(value) <= LONGEST and not by_subject:
                note = letters if name in ("explained", "parts") else None
                tables.append({"title": _TITLES.get(name, name), "rows": rows, "note": note})
        elif _is_number(value) or isinstance(value, (str, bool)):
            low, high = _bounds(details, name)
            single.append({"name": name, "value": value, "ci_low": low, "ci_high": high})
    if single:
        tables.append({"title": "details", "rows": single})
    return tables or None


def _rows(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    def order(name: str) -> tuple[Any, ...]:
        of_sets = name.isupper() or name.startswith(("unique_", "shared"))  # small sets of models first
        return name.startswith("shared"), len(name) if of_sets else 0, _natural(name)

    for name in sorted(values, key=order):
        value = values[name]
        if isinstance(value, Mapping) and _is_number(value.get("value")):
            yield {"name": name, **{k: value.get(k) for k in ("value", "ci_low", "ci_high")}}
        elif value is None or _is_number(value) or isinstance(value, (str, bool)):
            yield {"name": name, "value": value}


def _models(record: Record) -> list[dict[str, Any]]:
    """Return what is recorded of each model: weights, parameters, images."""
    known = _representations(record)
    versions, trained = record.get("model_versions") or [], record.get("trained") or []
    rows = []
    for i, model in enumerate(record["models"]):
        of: Mapping[str, Any] = known[i] if i < len(known) else {}
        rows.append(
            {
                "model": model,
                "version": versions[i] if i < len(versions) else None,
                "trained": trained[i] if i < len(trained) else None,
                "weights": _text(of.get("weights")),
                "parameters": mapping(of, "parameters"),
                "preprocessing": {k: v for k, v in mapping(of, "preprocessing").items() if v is not None} or None,
            }
        )
    return rows


def mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what a mapping holds under a name if that is a mapping, else an empty one."""
    found = holder.get(name)
    return found if isinstance(found, Mapping) else {}


def _by_subject(record: Record) -> list[Mapping[str, Any]]:
    return [of for of in mapping(record, "subjects").values() if isinstance(of, Mapping)]


def _representations(record: Record) -> list[Mapping[str, Any]]:
    found = mapping(record, "provenance").get("representations")
    return [of if isinstance(of, Mapping) else {} for of in found] if isinstance(found, list) else []


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key by which ``blocks.10`` comes after ``blocks.9``."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
