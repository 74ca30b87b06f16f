"""What names stand for: an identifier for a spec with parameters, ``module:attribute`` for a callable.

This module imports only the standard library, like the specs themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from benchmark_core.identifiers import Value, canonical, resolve_parameters
from benchmark_core.specs import MetricSpec, ModelSpec


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


def import_target(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable given as itself or as ``"module:attribute"`` (imported only now)."""
    if callable(target):
        return target
    module, _, attribute = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    assert callable(found), f"{target} is not callable"
    return found
