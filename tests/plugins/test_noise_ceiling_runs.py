"""``noise-ceiling`` in a run: records without a model, and subjects who saw different stimuli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noise_ceiling_world import FOLDS, IDS, ceiling, recorded, trials_of
from toy import make_toy_world

from benchmark_core import BenchmarkSpec, InputError, KFold, Responses, StimulusSet, SubjectSpec, fixed_split, run
from benchmark_core.cells import Cell
from benchmark_core.leaderboard import leaderboard, to_csv
from benchmark_core.pipeline import Numerics
from benchmark_core.records import read_records
from benchmark_core.registry import Registry
from benchmark_core.runner import Runner
from benchmark_core.splits import Splits
from benchmark_core.store import Store, read_arrays
from benchmark_core.tables import print_leaderboard, print_results
from plugins.metrics._noise_ceiling import combine, compute


@pytest.fixture
def toys(tmp_path: Path, home: Path) -> Path:
    return make_toy_world(tmp_path / "toys")


def test_a_record_without_a_model_stands_beside_those_with_one(
    toys: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = ["count", "noise-ceiling:n_bootstrap=100", "noise-ceiling:kind=pattern,n_bootstrap=100"]
    folder = tmp_path / "records"
    results = run("toy", "toy.V4", metric=metrics, plugins=[toys], records=folder)
    assert [(r["models"], r["status"]) for r in results] == [([], "ok"), ([], "ok"), (["toy"], "ok")]
    first = results[0]
    assert "model" not in first
    assert (first["layer"], first["n_features"], first["n_stimuli"], first["n_neuroids"]) == ("", None, 40, 8)
    json.dumps(first, allow_nan=False)
    again = run([], "toy.V4", metric=metrics[1:], plugins=[toys], records=folder)
    assert [r["cached"] for r in again] == [True, True]
    assert again[0]["score"] == first["score"]
    rows = leaderboard(read_records(folder))
    assert [(r["metric"], r["model"], r["trained"], r.get("n_seeds")) for r in rows] == [
        ("count", "toy", False, None),
        ("noise-ceiling:kind=pattern,n_bootstrap=100", "", None, None),
        ("noise-ceiling:n_bootstrap=100", "", None, None),
    ]
    assert "toy.V4,1,false,noise-ceiling:n_bootstrap=100,1,,,,auto,,ok," in to_csv(rows).replace('"', "")
    print_results(again)
    assert "no ceiling: single trials" not in capsys.readouterr().out
    print_results(results)
    print_leaderboard(rows)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert [f"toy.V4 v1, {metric}" in lines for metric in metrics] == [True, True, True]
    assert lines[lines.index(f"toy.V4 v1, {metrics[1]}") + 3].split()[:2] == ["-", f"{first['score']:.3f}"]
    kept = read_arrays(Store(tmp_path / "cache").predictions_path(first["key"]))
    assert kept is not None
    assert kept[0]["A/anova"].tolist() == first["subjects"]["A"]["neuroids"]["anova"]


def stimuli_of(ids: tuple[str, ...]) -> StimulusSet:
    """Return stimuli whose images nobody will open."""
    return StimulusSet(ids, tuple(Path(f"{i}.png") for i in ids), tuple("0" * 64 for _ in ids))


def benchmark_of(**subjects: tuple[Responses, Splits]) -> BenchmarkSpec:
    return BenchmarkSpec(
        name="apart.V4",
        version=1,
        subjects={
            name: SubjectSpec(
                stimuli=lambda r=responses: stimuli_of(r.stimulus_ids),
                target=lambda r=responses: r,
                splits=lambda _, s=splits: s,
            )
            for name, (responses, splits) in subjects.items()
        },
    )


def run_on(benchmark: BenchmarkSpec, metric: str, folder: Path) -> dict[str, Any]:
    registry = Registry(installed=False)
    cell = Cell((), benchmark, registry.metric(metric), "auto")
    return Runner(registry, Numerics("cpu", "numpy"), folder / "records").run_cell(cell)


def who_saw_different_stimuli() -> dict[str, tuple[Responses, Splits]]:
    """Return three subjects with 10 training stimuli of their own and 30 tested in common."""
    subjects = {}
    for number, name in enumerate("ABC"):
        ids = IDS[10 * number : 10 * number + 10] + IDS[30:]
        trials = trials_of(number, 3 + number)
        whole = Responses(IDS, trials, tuple(f"{name}{j}" for j in range(3 + number)), name, "V4").at(ids)
        subjects[name] = whole, fixed_split(ids[:10], ids[10:])
    return subjects


def test_subjects_who_saw_different_stimuli_are_combined(tmp_path: Path, home: Path) -> None:
    subjects = who_saw_different_stimuli()
    result = run_on(benchmark_of(**subjects), "noise-ceiling:n_bootstrap=100", tmp_path)
    assert result["status"] == "ok", result["error"]
    alone = {name: compute([], *of, n_bootstrap=100) for name, of in subjects.items()}
    for kind in ("anova", "split-half", "paper-pairs", "pattern", "pattern-z"):
        expected = np.mean([score.details["kinds"][kind]["value"] for score in alone.values()])
        assert result["details"]["kinds"][kind]["value"] == pytest.approx(expected), kind
    halves = [score.arrays[f"{name}/paper-halves"] for name, score in alone.items()]
    assert result["details"]["kinds"]["paper-halves"]["value"] == pytest.approx(np.nanmean(np.concatenate(halves)))
    assert result["ci_low"] < result["score"] < result["ci_high"]
    assert (result["n_stimuli"], result["n_neuroids"]) == (30, 12)
    assert "neuroids" not in result["subjects"]["A"], "voxels are thousands: they go to the arrays"
    kept = read_arrays(Store(tmp_path / "cache").predictions_path(result["key"]))
    assert kept is not None
    np.testing.assert_allclose(kept[0]["C/anova"], alone["C"].arrays["C/anova"])
    assert "kind=between-subjects" in result["details"]["absent"]["between-subjects"]


def test_between_subjects_who_saw_different_stimuli_those_in_common_are_predicted(tmp_path: Path, home: Path) -> None:
    subjects = who_saw_different_stimuli()
    metric = "noise-ceiling:between=others,kind=between-subjects,n_bootstrap=100"
    result = run_on(benchmark_of(**subjects), metric, tmp_path)
    assert result["status"] == "ok", result["error"]
    common = IDS[30:]
    joint = Responses(
        common,
        np.concatenate([r.at(common).values for r, _ in subjects.values()], axis=2),
        tuple(n for r, _ in subjects.values() for n in r.neuroid_ids),
        tuple(s for r, _ in subjects.values() for s in r.subjects),
    )
    expected = ceiling(joint, KFold(5).assign(common), kind="between-subjects", between="others")
    assert result["score"] == pytest.approx(expected.value, rel=1e-9)
    assert result["ci_low"] == pytest.approx(expected.ci_low, rel=1e-9)
    (alone,) = [{"A": subjects["A"]}]
    refused = run_on(benchmark_of(**alone), metric, tmp_path)
    assert refused["status"] == "failed"
    assert "1 subjects have 30 test stimuli in common" in refused["error"]


def test_one_subject_has_no_ceiling_between_subjects(tmp_path: Path, home: Path) -> None:
    spec = BenchmarkSpec(
        name="one.V4",
        version=1,
        stimuli=lambda: stimuli_of(IDS),
        target=lambda: recorded(trials_of(1, 3)),
        splits=KFold(3),
    )
    registry = Registry(installed=False)
    cell = Cell((), spec, registry.metric("noise-ceiling:kind=between-subjects,n_bootstrap=100"), "auto")
    runner = Runner(registry, Numerics("cpu", "numpy"), tmp_path / "records")
    result = runner.run_cell(cell)
    assert (result["status"], runner.bad_input) == ("failed", True)
    assert (
        "no noise ceiling of kind between-subjects: there is one subject only (A); there is kind=anova"
        in result["error"]
    )
    score = compute([], recorded(trials_of(1, 3)), FOLDS, kind="between-subjects", n_bootstrap=100)
    assert score.partial
    with pytest.raises(InputError, match="1 subjects have 60 test stimuli in common"):
        combine({"A": score})
