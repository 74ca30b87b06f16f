"""Specs: frozen descriptions of models, benchmarks and metrics.

This module imports only the standard library, so that listing hundreds of plugins costs milliseconds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark_core.errors import InputError
from benchmark_core.identifiers import NAME, Parameter, Value, resolve_parameters
from benchmark_core.preprocessing import Preprocessing

if TYPE_CHECKING:
    from benchmark_core.splits import KFold, Splits
    from benchmark_core.stimuli import StimulusSet

TargetKind = Literal["responses", "labels", "rdms"]

_BENCHMARK = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+(-[A-Za-z0-9_.-]+)?")


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
    """A parameter that only widens a model's last layer, and what else only that layer depends on.

    Models that differ in nothing else, asked for together, cost one forward pass: that of what comes before the last
    layer, their *stem*. Where a narrower model's features are a wider one's first, its kernel is a partial sum of
    the wider one's. Results do not depend on what was asked for together.

    Parameters
    ----------
    parameter
        Name of the parameter, a whole number of units; the layer has a fixed number of features for each unit.
    layer
        Name of the layer.
    shared
        Function of the model's parameters: whether narrower features are a prefix for these (not where the weights or
        the nonlinearity depend on all units at once).
    scale
        Function of the model's parameters: what the first units' features are multiplied with for this width (xavier's
        bound), where that is all that changes with the width.
    wide
        ``wide(**parameters)`` returns a :class:`benchmark_core.heads.WideModel`: stem and last layer apart; a string
        ``"module:function"`` is imported when it is needed. Without it only prefixes are shared.
    is_wide
        Function of the model's parameters: whether to generate the last layer by blocks, because it is wider than its
        input. Such a layer is never held.
    apart
        Function of the model's parameters: whether some units can be generated without the others. If not, the last
        layer is computed whole from the stem.
    head_only
        Other parameters that only the last layer depends on.
    side_by_side
        Whether the features of a unit lie side by side in what ``load``'s model gives.
    """

    parameter: str
    layer: str
    shared: Callable[..., bool] = lambda **_: True
    scale: Callable[..., float] = lambda **_: 1.0
    wide: str | Callable[..., Any] | None = None
    is_wide: Callable[..., bool] = lambda **_: False
    apart: Callable[..., bool] = lambda **_: True
    head_only: tuple[str, ...] = ()
    side_by_side: bool = True


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
    flops
        Function of the parameters: floating point operations of one image's forward pass up to the last layer read (a
        multiplication and an addition are two), to guess how long a run takes. Where there is a ``width``, it also takes
        0 for it, which leaves the stem.
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
    flops: Callable[..., float] | None = None
    normalise: Callable[[Mapping[str, Value | None]], Mapping[str, Value | None]] | None = None
    description: str = ""
    reference: str = ""
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} cannot be a model's name: use letters, digits and . _ - / +")
        _check_declaration("model", self.name, self.parameters)
        if self.width is not None and self.width.parameter not in [p.name for p in self.parameters if p.type == "int"]:
            raise InputError(
                f"model {self.name!r}: its width {self.width.parameter!r} is not one of its int parameters"
            )
        if self.width is not None and not {p.name for p in self.parameters}.issuperset(self.width.head_only):
            raise InputError(f"model {self.name!r}: head_only of its width names what is none of its parameters")
        for variant, values in self.variants.items():
            if not NAME.fullmatch(variant):
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
        if not NAME.fullmatch(self.prefix) or self.prefix.endswith("/"):
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
    obtain
        How to get it, in words that follow "get it with", where neither of the two does.
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
    obtain: str = ""
    simulated: bool = False


def _apart(*_: Any) -> Any:
    raise InputError("the subjects of this benchmark saw different stimuli; ask each of its parts")


@dataclass(frozen=True, kw_only=True)
class SubjectSpec:
    """One subject of a benchmark whose subjects saw different stimuli: fields as in :class:`BenchmarkSpec`."""

    stimuli: Callable[[], StimulusSet]
    target: Callable[[], Any]
    splits: KFold | Callable[[StimulusSet], Splits]
    target_hash: Callable[[], str] | None = None


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
    subjects
        Where subjects saw different stimuli: each by name, with stimuli, target and splits of its own, which this spec
        then lacks. They are scored one after the other, so that no representation of all stimuli is needed, and
        combined. Stimuli that all of them saw are forwarded once.
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
    stimuli: Callable[[], StimulusSet] = _apart
    target: Callable[[], Any] = _apart
    splits: KFold | Callable[[StimulusSet], Splits] = _apart
    target_hash: Callable[[], str] | None = None
    subjects: Mapping[str, SubjectSpec] = field(default_factory=dict)
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
        for name in ("stimuli", "target", "splits"):
            if (getattr(self, name) is _apart) != bool(self.subjects):
                problem = "has subjects, each with its own" if self.subjects else "has no"
                raise InputError(f"benchmark {self.name!r} {problem} {name}")
        if not self.origin:
            object.__setattr__(self, "origin", _caller())

    @property
    def parts(self) -> Mapping[str, BenchmarkSpec | SubjectSpec]:
        """What is scored apart: the subjects who saw different stimuli, or the benchmark itself under an empty name."""
        return self.subjects or {"": self}


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
        Smallest and largest number of models it takes; (0, 0) for a metric of the target alone.
    check
        ``check(parameters, target_kind)`` raises :class:`InputError` for parameters that do not go together, or not with
        that kind of target. It is called before anything is computed, so it must be light.
    metadata
        Columns of the stimuli's metadata that scores depend on (``object_name``, say), or a function of the parameters
        returning them. Where the stimulus set has any of them, ``compute`` gets ``metadata``, {column: {stimulus_id:
        text}}, and they enter the key.
    combine
        ``combine(scores) -> Score`` makes one score of those of subjects who saw different stimuli, given by name
        (``Score.working`` may carry what it needs). Without it scores are averaged and there is no interval.
    components
        Name of the parameter that says how many principal components of the training stimuli suffice, if they do.
        Where there are too many stimuli for a kernel, and one training set, the metric then gets those components
        (as a representation that holds them as its features). Where the parameter may be absent, all are needed.
    standardise
        Name of the bool parameter that asks for features divided by their deviations over training stimuli, if there
        is one. Where it is true, :meth:`benchmark_core.representation.Representation.standardised` gives them for
        every training set of the splits.
    unit
        What the score counts (``dimensions``), where it describes a representation and is no share or correlation: any
        finite number is one then, and it says nothing about how well the representation explains the target.
    description, reference
        One line for people, and the paper.
    """

    name: str
    version: int
    compute: str | Callable[..., Any]
    combine: str | Callable[..., Any] | None = None
    parameters: tuple[Parameter, ...] = ()
    accepts: tuple[TargetKind, ...] = ("responses",)
    n_models: tuple[int, int] = (1, 1)
    check: Callable[[Mapping[str, Any], TargetKind], None] | None = None
    metadata: tuple[str, ...] | Callable[..., Sequence[str]] = ()
    components: str = ""
    standardise: str = ""
    unit: str = ""
    description: str = ""
    reference: str = ""
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} cannot be a metric's name: use letters, digits and . _ - / +")
        _check_declaration("metric", self.name, self.parameters)
        if self.components and self.components not in [p.name for p in self.parameters if p.type == "int"]:
            raise InputError(f"metric {self.name!r}: {self.components!r} is not one of its int parameters")
        if self.standardise and self.standardise not in [p.name for p in self.parameters if p.type == "bool"]:
            raise InputError(f"metric {self.name!r}: {self.standardise!r} is not one of its bool parameters")
        if not self.origin:
            object.__setattr__(self, "origin", _caller())
