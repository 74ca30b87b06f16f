"""The whole way on real recordings: import, run, and the numbers against scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from typer.testing import CliRunner

from benchmark_core.assembly import Responses
from benchmark_core.cli import command_line
from benchmark_core.registry import Registry
from benchmark_core.splits import Splits
from benchmark_core.stimuli import StimulusSet

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def v4(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Import the recordings once and return a BENCH_HOME that holds them."""
    home = tmp_path_factory.mktemp("v4")
    arguments = ["data", "import", "cowley2023", "--from", str(real_data / "cowley2023")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(home / "home"))
        patch.setenv("BENCH_CACHE", str(home / "cache"))
        result = CliRunner().invoke(command_line(), arguments)
        assert result.exit_code == 0, result.output
    return home


@pytest.fixture(autouse=True)
def _at_home(v4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", str(v4 / "home"))
    monkeypatch.setenv("BENCH_CACHE", str(v4 / "cache"))


def bench(*arguments: str) -> dict[str, dict[str, Any]]:
    """Run ``bench run --json`` and return the results by benchmark."""
    result = CliRunner().invoke(command_line(), ["run", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return {r["benchmark"]: r for r in json.loads(result.stdout)["results"]}


def test_pixels_on_v4_agree_with_scikit_learn() -> None:
    result = bench("--model", "pixels", "--benchmark", "cowley2023.V4")["cowley2023.V4"]
    benchmark = Registry.default().benchmark("cowley2023.V4")
    stimuli: StimulusSet = benchmark.stimuli()
    responses: Responses = benchmark.target()
    splits: Splits = benchmark.splits(stimuli)
    pixels = np.array([np.asarray(stimuli.image(i).convert("L").resize((56, 56), 2)).ravel() for i in range(640)]) / 255
    measured = responses.averages()
    (alphas,) = result["details"]["alphas"].values()
    r = np.zeros((5, 50))
    for k, (fold, alpha) in enumerate(zip(splits.folds, alphas, strict=True)):
        train, test = stimuli.index(fold.train), stimuli.index(fold.test)
        predicted = Ridge(alpha=alpha).fit(pixels[train], measured[train]).predict(pixels[test])
        r[k] = [np.corrcoef(predicted[:, j], measured[test][:, j])[0, 1] for j in range(50)]
    assert result["r_neuroid"] == pytest.approx(r.mean(), abs=1e-5)
    assert result["r_neuroid_median"] == pytest.approx(np.median(r.mean(axis=0)), abs=1e-5)
    subject = result["subjects"]["PE"]
    explained = np.sum(np.sign(r.mean(axis=0)) * r.mean(axis=0) ** 2)
    assert subject["score_uncorrected"] == pytest.approx(explained / np.sum(subject["reliability"]), abs=1e-5)
    assert min(alphas) > 1e-10


def test_reliability_of_v4_is_that_of_its_split_halves() -> None:
    result = bench("--model", "pixels", "--benchmark", "cowley2023.V4")["cowley2023.V4"]
    assert result["details"]["ceiling_median"] == pytest.approx(0.76, abs=0.02)
    assert result["ceiling"] == pytest.approx(result["details"]["ceiling_split_half"], abs=0.01)


def test_averages_alone_have_no_ceiling() -> None:
    results = bench("--model", "pixels", "--benchmark", "cowley2023.V4-2*")
    assert set(results) == {"cowley2023.V4-201025", "cowley2023.V4-210224"}
    for result in results.values():
        assert result["ceiling"] is None
        # Without a ceiling the denominator is the number of neuroids.
        (subject,) = result["subjects"].values()
        r = np.array(subject["r"])
        assert subject["score_uncorrected"] == pytest.approx(np.mean(np.sign(r) * r**2), abs=1e-9)
        assert 0 < result["ci_low"] < result["score"] < result["ci_high"] < 0.3
