"""Specs: frozen descriptions of models, benchmarks and metrics, and the grammar of identifiers.

This module imports only the standard library, so that listing hundreds of plugins costs milliseconds.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark_core.errors import InputError, did_you_mean
from benchmark_core.preprocessing import Preprocessing

if TYPE_CHECKING:
    from benchmark_core.splits import KFold, Splits
    from benchmark_core.stimuli import StimulusSet

Value = bool | int | float | str
ParameterType = Literal["int", "float", "bool", "str"]
TargetKind = Literal["responses", "labels", "rdms"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_BENCHMARK = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+(-[A-Za-z0-9_.-]+)?")
_VALUE = re.compile(r"[A-Za-z0-9@._/\\~+:-]+")


@dataclass(frozen=True)
class Parameter:
    """One typed parameter of a model or metric, as it appears in an identifier.

    Parameters
    ----------
    name
        Keyword of ``load`` or ``compute``.
    type
        ``int``, ``float``, ``bool`` or ``str``.
    default
        Value when the identifier does not name it; None makes it optional with no value.
    choices
        The only values allowed, if given.
    minimum, maximum
        Inclusive bounds of a number, if given.
    help
        One line for ``bench info``.
    """

    name: str
    type: ParameterType
    default: Value | None = None
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""

    @property
    def allowed(self) -> str:
        """What values are allowed, in words."""
        if self.choices:
            return "one of " + ", ".join(format_value(c) for c in self.choices)
        if self.type == "bool":
            return "true or false"
        if self.type == "str":
            return "a text of letters, digits and @ . _ / \\ ~ + : -"
        noun = "a whole number" if self.type == "int" else "a number"
        low, high = (None if b is None else f"{b:.17g}" for b in (self.minimum, self.maximum))
        if low is not None and high is not None:
            return f"{noun} from {low} to {high}"
        if low is not None:
            return f"{noun} of at least {low}"
        if high is not None:
            return f"{noun} of at most {high}"
        return noun

    def parse(self, text: str) -> Value:
        """Turn the text after ``=`` into a value, or raise :class:`ValueError`."""
        value: Value
        if self.type == "bool":
            lowered = text.lower()
            if lowered not in ("true", "false"):
                raise ValueError(text)
            value = lowered == "true"
        elif self.type == "int":
            value = int(text)
        elif self.type == "float":
            value = float(text)
        else:
            value = text
        return self.check(value)

    def check(self, value: Value) -> Value:
        """Return ``value`` if it is allowed and can be written in an identifier, else raise ValueError."""
        if isinstance(value, str) and not _VALUE.fullmatch(value):
            raise ValueError(value)
        return self._check(value)

    def _check(self, value: Value) -> Value:
        """Return ``value`` if it is of the right type, within bounds and among the choices, else raise ValueError."""
        expected: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
        if not isinstance(value, expected[self.type]) or (isinstance(value, bool) != (self.type == "bool")):
            raise ValueError(value)
        if self.type == "float":
            value = float(value) + 0.0  # no negative zero: it would be another key for the same thing
        if self.choices and value not in self.choices:
            raise ValueError(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise ValueError(value)
            if self.minimum is not None and value < self.minimum:
                raise ValueError(value)
            if self.maximum is not None and value > self.maximum:
                raise ValueError(value)
        return value

    def check_declaration(self, owner: str) -> None:
        """Check the parameter's own name, default and choices.

        Raises
        ------
        InputError
            Saying what is wrong with it.
        """
        if not self.name.isidentifier():
            raise InputError(
                f"{owner}: {self.name!r} cannot be a parameter's name: it must be a Python keyword argument"
            )
        if self.type not in ("int", "float", "bool", "str"):
            raise InputError(
                f"{owner}: the parameter {self.name!r} has type {self.type!r}; use int, float, bool or str"
            )
        try:
            for choice in self.choices:
                self.check(choice)
            if self.default is not None:
                self._check(self.default)
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{owner}: {error} cannot be a default or a choice of {self.name!r}, which must be {self.allowed}"
            ) from None


def format_value(value: Value) -> str:
    """Write a parameter value as an identifier does: ``true``, ``3000``, ``0.5``, ``relu``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def split_identifier(text: str) -> tuple[str, dict[str, str]]:
    """Split ``NAME[:key=value[,key=value...]]`` into its name and its parameters as text.

    Raises
    ------
    InputError
        If the text does not follow the grammar.
    """
    name, colon, rest = text.strip().partition(":")
    if not _NAME.fullmatch(name):
        raise InputError(f"{text!r} is not an identifier: expected NAME or NAME:key=value,key=value")
    if colon and not rest:
        raise InputError(f"{text!r} ends with ':' but names no parameter: expected {name}:key=value")
    pairs: dict[str, str] = {}
    for item in rest.split(",") if rest else []:
        key, equals, value = item.partition("=")
        if not key or not equals or not value:
            raise InputError(f"{item!r} in {text!r} is not a parameter: expected key=value")
        if key in pairs:
            raise InputError(f"{text!r} names the parameter {key!r} twice")
        pairs[key] = value
    return name, pairs


def resolve_parameters(owner: str, declared: Sequence[Parameter], given: Mapping[str, str | Value]) -> dict[str, Value]:
    """Check ``given`` against the declared parameters and return the values given, typed.

    Raises
    ------
    InputError
        For an unknown name or a value that is not allowed; the message says what is.
    """
    by_name = {p.name: p for p in declared}
    values: dict[str, Value] = {}
    for key, raw in given.items():
        parameter = by_name.get(key)
        if parameter is None:
            known = f"it has {', '.join(by_name)}" if by_name else "it has none"
            raise InputError(f"{owner} has no parameter {key!r} ({known}).{did_you_mean(key, list(by_name))}")
        try:
            values[key] = parameter.parse(raw) if isinstance(raw, str) else parameter.check(raw)
        except (ValueError, OverflowError):
            shown = raw if isinstance(raw, str) else format_value(raw)
            raise InputError(f"{owner}: {key}={shown} is not allowed; {key} must be {parameter.allowed}") from None
    return values


def import_target(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable given as itself or as ``"module:attribute"`` (imported only now)."""
    if callable(target):
        return target
    module, _, attribute = target.partition(":")
    found = getattr(import_module(module), attribute)
    assert callable(found), f"{target} is not callable"
    return found  # type: ignore[no-any-return]


def _caller() -> str:
    """Return ``file:line`` of the first frame outside this module and the dataclass machinery."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (__name__, "dataclasses"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _check_declaration(kind: str, name: str, parameters: Sequence[Parameter]) -> None:
    seen: set[str] = set()
    for parameter in parameters:
        if parameter.name in seen:
            raise InputError(f"{kind} {name!r} declares the parameter {parameter.name!r} twice")
        seen.add(parameter.name)
        parameter.check_declaration(f"{kind} {name!r}")


@dataclass(frozen=True, kw_only=True)
class Width:
    """A parameter that only widens a model's last layer: a narrower model's features are a wider one's first.

    Several widths asked for together then cost one forward pass, and the narrower kernels are partial sums of the
    widest. Results do not depend on which widths were asked for together.

    Parameters
    ----------
    parameter
        Name of the parameter, a whole number; the layer has a fixed number of features for each unit of it.
    layer
        Name of the layer.
    shared
        Function of the model's parameters: whether narrower features are a prefix for these (not where the weights or
        the nonlinearity depend on all units at once).
    wide
        ``wide(**parameters)`` returns a :class:`benchmark_core.heads.WideModel`, whose last layer is generated by
        blocks and never held; a string ``"module:function"`` is imported when it is needed.
    is_wide
        Function of the model's parameters: whether to use it, because the layer is wider than its input.
    """

    parameter: str
    layer: str
    shared: Callable[..., bool] = lambda **_: True
    wide: str | Callable[..., Any] | None = None
    is_wide: Callable[..., bool] = lambda **_: False


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model that can be scored.

    Parameters
    ----------
    name
        Identifier without parameters, e.g. ``expansion5l``.
    version
        Raised whenever outputs or defaults change; part of every key.
    load
        ``load(**parameters)`` returns a :class:`torch.nn.Module` or an object that follows
        :class:`benchmark_core.extraction.Model`. A string ``"module:function"`` is imported when it is needed. It is
        called with the global random generators seeded, so weights that a framework's default initialisation draws
        are the same in every run.
    layers
        Names of the layers to read, in order from input to output, or a function of the parameters giving them.
        For a torch module these are module paths; ``output`` is what ``forward`` returns.
    parameters
        Typed parameters, in the order in which they are shown.
    variants
        Other names for parameter sets of this model: ``{"expansion5l-256": {"filters_2": 256, ...}}``.
    preprocessing
        How images become inputs, or a function of the parameters giving it.
    weights
        A recipe for untrained weights, or a function of the parameters giving a recipe (text) or the path of the
        weights file, whose SHA-256 then enters the key.
    width
        The parameter that only widens the last layer, if there is one.
    trained
        Whether the weights were learned, or a function of the parameters telling; only shown, never used.
    normalise
        ``normalise(parameters)`` gets all parameters, defaults included, and returns them as the identifier and the
        keys are to have them: another name of the default becomes the default, a weights file its hash
        (``@`` and the first 12 digits). It raises :class:`InputError` for values that contradict each other. What
        ``load`` and the other functions get are the parameters as they were given.
    description, reference
        One line for people, and the paper.
    """

    name: str
    version: str | int
    load: str | Callable[..., Any]
    layers: tuple[str, ...] | Callable[..., Sequence[str]] = ("output",)
    parameters: tuple[Parameter, ...] = ()
    variants: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    preprocessing: Preprocessing | Callable[..., Preprocessing] = field(default_factory=Preprocessing)
    weights: str | Callable[..., str | Path] = "none"
    width: Width | None = None
    trained: bool | Callable[..., bool] = False
    normalise: Callable[[Mapping[str, Value | None]], Mapping[str, Value | None]] | None = None
    description: str = ""
    reference: str = ""
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} cannot be a model's name: use letters, digits and . _ - / +")
        _check_declaration("model", self.name, self.parameters)
        if self.width is not None and self.width.parameter not in [p.name for p in self.parameters if p.type == "int"]:
            raise InputError(
                f"model {self.name!r}: its width {self.width.parameter!r} is not one of its int parameters"
            )
        for variant, values in self.variants.items():
            if not _NAME.fullmatch(variant):
                raise InputError(f"{variant!r} cannot be a variant's name: use letters, digits and . _ - / +")
            resolve_parameters(variant, self.parameters, values)
        if not self.origin:
            object.__setattr__(self, "origin", _caller())

    @property
    def names(self) -> tuple[str, ...]:
        """The model's own name and those of its variants."""
        return (self.name, *self.variants)


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """An open-ended zoo of models, such as ``timm/...``.

    Parameters
    ----------
    prefix
        Identifiers of the family start with ``prefix/``.
    names
        Function returning the names after the prefix (may be slow; never called by a plain list).
    resolve
        ``resolve(name)`` returns the :class:`ModelSpec` named ``prefix/name`` or raises :class:`KeyError`.
    description
        One line for people.
    """

    prefix: str
    names: Callable[[], Sequence[str]]
    resolve: Callable[[str], ModelSpec]
    description: str = ""
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.prefix) or self.prefix.endswith("/"):
            raise InputError(
                f"{self.prefix!r} cannot be the prefix of a model family: use letters, digits and . _ - / +"
            )
        if not self.origin:
            object.__setattr__(self, "origin", _caller())


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Data that benchmarks need, and how to get it.

    Parameters
    ----------
    name
        As in ``bench data import NAME``.
    parts
        Names of the parts (sessions, subjects) stored under ``BENCH_HOME/data/NAME/PART``.
    description, licence, source
        For people: what it is, under which licence, where it is published.
    importer
        ``importer(source: Path, progress) -> parts`` converts the files in a folder that the user has. ``progress``
        is called with lines for people; the names of the parts that are then on this machine come back.
    fetcher
        ``fetcher(progress, base_url=None) -> parts`` downloads the public files (from ``base_url``, where a mirror
        is named) and imports them, or computes simulated data.
    simulated
        True for data that is computed, not measured.
    """

    name: str
    parts: tuple[str, ...]
    description: str = ""
    licence: str = ""
    source: str = ""
    importer: str | Callable[..., Sequence[str]] | None = None
    fetcher: str | Callable[..., Sequence[str]] | None = None
    simulated: bool = False


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec:
    """A benchmark: stimuli, a target and splits, to be scored by a metric.

    Parameters
    ----------
    name
        ``DATASET.REGION[-VARIANT]``.
    version
        Whole number, raised whenever data, splits or ceiling procedure change.
    stimuli
        Function returning the :class:`benchmark_core.stimuli.StimulusSet` from its manifest (reads no image).
    target
        Function returning the :class:`benchmark_core.assembly.Responses` (or labels, or RDMs).
    splits
        A :class:`benchmark_core.splits.KFold` or a function of the stimulus set returning
        :class:`benchmark_core.splits.Splits`.
    target_hash
        Function returning the target's content hash from its manifest, so that keys open no data file;
        without it the target is loaded and hashed.
    target_kind
        ``responses``, ``labels`` or ``rdms``; a metric says which kinds it accepts.
    metric
        Metric identifier used unless another is asked for.
    needs
        Datasets to be present.
    simulated
        True where responses are simulated; shown with every score.
    description, reference
        One line for people, and the paper.
    """

    name: str
    version: int
    stimuli: Callable[[], StimulusSet]
    target: Callable[[], Any]
    splits: KFold | Callable[[StimulusSet], Splits]
    target_hash: Callable[[], str] | None = None
    target_kind: TargetKind = "responses"
    metric: str = "encoding"
    needs: tuple[DatasetSpec, ...] = ()
    simulated: bool = False
    description: str = ""
    reference: str = ""
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not _BENCHMARK.fullmatch(self.name):
            raise InputError(
                f"{self.name!r} cannot be a benchmark's name: expected DATASET.REGION or DATASET.REGION-VARIANT"
            )
        if not self.origin:
            object.__setattr__(self, "origin", _caller())


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """A metric: turns representations and a target into a score.

    Parameters
    ----------
    name
        Identifier without parameters, e.g. ``encoding``.
    version
        Whole number, raised whenever scores change.
    compute
        ``compute(representations, target, splits, **parameters) -> Score``, where ``representations`` is a list
        with, for each model, a mapping from layer to :class:`benchmark_core.representation.Representation`
        (ordered from input to output; the metric chooses among several on training stimuli only).
        A string ``"module:function"`` is imported when it is needed.
    parameters
        Typed parameters.
    accepts
        Kinds of target it can score.
    n_models
        Smallest and largest number of models it takes.
    description, reference
        One line for people, and the paper.
    """

    name: str
    version: int
    compute: str | Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    accepts: tuple[TargetKind, ...] = ("responses",)
    n_models: tuple[int, int] = (1, 1)
    description: str = ""
    reference: str = ""
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} cannot be a metric's name: use letters, digits and . _ - / +")
        _check_declaration("metric", self.name, self.parameters)
        if not self.origin:
            object.__setattr__(self, "origin", _caller())


@dataclass(frozen=True)
class Resolved:
    """A spec with the parameters of one identifier.

    ``given`` holds the parameters that differ from their defaults, as the identifier and keys have them;
    ``parameters`` all of them, as they were asked for; ``asked`` those of which the two differ (a weights file's path
    where the identifier has its hash).
    """

    spec: Any
    identifier: str
    given: Mapping[str, Value]
    asked: Mapping[str, Value] = field(default_factory=dict, compare=False)

    @property
    def parameters(self) -> dict[str, Value | None]:
        """All parameters, defaults included."""
        return {p.name: self.asked.get(p.name, self.given.get(p.name, p.default)) for p in self.spec.parameters}

    @property
    def trained(self) -> bool:
        """Whether the model's weights were learned, for its parameters."""
        trained = self.spec.trained
        return bool(trained(**self.parameters)) if callable(trained) else bool(trained)


def resolve(spec: ModelSpec | MetricSpec, name: str, pairs: Mapping[str, str | Value]) -> Resolved:
    """Bind an identifier's parameters to a spec; the result carries the one canonical identifier.

    A variant is only a name for parameters, so ``expansion5l-256`` and
    ``expansion5l:filters_2=256,filters_3=256,filters_4=256`` resolve to the same thing. The canonical form uses
    whichever name leaves the fewest parameters to write, sorts keys and drops defaults.

    Raises
    ------
    InputError
        For parameters the spec does not have, or values it does not allow.
    """
    # Typed like what is given, so that a variant and its parameters written out are one thing, with one key.
    variants: dict[str, dict[str, Value]] = {
        variant: resolve_parameters(variant, spec.parameters, fixed)
        for variant, fixed in getattr(spec, "variants", {}).items()
    }
    values = dict(variants.get(name, {})) if name != spec.name else {}
    values |= resolve_parameters(name, spec.parameters, pairs)
    defaults = {p.name: p.default for p in spec.parameters}
    asked: dict[str, Value] = {}
    if isinstance(spec, ModelSpec) and spec.normalise is not None:
        normal = {k: v for k, v in spec.normalise({**defaults, **values}).items() if v is not None}
        asked = {k: v for k, v in values.items() if normal.get(k) != v}
        values = normal
    given = {k: v for k, v in sorted(values.items()) if v != defaults[k]}
    best = canonical(spec.name, given)
    fewest = len(given)
    for variant, fixed in variants.items():
        if all(given.get(k, defaults[k]) == v for k, v in fixed.items()):
            rest = {k: v for k, v in given.items() if k not in fixed}
            if len(rest) < fewest:
                best, fewest = canonical(variant, rest), len(rest)
    return Resolved(spec, best, given, asked)


def canonical(name: str, given: Mapping[str, Value]) -> str:
    """Write an identifier with sorted keys."""
    if not given:
        return name
    return name + ":" + ",".join(f"{k}={format_value(v)}" for k, v in sorted(given.items()))


def names_of(specs: Iterable[ModelSpec | MetricSpec | BenchmarkSpec]) -> list[str]:
    """Return every name under which the specs can be asked for."""
    return [name for spec in specs for name in (spec.names if isinstance(spec, ModelSpec) else (spec.name,))]
