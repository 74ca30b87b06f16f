"""The command line in this process, on a small dataset, with a look at what it leaves behind."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import typer
from bench_command import TOY_PLUGINS, Bench, Done, Tree
from PIL import Image

from benchmark_core import DatasetSpec, Responses, cli, datasets

N_STIMULI, N_REPETITIONS, N_NEUROIDS = 40, 5, 6


@pytest.fixture(scope="session")
def built() -> Callable[..., None]:
    """Return the command line as typer builds it: anew for every call, which is most of what a refusal costs."""
    return typer.main.get_command(cli.command_line())


@pytest.fixture
def bench(
    home: Path, built: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Return a function that runs ``bench ARGUMENTS`` here and now; BENCH_HOME and BENCH_CACHE are new folders."""
    monkeypatch.setattr(cli, "command_line", lambda *asked: built)
    monkeypatch.setenv("BENCH_DEBUG", "")  # so that what --debug sets is undone
    monkeypatch.setenv("BENCH_PLUGINS", str(TOY_PLUGINS))
    monkeypatch.delenv("BENCH_CACHE_MAX", raising=False)

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def toy_part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the part ``toy/one`` once; tests copy it."""
    folder = tmp_path_factory.mktemp("toy")
    random = np.random.Generator(np.random.Philox(1))
    images = {}
    for i in range(N_STIMULI):
        out = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(out, format="JPEG")
        images[f"toy/{i:02d}"] = (f"{i:02d}.jpg", out.getvalue())
    values = random.poisson(4.0, (N_STIMULI, N_REPETITIONS, N_NEUROIDS)).astype(float)
    values += 2 * random.poisson(3.0, (N_STIMULI, 1, N_NEUROIDS))  # so that neuroids are reliable
    responses = Responses(tuple(images), values, tuple(f"n{i}" for i in range(N_NEUROIDS)), ("m1",) * N_NEUROIDS, "V4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder))
        return datasets.write_part(
            DatasetSpec(name="toy", parts=("one",)), "one", datasets.Part(images=images, responses=responses)
        )


@pytest.fixture
def part(home: Path, toy_part: Path) -> Path:
    """Return the folder of ``toy/one`` under this test's BENCH_HOME."""
    copy = home / "data" / "toy" / "one"
    shutil.copytree(toy_part, copy)
    return copy


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a function that tells what lies under ``tmp_path``: a digest for each file, folders too, but no locks."""

    def look() -> dict[str, str]:
        return {
            path.relative_to(tmp_path).as_posix(): sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            for path in sorted(tmp_path.rglob("*"))
            if path.suffix != ".lock" and path.name != "locks"
        }

    return look


@pytest.fixture(autouse=True)
def nothing_half_written(tmp_path: Path, home: Path) -> Iterator[None]:
    """After every test: no temporary file, nothing set aside, every record whole."""
    yield
    left = [p for p in tmp_path.rglob("*") if p.name.endswith((".tmp", ".old", ".part")) and "mine" not in p.parts]
    assert left == []
    for record in (home / "records").glob("*.json") if home.is_dir() else []:
        if "spoilt" not in record.name:
            assert json.loads(record.read_text())["format"] == 1
