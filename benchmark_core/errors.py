"""Errors meant for people: one line that says what is wrong, where, and what to do."""

from __future__ import annotations


class BenchError(Exception):
    """Base of every error that the command line shows as one line; ``status`` is its exit status."""

    status = 4


class InputError(BenchError):
    """Something the user named is wrong: an identifier, an option, a file."""

    status = 2


class UnknownLayerError(InputError):
    """A layer was named that the model does not have."""


class MissingDataError(BenchError):
    """Data or weights are not on this machine; the message says how to get them."""

    status = 3


class ModelError(BenchError):
    """A model broke its contract: wrong shapes, not-a-number outputs, an unknown layer."""


def did_you_mean(name: str, known: list[str]) -> str:
    """Return ``" Did you mean ...?"`` for the closest known names, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not close:
        close = [k for k in known if name.lower() in k.lower()][:3]
    return f" Did you mean {' or '.join(close)}?" if close else ""
