"""What a command said and how it ended, and ways to spoil what lies under BENCH_HOME."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_core import Responses
from benchmark_core.keys import file_sha256

TOY_PLUGINS = Path(__file__).parent / "toy_plugins"


@dataclass(frozen=True)
class Done:
    """What a command said, and how it ended."""

    status: int
    stdout: str
    stderr: str

    def fails(self, status: int, *words: str) -> Done:
        """Check that it ended with this status and one line on stderr that holds these words."""
        assert self.status == status, self
        lines = self.stderr.strip().splitlines()
        assert len(lines) == 1, self.stderr
        for word in words:
            assert word in lines[0], f"{word!r} is not in {lines[0]!r}"
        assert "internal error" not in lines[0]
        return self

    def refused(self, *words: str) -> Done:
        """Check that the command line itself was refused: status 2 and a usage message with these words."""
        assert self.status == 2, self
        assert self.stdout == ""
        assert self.stderr.startswith(("Usage: bench", "╭─ Error ─")), self.stderr
        assert "Traceback" not in self.stderr
        text = " ".join(self.stderr.replace("│", " ").split())
        for word in words:
            assert word in text, f"{word!r} is not in {text!r}"
        return self

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""

        def no_constant(text: str) -> None:
            raise AssertionError(f"{text} is not JSON")

        return json.loads(self.stdout, parse_constant=no_constant)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of ``bench run --json``."""
        return list(self.json["results"])


Bench = Callable[..., Done]
Tree = Callable[[], dict[str, str]]


RECORD: dict[str, Any] = {
    "format": 1,
    "key": "some-key",
    "models": ["toy-pixels"],
    "benchmark": "toy.V4",
    "benchmark_version": 1,
    "metric": "encoding",
    "layer": "output",
    "status": "ok",
    "score": 0.5,
}
"""What a record needs at least."""


def forge_manifest(folder: Path, **changes: Any) -> None:
    """Change entries of a part's manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def put_responses(part: Path, responses: Responses) -> None:
    """Replace a part's responses, with checksum and content hash to match."""
    responses.to_xarray().to_netcdf(part / "responses.nc")
    files = {name: file_sha256(part / name) for name in ("stimuli.csv", "responses.nc")}
    forge_manifest(part, files=files, target_hash=responses.hash)


def flip(path: Path, position: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
