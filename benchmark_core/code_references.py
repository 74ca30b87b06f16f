"""What a piece of code refers to: names, globals, modules it imports, variables of the functions around it."""

from __future__ import annotations

import dis
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark_core.code_origin import library_name

_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def cell_content(cell: types.CellType) -> Any:
    """Return the value of a closure's variable, or None before it has one."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def names_in(code: types.CodeType) -> set[str]:
    """Return all names of globals, attributes and imports that code uses."""
    return {name for part in _nested(code) for name in part.co_names}


def globals_of(code: types.CodeType, space: dict[str, Any]) -> dict[str, Any]:
    """Return the globals that code reads, and the modules of the user's that it imports, by name.

    A module that is not imported yet is given as the text of its file: importing it here might do anything.
    """
    found: dict[str, Any] = {}
    for part in _nested(code):
        for instruction in dis.get_instructions(part):
            name = instruction.argval
            if instruction.opname in _READS and name in space:
                found[name] = space[name]
            elif instruction.opname == "IMPORT_NAME":
                module = _imported(str(name), space.get("__package__") or "")
                if module is not None:
                    found[f"import {name}"] = module
    return found


def _imported(name: str, package: str) -> types.ModuleType | bytes | None:
    """Return a module that code imports when it runs, unless it is a library's or cannot be found."""
    for candidate in (name, f"{package}.{name}".rstrip(".")) if package else (name,):
        if not candidate or library_name(candidate):
            continue
        found = sys.modules.get(candidate) or _source(candidate)
        if found is not None:
            return found
    return None


def _source(name: str) -> bytes | None:
    """Return the text of a module's file without importing it or the packages it lies in."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    files = [Path(spec.origin)] if spec.origin and not rest else []
    for folder in spec.submodule_search_locations or () if rest else ():
        files += [Path(folder, *rest).with_suffix(".py"), Path(folder, *rest, "__init__.py")]
    return next((file.read_bytes() for file in files if file.is_file()), None)
