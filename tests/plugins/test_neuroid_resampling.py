"""Intervals over neuroids and subjects against formulas and direct resampling."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark_core.assembly import Responses
from benchmark_core.records import Score
from benchmark_core.splits import KFold, fixed_split
from plugins.metrics._encoding import score_predictions
from plugins.metrics._neuroid_resampling import RESAMPLE, Deviations, NeuroidDraws, Resample, over_subjects
from plugins.metrics.encoding import register_metrics

N, M = 90, 20
IDS = tuple(f"s{i:02d}" for i in range(N))
SPLITS = fixed_split(IDS[:30], IDS[30:])


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def population(subjects: int = 1, seed: int = 0, trials: bool = True) -> tuple[np.ndarray, Responses]:
    """Predictions, some good and some bad, and responses."""
    random = rng(seed)
    rates = random.standard_normal((N, M))
    predictions = rates * random.uniform(0, 2, M) + random.standard_normal((N, M))
    values = rates[:, None, :] + random.standard_normal((N, 3, M))
    names = tuple(f"M{j * subjects // M}" for j in range(M))
    return predictions, Responses(
        IDS, values if trials else values.mean(axis=1), tuple(f"n{j}" for j in range(M)), names
    )


def scored(resample: Resample, subjects: int = 1, folds: bool = False, trials: bool = True, n: int = 1000) -> Score:
    predictions, target = population(subjects, trials=trials)
    splits = KFold(5).assign(IDS) if folds else SPLITS
    return score_predictions(predictions, target, splits, n_bootstrap=n, resample=resample)


def error_of(score: Score) -> float:
    return float(score.details["standard_error"])


def test_the_parameter_has_all_schemes() -> None:
    (parameter,) = (p for p in register_metrics()[0].parameters if p.name == "resample")
    assert (parameter.choices, parameter.default) == (RESAMPLE, "stimuli")


@pytest.mark.parametrize("subjects", [1, 2])
def test_only_the_interval_depends_on_what_is_resampled(subjects: int) -> None:
    default = scored("stimuli", subjects)
    for resample in ("neuroids", "both", "hierarchical"):
        score = scored(resample, subjects)
        assert score.value == default.value
        assert score.fields == default.fields
        assert score.details["bias"] == default.details["bias"]
        assert score.details["r_pattern_ci"] == default.details["r_pattern_ci"]
        assert score.details["resampled"] == resample
        assert error_of(score) != error_of(default)
        assert score.resamples_key != default.resamples_key
        assert score.resamples is not None
        assert score.resamples.std(ddof=1) == pytest.approx(error_of(score))
        assert score.ci_high == pytest.approx(score.value + 1.96 * error_of(score))
    assert "resampled" not in default.details


@pytest.mark.parametrize("trials", [True, False])
def test_neuroids_alone_give_the_error_of_a_ratio_of_sums(trials: bool) -> None:
    """The delta method: residuals of the numerator about ratio x denominator, over the sum of the denominator."""
    score = scored("neuroids", trials=trials, n=4000)
    r = np.array(score.subjects["M0"]["r"], dtype=float)
    reliable = np.array(score.subjects["M0"]["reliability"], dtype=float) if trials else np.ones(M)
    ratio = (np.sign(r) * r**2).sum() / reliable.sum()
    expected = np.sqrt(((np.sign(r) * r**2 - ratio * reliable) ** 2).sum()) / reliable.sum()
    assert error_of(score) == pytest.approx(expected, rel=0.06)
    assert score.details["r_neuroid_standard_error"] == pytest.approx(r.std() / np.sqrt(M), rel=0.06)
    assert score.subjects["M0"]["standard_error"] == pytest.approx(error_of(score))


def test_both_is_wider_than_either_and_no_more_than_their_sum() -> None:
    stimuli, neuroids, both = (error_of(scored(s)) for s in ("stimuli", "neuroids", "both"))
    assert both > max(stimuli, neuroids)
    assert both == pytest.approx(np.hypot(stimuli, neuroids), rel=0.15)


def test_folds_widen_what_comes_from_stimuli_only() -> None:
    stimuli, neuroids, both = (error_of(scored(s, folds=True)) for s in ("stimuli", "neuroids", "both"))
    assert both == pytest.approx(np.hypot(stimuli, neuroids), rel=0.15)
    r = np.array(scored("neuroids", folds=True).subjects["M0"]["r"], dtype=float)
    assert scored("neuroids", folds=True).details["r_neuroid_standard_error"] == pytest.approx(
        r.std() / np.sqrt(M), rel=0.1
    )


def test_sums_are_those_of_drawn_copies() -> None:
    random = rng(3)
    valid = np.array([True, True, False, True, True])
    draws = NeuroidDraws("hierarchical", [f"n{j}" for j in range(5)], valid, 50, 0)
    e, share, r = random.random((50, 5)), random.random((50, 5)) + 1, random.random((50, 5))
    r[:, 2] = np.nan
    for block in (np.array([0, 1]), np.array([2, 3, 4])):
        draws.add(block, np.where(valid, e, 0)[:, block], np.where(valid, share, 0)[:, block], r[:, block])
    found = draws.statistics()
    assert (draws.counts.sum(axis=2) == 4).all()
    assert (draws.counts[:, :, 2] == 0).all()
    assert not np.array_equal(draws.counts[0], draws.counts[1])
    for number, resample in ((0, 0), (3, 49)):
        copies = np.repeat(np.arange(5), draws.counts[number, resample])
        ratio = e[resample, copies].sum() / share[resample, copies].sum()
        assert found["score"][number, resample] == pytest.approx(ratio)
        assert found["r_neuroid"][number, resample] == pytest.approx(r[resample, copies].mean())


def test_subjects_are_drawn_whole() -> None:
    """Without any other deviation: the bootstrap's error of a mean of six numbers."""
    values = {f"M{i}": v for i, v in enumerate(rng(5).standard_normal(6))}
    still = Deviations(np.zeros(20_000), np.zeros((4, 20_000)))
    found = over_subjects(dict.fromkeys(values, still), values, "key")
    assert found.mean() == pytest.approx(0, abs=1e-12)
    assert found.std() == pytest.approx(np.std(list(values.values())) / np.sqrt(6), rel=0.03)


def test_draws_of_one_subject_are_independent() -> None:
    """Neuroids of equal subjects: the error of their mean is that of one, over the root of their number."""
    random = rng(6)
    parts = {f"M{i}": Deviations(np.zeros(20_000), random.standard_normal((4, 20_000))) for i in range(4)}
    found = over_subjects(parts, dict.fromkeys(parts, 0.3), "key")
    assert found.std() == pytest.approx(0.5, rel=0.03)
    shared = random.standard_normal(20_000)  # stimuli are common to all subjects
    parts = {name: Deviations(shared, np.zeros((4, 20_000))) for name in parts}
    assert over_subjects(parts, dict.fromkeys(parts, 0.3), "key").std() == pytest.approx(1, rel=0.03)


def test_few_subjects_are_a_warning() -> None:
    assert any("a single subject" in w for w in scored("hierarchical", 1).warnings)
    assert any("2 subjects" in w for w in scored("hierarchical", 2).warnings)
    assert scored("both", 2).warnings == scored("stimuli", 2).warnings
