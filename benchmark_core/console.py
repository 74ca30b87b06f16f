"""What all commands share: errors as one line, results on stdout, everything else on stderr."""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from benchmark_core.errors import BenchError
from benchmark_core.profiling import stage
from benchmark_core.registry import Registry

DONE, INTERRUPTED, BAD_INPUT, FAILED, MISSING = 0, 130, 2, 4, 3
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

PluginsOption = Annotated[
    list[Path] | None,
    typer.Option("--plugins", metavar="DIR", help="Folder with plugin files; may be repeated (also BENCH_PLUGINS)."),
]
RecordsOption = Annotated[
    Path | None, typer.Option("--records", metavar="DIR", help="Folder of score records (default: BENCH_HOME/records).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")]

Options = ParamSpec("Options")
Result = TypeVar("Result")


@stage("plan")
def open_registry(plugins: list[Path] | None) -> Registry:
    """Return the registry, and report plugin problems on stderr."""
    found = Registry.default(plugins or [])
    for problem in found.problems:
        say(f"warning: {problem}")
    return found


def guarded(command: Callable[Options, Result]) -> Callable[Options, Result]:
    """Turn errors into one line on stderr and the right exit status; ``--debug`` shows the traceback, too."""

    @functools.wraps(command)
    def wrapped(*args: Options.args, **kwargs: Options.kwargs) -> Result:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning
                result = command(*args, **kwargs)
            sys.stdout.flush()
            return result
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader (head, less) has gone: not an error.
            abandon_stdout()
            raise typer.Exit(0) from None
        except Exception as error:
            if os.environ.get("BENCH_DEBUG"):
                traceback.print_exc()
            if isinstance(error, BenchError):
                say(f"error: {error}")
                raise typer.Exit(error.status) from None
            if isinstance(error, OSError) and error.filename:
                say(f"error: {error.filename}: {error.strerror}")
                raise typer.Exit(BAD_INPUT) from None
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                abandon_stdout()
                say(f"error: cannot write the results to stdout ({error.strerror}); send them elsewhere")
                raise typer.Exit(BAD_INPUT) from None
            say(
                f"internal error: {type(error).__name__}: {' '.join(str(error).split())} (run again with --debug for the traceback)"
            )
            raise typer.Exit(FAILED) from None

    return wrapped


def abandon_stdout() -> None:
    """Send the rest of stdout nowhere: what could not be written would raise anew when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show a warning as one line on stderr, without the line of code that gave it."""
    say(f"warning: {' '.join(str(message).split())}")


def say(line: str) -> None:
    """Write a line to stderr."""
    print(line, file=sys.stderr, flush=True)


def example(*lines: str) -> str:
    """Return an epilog that shows how a command is used, each example on a line of its own (78 characters fit)."""
    return "\n\n".join(["Examples:" if len(lines) > 1 else "Example:", *lines])


def write_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    plain_text = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    json.dump(document, sys.stdout, indent=1, allow_nan=False, ensure_ascii=plain_text)
    sys.stdout.write("\n")
    sys.stdout.flush()
