"""Identifiers and their parameters: ``NAME[:key=value[,key=value...]]``, typed and checked. Standard library only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark_core.errors import InputError, did_you_mean

Value = bool | int | float | str
ParameterType = Literal["int", "float", "bool", "str"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
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
    multiple_of
        What a whole number must be a multiple of, if given.
    help
        One line for ``bench info``.
    """

    name: str
    type: ParameterType
    default: Value | None = None
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: int | None = None
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
        noun = f"a multiple of {self.multiple_of}" if self.multiple_of else noun
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
            if self.multiple_of is not None and value % self.multiple_of:
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
    if not NAME.fullmatch(name):
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


def canonical(name: str, given: Mapping[str, Value]) -> str:
    """Write an identifier with sorted keys."""
    if not given:
        return name
    return name + ":" + ",".join(f"{k}={format_value(v)}" for k, v in sorted(given.items()))
