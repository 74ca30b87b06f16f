"""What figures read from score records: which records, the plotted quantity with its ceiling, families of models."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark_core.errors import InputError
from benchmark_core.identifiers import canonical, split_identifier

Record = Mapping[str, Any]
WidthOf = Callable[[str], tuple[str, int | None] | None]
"""From a model's name (without parameters) to the parameter that widens its last layer, and that parameter's default."""

TRUNK = re.compile(r"filters_\d+")
RANDOM_FIRST = (
    "expansion5l",
    "filters_1",
    "expansion5l-random",
)  # a first layer of another width has no variant's name
QUANTITIES = ("score", "r_neuroid", "r_pattern")


@dataclass(frozen=True)
class Quantity:
    """What of an encoding record is plotted.

    Parameters
    ----------
    name
        One of :data:`QUANTITIES`.
    label
        Of the axis, with its unit.
    ceiling_text
        What the ceiling of this quantity is, in words.
    """

    name: str
    label: str
    ceiling_text: str

    def of(self, record: Record) -> tuple[float | None, float | None, float | None]:
        """Return value, lower and upper end of the 95 % interval; None for what the record does not have."""
        if self.name == "score":
            return record.get("score"), record.get("ci_low"), record.get("ci_high")
        low, high = record.get("details", {}).get(f"{self.name}_ci") or (None, None)
        return record.get(self.name), low, high

    def ceiling(self, record: Record) -> float | None:
        """Return the value that a perfect model would reach, or None where the recordings do not tell.

        A score is divided by what is reliable, so its ceiling is 1. That of a neuroid's r is the root of its
        reliability, averaged as r is: over neuroids, then over subjects. That of r_pattern is its own, from random halves
        of the repetitions.
        """
        if self.name == "score":
            return None if record.get("ceiling") is None else 1.0
        if self.name == "r_pattern":
            value = record.get("details", {}).get("r_pattern_ceiling")
            return None if value is None else float(value)
        means = []
        for subject in record.get("subjects", {}).values():
            pairs = zip(subject.get("r") or [], subject.get("reliability") or [], strict=False)
            roots = [math.sqrt(max(rho, 0.0)) for r, rho in pairs if r is not None and rho is not None]
            if roots:
                means.append(statistics.fmean(roots))
        return statistics.fmean(means) if means else None

    def floor(self, record: Record) -> float:
        """Return what a model without any image information reaches: bars start there."""
        value = record.get("details", {}).get("r_pattern_intercept") if self.name == "r_pattern" else None
        return 0.0 if value is None else float(value)


def quantity(name: str) -> Quantity:
    """Return a quantity by its name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name == "score":
        return Quantity(name, "Encoding score (share of explainable variance)", "all variance that is reliable")
    if name == "r_neuroid":
        return Quantity(name, "r per neuroid (Pearson r)", "mean root of the neuroids' reliability")
    if name == "r_pattern":
        return Quantity(name, "r across neuroids (Pearson r)", "split-half ceiling of r_pattern")
    raise InputError(f"there is no quantity {name!r} to plot; use {', '.join(QUANTITIES)}")


def usable(records: Iterable[Record]) -> list[Record]:
    """Return the records that figures are drawn from, one for each cell, in the order of their keys.

    These have a score, are exact, and have a layer chosen on training stimuli (``auto``). A cell that was scored with a
    named layer only, and only one, stands with that one: its model is then called ``MODEL @ LAYER``. Of several versions
    of a benchmark, metric or model the newest counts.
    """
    scored = [
        r
        for r in records
        if r["status"] == "ok" and r.get("score") is not None and r.get("precision", "exact") == "exact"
    ]
    newest: dict[str, int] = {}
    for record in scored:
        newest[record["benchmark"]] = max(newest.get(record["benchmark"], 0), record["benchmark_version"])
    cells: dict[tuple[Any, ...], dict[str, Record]] = {}
    for record in sorted(scored, key=_age):
        if record["benchmark_version"] == newest[record["benchmark"]]:
            cell = (record["benchmark"], record["metric"], tuple(record["models"]))
            cells.setdefault(cell, {})[record.get("requested_layer", "auto")] = record
    chosen: list[Record] = []
    for layers in cells.values():
        if "auto" in layers:
            chosen.append(layers["auto"])
        elif len(layers) == 1:
            ((layer, record),) = layers.items()
            names = layer.split("+")
            each = names if len(names) == len(record["models"]) else [layer] * len(record["models"])
            chosen.append({**record, "models": [f"{m} @ {n}" for m, n in zip(record["models"], each, strict=True)]})
    return sorted(chosen, key=lambda r: str(r["key"]))


def _age(record: Record) -> tuple[Any, ...]:
    versions = [record.get("metric_version"), *record.get("model_versions", [])]
    return ([(len(str(v)), str(v)) for v in versions], record["key"])


@dataclass(frozen=True)
class Model:
    """A model's identifier, taken apart.

    Parameters
    ----------
    name
        Without parameters.
    width
        Units of the last layer, where the model can be widened there.
    options
        Other parameters that the identifier names, without the seed.
    trunk
        Widths of layers before the last one (``filters_2=16``), where the identifier names them.
    seed
        As the identifier names it.
    layer
        Named layer, where the layer was not chosen.
    """

    name: str
    width: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    trunk: tuple[tuple[str, str], ...] = ()
    seed: str | None = None
    layer: str = ""

    @property
    def series(self) -> str:
        """What widths (of any layer) and draws of one model have in common."""
        return canonical(self.name, dict(self.options)) + (f" @ {self.layer}" if self.layer else "")


def take_apart(identifier: str, width_of: WidthOf) -> Model:
    """Return the parts of a model's identifier; one that cannot be read is a name."""
    text, _, layer = identifier.partition(" @ ")
    try:
        name, pairs = split_identifier(text)
    except InputError:
        return Model(text, layer=layer)
    seed = pairs.pop("seed", None)
    width = None
    widened = width_of(name)
    if widened is not None:
        parameter, default = widened
        given = pairs.pop(parameter, None)
        width = int(given) if given is not None and given.isdigit() else default
    if name == RANDOM_FIRST[0] and RANDOM_FIRST[1] in pairs:
        name = RANDOM_FIRST[2]
    trunk = {k: v for k, v in pairs.items() if TRUNK.fullmatch(k)}
    options = {k: v for k, v in pairs.items() if k not in trunk}
    return Model(name, width, tuple(sorted(options.items())), tuple(sorted(trunk.items())), seed, layer)


def widest_trunk(points: Iterable[Point], width_of: WidthOf) -> tuple[list[tuple[Model, Point]], list[str]]:
    """Return points with their models taken apart, and a sentence about narrow trunks, if there are any.

    Of models that differ in their trunk only, the one that the identifier says least about stays: the model as published.
    """
    best: dict[tuple[Any, ...], tuple[Model, Point]] = {}
    for point in points:
        model = take_apart(point.model, width_of)
        place = (model.series, model.width if model.width is not None else point.model)
        if place not in best or len(model.trunk) < len(best[place][0].trunk):
            best[place] = (model, point)
    kept = list(best.values())
    narrow = sorted({f"{m.name} with {options_text(dict(m.trunk))}" for m, _ in kept if m.trunk})
    return kept, [f"Reduced trunks: {'; '.join(narrow)}."] if narrow else []


def without_draw(identifier: str) -> str:
    """Return a model's identifier without its seed."""
    text, at, layer = identifier.partition(" @ ")
    try:
        name, pairs = split_identifier(text)
    except InputError:
        return identifier
    pairs.pop("seed", None)
    return canonical(name, dict(pairs)) + at + layer


def with_width(identifier: str, width_of: WidthOf) -> str:
    """Return a model's identifier with its width written out, where it is the default and so is left out of it."""
    name, colon, rest = identifier.partition(":")
    text, at, layer = name.partition(" @ ")
    widened = width_of(text)
    if widened is None or widened[1] is None or f",{widened[0]}=" in f",{rest}":
        return identifier
    given = f"{widened[0]}={widened[1]}"
    return f"{text}:{rest},{given}" if colon else f"{text}:{given}{at}{layer}"


def options_of(record: Record, leave_out: Sequence[str] = ()) -> tuple[str, dict[str, str]]:
    """Return the name of a record's metric and its parameters as texts, but for those left out."""
    try:
        name, pairs = split_identifier(record["metric"])
    except InputError:
        return record["metric"], {}
    return name, {k: v for k, v in pairs.items() if k not in leave_out}


def options_text(options: Mapping[str, str]) -> str:
    """Write parameters of a metric as an identifier does; empty for the defaults."""
    return ",".join(f"{k}={v}" for k, v in sorted(options.items()))


def groups(
    records: Iterable[Record], metric: str, leave_out: Sequence[str] = ()
) -> dict[tuple[str, str], list[Record]]:
    """Return the records of a metric by benchmark and the metric's parameters (without those left out), sorted."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        name, options = options_of(record, leave_out)
        if name == metric:
            found.setdefault((record["benchmark"], options_text(options)), []).append(record)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Point:
    """One value to plot: of one model, over its draws.

    Parameters
    ----------
    model
        Identifier without seed.
    value, low, high
        Mean over draws; of the interval's ends, too, which so are those of one draw.
    n_draws
        How many there are.
    draw_sd
        Standard deviation of the values over draws; None for one.
    records
        Of the draws.
    """

    model: str
    value: float
    low: float | None
    high: float | None
    n_draws: int
    draw_sd: float | None
    records: tuple[Record, ...]

    @property
    def trained(self) -> bool:
        """Whether the model learned anything."""
        return any(self.records[0].get("trained", []))

    @property
    def n_features(self) -> int | None:
        """Features of the layer; the most, where layers differ."""
        value = self.records[0].get("n_features")
        numbers = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, int)]
        return max(numbers) if numbers else None

    @property
    def layer(self) -> str:
        """The layer that was chosen, where all draws agree."""
        layers = {r["layer"] for r in self.records}
        return str(layers.pop()) if len(layers) == 1 else "varies"


def points(
    records: Iterable[Record], read: Callable[[Record], tuple[float | None, float | None, float | None]]
) -> list[Point]:
    """Return one point for each single model, draws together, ordered by identifier; models without a value are left out."""
    draws: dict[str, list[Record]] = {}
    for record in records:
        if len(record["models"]) == 1 and read(record)[0] is not None:
            draws.setdefault(without_draw(record["models"][0]), []).append(record)
    result = []
    for model, several in sorted(draws.items()):
        ordered = sorted(several, key=lambda r: str(r["models"][0]))
        values, lows, highs = zip(*(read(r) for r in ordered), strict=True)
        known = [float(v) for v in values if v is not None]
        result.append(
            Point(
                model,
                statistics.fmean(known),
                _mean(lows),
                _mean(highs),
                len(known),
                statistics.stdev(known) if len(known) > 1 else None,
                tuple(ordered),
            )
        )
    return result


def _mean(values: Sequence[float | None]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return statistics.fmean(known) if values and len(known) == len(values) else None


def encoded(records: Iterable[Record], benchmark: str) -> list[Record]:
    """Return the encoding records of a benchmark: by the metric's defaults, else by the published criterion."""
    found = groups(records, "encoding")
    return next((found[benchmark, o] for o in ("", "selection=paper") if (benchmark, o) in found), [])
