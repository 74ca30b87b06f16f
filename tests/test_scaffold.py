"""Packages that ``bench plugin new`` writes: installed, found by their entry points, checked, tested and run."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark_core.cli import command_line
from benchmark_core.contract import CHECKS
from benchmark_core.errors import InputError
from benchmark_core.registry import Registry
from benchmark_core.scaffold import write_package

BIN = Path(sys.executable).parent
KITS = {"model": "contours", "benchmark": "gratings.V4", "metric": "knn"}
FOLDERS = {"model": "contours", "benchmark": "gratings-v4", "metric": "knn"}


def bench(*arguments: object, status: int = 0):
    """Run a command in this process."""
    result = CliRunner().invoke(command_line(), [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result


def outcomes_of_pytest(*arguments: object) -> tuple[int, dict[str, str], list[str]]:
    """Run pytest in this process; return its status, {node id: outcome}, and what went wrong in collecting."""

    class Recorder:
        def __init__(self) -> None:
            self.outcomes: dict[str, str] = {}
            self.problems: list[str] = []

        def pytest_runtest_logreport(self, report) -> None:
            if report.when == "call" or report.outcome != "passed":
                self.outcomes[report.nodeid] = report.outcome

        def pytest_collectreport(self, report) -> None:
            if report.failed:
                self.problems.append(str(report.longrepr))

    recorder = Recorder()
    status = pytest.main([*map(str, arguments), "-q", "-p", "no:cacheprovider"], plugins=[recorder])
    return int(status), recorder.outcomes, recorder.problems


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Make a folder with one package of each kind the current one, with a home of its own."""
    folder = tmp_path_factory.mktemp("kits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        patch.delenv("BENCH_PLUGINS", raising=False)
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        for kind, name in KITS.items():
            shown = bench("plugin", "new", kind, name).stdout.splitlines()
            assert all((folder / path).is_file() for path in shown)
            assert len(shown) == 4
        yield folder
        for module in [m for m in sys.modules if m.startswith("cortex_bench_")]:
            del sys.modules[module]


@pytest.fixture(scope="module")
def installed(world) -> Path:
    """Install the three packages into a folder that is thrown away, and put it on Python's path."""
    site = world / "site"
    uv = shutil.which("uv", path=str(BIN))
    pip = (
        [uv, "pip", "install", "--python", sys.executable, "--offline"]
        if uv
        else [sys.executable, "-m", "pip", "install"]
    )
    places = [f"./{folder}" for folder in FOLDERS.values()]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, *options, *places], check=True, timeout=300)
    assert {p.name for p in site.glob("cortex_bench_*.py")} == {
        "cortex_bench_contours.py",
        "cortex_bench_gratings_v4.py",
        "cortex_bench_knn.py",
    }
    with pytest.MonkeyPatch.context() as patch:
        # Only what is installed counts from here on.
        patch.setattr(sys, "path", [p for p in sys.path if not p.startswith(str(world))])
        for module in [m for m in sys.modules if m.startswith("cortex_bench_")]:
            del sys.modules[module]
        patch.syspath_prepend(str(site))
        yield site


def test_packages_are_clean_by_their_own_rules(world) -> None:
    for folder in FOLDERS.values():
        for command in (["check"], ["format", "--check"]):
            done = subprocess.run(
                [str(BIN / "ruff"), *command, "--no-cache", "."], cwd=world / folder, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout


def test_the_readme_names_commands_that_there_are(world) -> None:
    for kind, folder in FOLDERS.items():
        text = (world / folder / "README.md").read_text()
        assert "{{" not in text
        for line in (line for line in text.splitlines() if line.startswith("bench ")):
            words = line.split()[1:]
            depth = 2 if words[0] in ("plugin", "data") else 1
            shown = bench(*words[:depth], "--help").output
            assert all(w in shown for w in words if w.startswith("--")), line
        assert f"bench plugin check {'.' if kind else ''}" in text


@pytest.mark.parametrize("kind", KITS)
def test_a_package_works_without_being_installed(world, kind) -> None:
    """Its own tests, and the contract through the pytest plugin, from the folder alone."""
    folder = world / FOLDERS[kind]
    status, outcomes, problems = outcomes_of_pytest("--rootdir", folder, "-c", folder / "pyproject.toml", folder)
    assert (status, problems) == (0, [])
    contract = {node.rpartition("::")[2] for node in outcomes if node.startswith(f"pyproject.toml::{KITS[kind]}::")}
    assert contract == set(CHECKS[kind])
    own = [node for node in outcomes if node.startswith("tests/test_")]
    assert len(own) >= 2
    assert set(outcomes.values()) == {"passed"}


def test_installed_packages_are_found_checked_and_run(world, installed) -> None:
    listed = json.loads(bench("list", "--json").stdout)
    origins = {kind: json.loads(bench("info", name, "--json").stdout)["origin"] for kind, name in KITS.items()}
    assert all(str(installed) in origin for origin in origins.values()), origins
    assert "contours-wide" in {m["name"] for m in listed["models"]}
    assert [p for p in listed["problems"] if "contours" in p or "knn" in p or "gratings" in p] == []
    document = json.loads(bench("plugin", "check", *KITS.values(), "contours:filters=6,seed=3", "--json").stdout)
    assert document["counts"] == {"pass": sum(len(CHECKS[kind]) for kind in (*KITS, "model"))}
    run = ("run", "-m", "contours:filters=8", "-m", "pixels", "-b", "gratings.V4", "--device", "cpu", "--json")
    contours, pixels = json.loads(bench(*run, "--metric", "knn:neighbours=4").stdout)["results"]
    assert contours["status"] == pixels["status"] == "ok"
    assert contours["score"] > 0.3
    assert contours["score"] > pixels["score"]
    assert (contours["n_stimuli"], contours["n_neuroids"], contours["simulated"]) == (64, 10, True)
    ridge = json.loads(bench(*run).stdout)["results"][0]
    assert ridge["score"] > 0.3
    assert ridge["ceiling"] > 0.8


def test_drop_in_folders_work_and_what_is_installed_too_is_one_plugin(world, monkeypatch) -> None:
    source = world / "contours" / "src"
    alone = Registry([source], installed=False)
    assert alone.model("contours-wide").spec.origin.startswith(str(source))
    text = (world / "contours" / "src" / "cortex_bench_contours.py").read_text()
    (world / "elsewhere").mkdir()
    (world / "elsewhere" / "copy.py").write_text(text)
    both = Registry([source, world / "elsewhere"], built_in=False, installed=False)
    assert any("claimed 2 times" in str(problem) for problem in both.problems)
    monkeypatch.syspath_prepend(str(source))
    monkeypatch.delitem(sys.modules, "cortex_bench_contours", raising=False)
    once = Registry([source], built_in=False, installed=False, modules=["cortex_bench_contours"])
    assert once.problems == []


NAMES = [
    ("model", "no spaces", "cannot be a model's name"),
    ("model", "-x", "cannot be"),
    ("model", "trailing-", "cannot be a model's name"),
    ("model", "../up", "cannot be a model's name"),
    ("model", "pixels", "exists already"),
    ("model", "expansion5l-256", "exists already"),
    ("model", "timm/mine", "exists already"),
    ("model", "own/mine", "kept for modules scored from Python"),
    ("model", "x" * 61, "at most 60"),
    ("metric", "encoding", "exists already"),
    ("metric", "é", "cannot be a metric's name"),
    ("benchmark", "noregion", "cannot be a benchmark's name"),
    ("benchmark", "simulated.V4", "exists already"),
    ("benchmark", "cowley2023.V1", "there is a dataset 'cowley2023' already"),
    ("modell", "x", "use model, benchmark or metric. Did you mean model"),
]


@pytest.mark.parametrize(("kind", "name", "words"), NAMES)
def test_bad_names_are_one_line_and_leave_nothing(tmp_path, home, monkeypatch, kind, name, words) -> None:
    monkeypatch.chdir(tmp_path)
    result = bench("plugin", "new", "--", kind, name, status=2)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, home) -> None:
    bench("plugin", "new", "metric", "mine", "--dir", tmp_path / "new" / "folder")
    package = tmp_path / "new" / "folder" / "mine"
    assert sorted(p.name for p in package.parent.iterdir()) == ["mine"]
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    for kind in ("metric", "model"):
        result = bench("plugin", "new", kind, "mine", "--dir", package.parent, status=2)
        assert "exists already" in result.stderr
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before
    (tmp_path / "file").touch()
    assert "cannot write" in bench("plugin", "new", "metric", "mine", "--dir", tmp_path / "file", status=2).stderr


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch) -> None:
    write, written = Path.write_text, []

    def full(path: Path, *arguments, **options):
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *arguments, **options)

    registry = Registry(installed=False)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_package("model", "mine", tmp_path, registry)
    assert len(written) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_would_hold_the_templates() -> None:
    from hatchling.builders.wheel import WheelBuilder

    repository = Path(__file__).resolve().parent.parent
    held = {f.distribution_path for f in WheelBuilder(str(repository)).recurse_included_files()}
    templates = {p.name for p in (repository / "benchmark_core" / "scaffold_templates").iterdir()}
    assert len(templates) == 10
    assert {f"benchmark_core/scaffold_templates/{name}" for name in templates} <= held
