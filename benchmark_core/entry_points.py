"""Plugins that other packages offer under an entry point group.

Importing what reads the metadata of all packages, and reading it, is a tenth of ``bench list``; whether any package
names the group at all is seen from the files alone.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def offered_in(group: str) -> list[EntryPoint]:
    """Return the entry points of a group.

    Raises
    ------
    Exception
        Whatever :mod:`importlib.metadata` raises for a malformed ``entry_points.txt`` of any package, if one offers
        something in the group.
    """
    if not may_be_offered(group):
        return []
    from importlib.metadata import entry_points

    return list(entry_points(group=group))


def may_be_offered(group: str) -> bool:
    """Whether a package on ``sys.path`` names the group, or may: one in an archive, or found by an import hook."""
    if any(hasattr(f, "find_distributions") for f in sys.meta_path if f is not PathFinder):
        return True
    header = f"[{group}]".encode()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except NotADirectoryError:  # an archive
            return True
        except OSError:  # importlib.metadata passes over these, too
            continue
        for name in names:
            if name.lower().endswith((".dist-info", ".egg-info", "egg-info")):
                try:
                    with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                        if header in file.read():
                            return True
                except OSError:  # most packages have none
                    continue
    return False
