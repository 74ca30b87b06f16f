"""Conventions side by side, and the optimism of choosing on test stimuli, each against a direct formula."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from benchmark_core.assembly import Responses
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.splits import KFold, fixed_split
from plugins.metrics._combination import combine_subjects
from plugins.metrics._encoding import compute, score_predictions

N = 90
IDS = [f"s{i:03d}" for i in range(N)]
FOLDS = KFold(3).assign(IDS)
FIXED = fixed_split(IDS[:60], IDS[60:])
PENALTIES = [10.0**e for e in range(-2, 6)]


def rows(ids: Any) -> list[int]:
    return [int(i[1:]) for i in ids]


def random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key))


def population(m: int = 7, seed: int = 0, subjects: Any = "A") -> tuple[np.ndarray, Responses]:
    """Return rates (n, m) and responses to them; the last neuroid responds to nothing."""
    draws = random(seed, m)
    rates = draws.standard_normal((N, m)) * np.r_[np.linspace(0.4, 2, m - 1), 0]
    values = rates[:, None, :] + draws.standard_normal((N, 4, m)) + 3
    return rates + 3, Responses(tuple(IDS), values, tuple(f"n{j}" for j in range(m)), subjects, "V4")


@pytest.mark.parametrize("splits", [FOLDS, FIXED])
def test_each_convention_is_its_formula(splits: Any) -> None:
    rates, target = population()
    guess = rates + 0.7 * random(5).standard_normal(rates.shape)
    found = score_predictions(guess, target, splits, n_bootstrap=100)
    of = found.subjects["A"]
    y = target.averages()
    tests = [rows(fold.test) for fold in splits.folds]
    r = np.mean([[stats.pearsonr(guess[t, j], y[t, j])[0] for j in range(7)] for t in tests], axis=0)
    errors = sum(((y[t] - guess[t]) ** 2).sum(axis=0) for t in tests)
    squares = sum(((y[t] - y[t].mean(axis=0)) ** 2).sum(axis=0) for t in tests)
    explained = 1 - errors / squares
    c, rho = (np.array(of[name], dtype=float) for name in ("reliability_split_half", "reliability"))
    has_ceiling, reliable = c >= 0.1, rho >= 0.1
    assert 0 < has_ceiling.sum() < 7
    ratio = r[has_ceiling] / c[has_ceiling]
    expected = {
        "r_neuroid": r,
        "r2_over_ceiling": r[has_ceiling] ** 2 / c[has_ceiling],
        "r_over_ceiling_squared": ratio**2,
        "R2": explained,
        "noise_corrected_R2": explained[reliable] / rho[reliable],
    }
    for name, values in expected.items():
        for suffix, function in (("mean", np.mean), ("median", np.median)):
            for place in (of["conventions"], found.details["conventions"]):
                assert place[f"{name}_{suffix}"] == pytest.approx(function(values)), name
    assert explained[-1] < 0, "negative ones are kept"
    assert of["conventions"]["n_neuroids_ceiling"] == has_ceiling.sum()
    assert of["conventions"]["n_neuroids_reliable"] == reliable.sum()
    assert of["conventions"]["r_neuroid_median"] == pytest.approx(found.fields["r_neuroid_median"])


def test_r2_is_that_of_scikit_learn() -> None:
    rates, target = population()
    found = score_predictions(rates, target, FIXED, n_bootstrap=100)
    direct = r2_score(target.averages()[60:], rates[60:], multioutput="raw_values")
    assert found.details["conventions"]["R2_mean"] == pytest.approx(direct.mean())


def test_a_perfect_model_explains_what_can_be_explained() -> None:
    rates, target = population(m=41, seed=3)
    conventions = score_predictions(rates, target, FOLDS, n_bootstrap=100).details["conventions"]
    assert conventions["noise_corrected_R2_median"] == pytest.approx(1, abs=0.05)
    assert conventions["r2_over_ceiling_median"] == pytest.approx(1, abs=0.05)
    assert conventions["r_over_ceiling_squared_median"] > 1.1, "this one takes the model to be as noisy as the neuroid"


def test_without_repetitions_only_what_needs_none_is_there() -> None:
    rates, target = population()
    means = Responses(tuple(IDS), target.averages(), target.neuroid_ids, "A", "V4")
    conventions = score_predictions(rates, means, FOLDS, n_bootstrap=100).details["conventions"]
    assert conventions["R2_mean"] is not None
    for name in ("r2_over_ceiling_mean", "r_over_ceiling_squared_median", "noise_corrected_R2_mean"):
        assert conventions[name] is None
    assert conventions["n_neuroids_ceiling"] == conventions["n_neuroids_reliable"] == 0


def test_missing_and_constant_responses_are_left_out() -> None:
    rates, target = population()
    values = target.values.copy()
    values[::4, :, 0] = np.nan
    values[:, :, 1] = 2.0
    found = score_predictions(
        rates, Responses(tuple(IDS), values, target.neuroid_ids, "A", "V4"), FIXED, n_bootstrap=100
    )
    y = values.mean(axis=1)
    kept = [i for i in range(60, N) if i % 4]
    direct = [r2_score(y[kept, 0], rates[kept, 0])] + [r2_score(y[60:, j], rates[60:, j]) for j in range(2, 7)]
    assert found.details["conventions"]["R2_mean"] == pytest.approx(np.mean(direct))


def test_subjects_are_averaged_and_counts_are_summed() -> None:
    rates, target = population(subjects=("A",) * 3 + ("B",) * 4)
    found = score_predictions(rates, target, FOLDS, n_bootstrap=100)
    of = [found.subjects[s]["conventions"] for s in "AB"]
    for name, value in found.details["conventions"].items():
        total = sum(one[name] for one in of)
        assert value == pytest.approx(total if name.startswith("n_") else total / 2), name
    apart = {
        s: score_predictions(rates[:, cut], target.of_subject(s), FOLDS, n_bootstrap=100)
        for s, cut in (("A", slice(0, 3)), ("B", slice(3, 7)))
    }
    assert combine_subjects(apart).details["conventions"] == pytest.approx(found.details["conventions"])


def encode(layers: dict[str, np.ndarray], target: Responses, **options: Any) -> Score:
    held = {name: Representation.from_features(x, IDS, name) for name, x in layers.items()}
    return compute([held], target, FOLDS, **{"n_bootstrap": 100, "penalties": PENALTIES, "optimism": True, **options})


def layers_of(rates: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    draws = random(seed, 11)
    mixed = rates @ draws.standard_normal((rates.shape[1], 30)) * np.logspace(0, -2, 30)
    return {name: mixed + draws.standard_normal((N, 30)) for name in ("early", "late")}


@pytest.mark.parametrize("per_target", [False, True])
@pytest.mark.parametrize("choose", [False, True])
def test_optimism_is_what_fits_chosen_on_test_report(per_target: bool, choose: bool) -> None:
    rates, target = population()
    layers = layers_of(rates)
    found = encode(layers, target, alpha_per_target=per_target, choose_components=choose)
    y = target.averages()
    best = []
    for fold in FOLDS.folds:
        train, test = rows(fold.train), rows(fold.test)
        candidates: list[np.ndarray] = []
        for x, k in itertools.product(layers.values(), (1, 10, 30) if choose else (30,)):
            axes = np.linalg.svd(x[train] - x[train].mean(axis=0), full_matrices=False)[2][:k].T
            table = []
            for penalty in PENALTIES:
                guess = Ridge(penalty).fit(x[train] @ axes, y[train]).predict(x[test] @ axes)
                table.append([stats.pearsonr(guess[:, j], y[test, j])[0] for j in range(7)])
            candidates += [np.max(table, axis=0)] if per_target else list(np.array(table))
        best.append(max(candidates, key=np.mean))
    expected = np.mean(best)
    assert found.details["r_neuroid_chosen_on_test"] == pytest.approx(expected, abs=1e-8)
    assert found.details["optimism"] == pytest.approx(expected - found.fields["r_neuroid"], abs=1e-8)
    assert found.details["optimism"] > 0
    assert len(found.subjects["A"]["chosen_on_test"]) == 3


def test_optimism_changes_nothing_else() -> None:
    rates, target = population()
    layers = layers_of(rates)
    found, plain = encode(layers, target), encode(layers, target, optimism=False)
    assert (found.value, found.ci_low, found.fields) == (plain.value, plain.ci_low, plain.fields)
    assert "optimism" not in plain.details


def test_features_without_information_look_better_chosen_on_test() -> None:
    _, target = population()
    x = {f"layer {i}": random(7, i).standard_normal((N, 20)) for i in range(3)}
    found = encode(x, target)
    assert found.details["optimism"] > 0.02
    assert abs(found.fields["r_neuroid"]) < 0.15
