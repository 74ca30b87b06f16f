"""What a run prints: narrow tables with intervals drawn, whole numbers, and names cut on terminals only."""

from __future__ import annotations

import io
from typing import Any

import pytest

from benchmark_core.tables import print_results


def result(model: str, score: float | None = 0.3, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "models": [model],
        "benchmark": "cowley2023.V4",
        "benchmark_version": 1,
        "metric": "encoding",
        "status": "ok",
        "score": score,
        "ci_low": None if score is None else score - 0.1,
        "ci_high": None if score is None else score + 0.1,
        "ceiling": 0.744,
        "r_neuroid": 0.5,
        "n_neuroids": 50,
        "layer": "layer5",
        "seconds": 1711.0,
        "cached": False,
        "warnings": [],
    }
    return base | changes


def printed(capsys: pytest.CaptureFixture[str], *results: dict[str, Any]) -> list[str]:
    print_results(results)
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(
        capsys,
        result("expansion5l:filters=300", 0.377),
        result("efficientnet-lite0", 0.469, layer="blocks.5", layers=["blocks.5", "blocks.5", "blocks.6"], cached=True),
        result("pixels", None, status="failed"),
    )
    assert lines[0] == "cowley2023.V4 v1, encoding"
    assert lines[1].split() == ["model", "score", "0", "0.6", "ceiling", "r", "layer", "time"]
    assert all(len(line) <= 80 for line in lines)
    assert lines[3].split() == [
        "expansion5l:filters=300",
        "0.377",
        *lines[3].split()[2:3],
        "0.744",
        "0.500",
        "layer5",
        "28.5",
        "min",
    ]
    assert {"├", "●", "┤"} <= set(lines[3])
    assert "blocks.5 +1" in lines[4]
    assert lines[4].endswith("recorded")
    assert lines[5].split()[:2] == ["pixels", "failed"]
    assert "+1: so many" not in lines[6]
    assert lines[6].startswith("+N: ")


def test_a_table_for_each_benchmark_and_metric(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(
        capsys, result("a"), result("a", metric="rsa"), result("b"), result("a", benchmark="x.V4", simulated=True)
    )
    headings = [line for line in lines if " v1" in line]
    assert headings == ["cowley2023.V4 v1, encoding", "cowley2023.V4 v1, rsa", "x.V4 v1 (simulated), encoding"]
    start = lines.index(headings[0])
    assert [line.split()[0] for line in lines[start + 3 : start + 5]] == ["a", "b"]


def test_wide_terminals_have_the_intervals_in_numbers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    lines = printed(capsys, result("expansion5l:filters=300", 0.377))
    assert "0.277 to 0.477" in lines[3]
    assert all(len(line) <= 120 for line in lines)


def test_names_are_cut_on_terminals_only_and_numbers_never(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, layer = "torchvision/a_network_with_a_rather_long_name:weights=none,seed=3", "stage.3.block.11.attention"
    whole = printed(capsys, result(name, 0.377, layer=layer))
    assert name in whole[3]
    assert layer in whole[3]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    cut = printed(capsys, result(name, 0.377, layer=layer))
    assert all(len(line) <= 80 for line in cut)
    assert "0.377" in cut[3]
    assert cut[3].endswith("28.5 min")
    assert "…" in cut[3]


def test_ascii_where_stdout_lacks_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    print_results([result("pixels")])
    stream.flush()
    text = written.getvalue().decode("ascii")
    assert "|-" in text
    assert "o" in text
