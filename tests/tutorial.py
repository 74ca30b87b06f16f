"""Running the notebook of the documentation; as a script, write its outputs into it (``make tutorial``)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

PATH = Path(__file__).resolve().parent.parent / "docs" / "tutorial.ipynb"
SECONDS = 280  # that one cell may take on a busy machine


def execute(folder: Path) -> Any:
    """Run the notebook in a fresh kernel and return it with its outputs, which say nothing of this machine.

    Parameters
    ----------
    folder
        For all that is written; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(PATH, as_version=4)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "IPYTHONDIR": str(folder / "ipython"),
        "TMPDIR": str(folder),
    }
    # Sockets that are files: no ports to share with others, and nobody to listen.
    kernel = AsyncKernelManager(
        kernel_name="python3", transport="ipc", connection_file=str(folder / "kernel.json"), ip=str(folder / "kernel")
    )
    client = NotebookClient(notebook, km=kernel, timeout=SECONDS, record_timing=False, coalesce_streams=True)
    client.execute(cwd=str(folder), env=environment)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text" in output:
                output["text"] = re.sub(rf"{re.escape(str(folder))}/\w+", "/tmp/tutorial", output["text"])
    return notebook


def main() -> None:
    """Run the notebook and write it with its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = execute(Path(folder).resolve())
    notebook.metadata["language_info"] = {"name": "python"}  # without the version that happened to run it
    nbformat.write(notebook, PATH)


if __name__ == "__main__":
    main()
