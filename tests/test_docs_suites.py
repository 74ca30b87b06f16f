"""The files and commands of docs/suites.md."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark_core.cli import command_line
from benchmark_core.registry import Registry
from benchmark_core.splits import KFold
from benchmark_core.suite_files import load_suite, suite_paths
from benchmark_core.suites import suite_cells
from benchmark_core.variants import demonstration

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "suites.md").read_text(encoding="utf-8")


def block(mark: str) -> str:
    """Return the code block that follows ``<!-- test: mark -->``."""
    found = re.search(rf"<!-- test: {re.escape(mark)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"docs/suites.md has no block marked {mark!r}"
    return found.group(1)


def test_the_suite_of_the_page_is_shown_run_and_recorded(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its commands, on a dozen of the simulated stimuli and with a first layer of two filters."""
    from dataclasses import replace

    from plugins.models._filter_banks import BANKS, curvature_bank

    monkeypatch.setitem(BANKS, "curvature", lambda: curvature_bank()[:2])
    registry = Registry(installed=False)
    few = replace(demonstration(registry.benchmark("simulated.V4"), 12), name="simulated.V4", splits=KFold(k=3))
    registry.benchmarks.by_name["simulated.V4"] = [few]
    for module in ("commands_run", "commands_suite"):
        monkeypatch.setattr(f"benchmark_core.{module}.open_registry", lambda plugins: registry)
    monkeypatch.chdir(tmp_path)
    Path("widths.toml").write_text(block("widths.toml"), encoding="utf-8")
    show, run = (shlex.split(line)[1:] for line in block("run").strip().splitlines())

    def shown() -> dict[str, object]:
        result = CliRunner().invoke(command_line(), [*show, "--json"])
        assert result.exit_code == 0, result.output
        document: dict[str, object] = json.loads(result.stdout)
        return document

    before = shown()
    assert before["states"] == {"compute": 6}
    assert not (home / "data").exists(), "showing builds nothing"
    cells = before["cells"]
    assert isinstance(cells, list)
    assert {tuple(cell["groups"]) for cell in cells} == {("expansion, 4 filters a layer",), ("pixels",)}
    assert "is not built yet" in cells[0]["problem"]
    ran = CliRunner().invoke(command_line(), [*run, "--json"])
    assert ran.exit_code == 0, ran.output
    results = json.loads(ran.stdout)["results"]
    assert sorted((r["model"], r["metric"]) for r in results) == sorted((c["models"][0], c["metric"]) for c in cells)
    assert shown()["states"] == {"recorded": 6}
    for record in (home / "records").glob("*.json"):
        record.unlink()
    left = shown()
    assert left["states"] == {"kernels": 6}
    text = CliRunner().invoke(command_line(), show)
    assert "6 scores: 6 kernels at hand" in text.stdout
    assert text.stdout.endswith("run it: bench run --suite widths.toml\n")


def test_the_suite_of_several_datasets_has_their_cells(tmp_path: Path) -> None:
    (tmp_path / "regions.toml").write_text(block("regions.toml"), encoding="utf-8")
    suite = load_suite(tmp_path / "regions.toml")
    registry = Registry(installed=False)
    assert {c.models[0] for c in suite_cells(suite, "simulated", registry=registry)} == {"pixels", "efficientnet-lite0"}
    assert {c.width for c in suite_cells(suite, "cowley2023", registry=registry)} == {None, 3, 30, 300}
    assert suite.without == {"nsd": "its photographs are not here"}


def test_the_page_and_the_readme_name_every_suite() -> None:
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    for name in suite_paths():
        assert f"| `{name}` |" in PAGE
        assert name in readme
