"""Layers and penalties that ``encoding`` chooses on training stimuli, and when it warns about its choice."""

from __future__ import annotations

import numpy as np
import pytest
from encoding_world import N_BOOTSTRAP, held_out, ids, layer, recording, responses_of, rng, run

from benchmark_core.assembly import Responses
from benchmark_core.records import Score
from benchmark_core.ridge import penalty_criteria
from benchmark_core.splits import Fold, KFold, Splits, fixed_split
from plugins.metrics._encoding import compute, score_predictions


def test_layers_are_chosen_on_training_stimuli() -> None:
    x, target = recording(n=80, p=10)
    layers = {
        "early": layer(rng(9).standard_normal((80, 10)), "early"),
        "middle": layer(x, "middle"),
        "copy": layer(x.copy(), "copy"),
    }
    splits = fixed_split(ids(80)[:50], ids(80)[50:])
    score = compute([layers], target, splits, n_bootstrap=N_BOOTSTRAP)
    assert score.layers == (("middle",),)  # better than early, and before its equal
    assert score.details["layers"] == {"A": ["middle"]}
    criteria = score.details["criteria"]["A"][0]
    assert criteria["middle"] == pytest.approx(criteria["copy"])
    assert criteria["early"] < criteria["middle"]
    assert score.value == pytest.approx(run(x, target, splits).value)
    # Test responses that would favour the other layer change neither layer nor penalty.
    values = target.values.copy()
    early = layers["early"].features
    assert early is not None
    values[50:] = (early[50:] @ rng(10).standard_normal((10, 6)))[:, None, :] + 0.1 * values[50:]
    changed = compute([layers], responses_of(values), splits, n_bootstrap=N_BOOTSTRAP)
    assert changed.layers == score.layers
    assert changed.fields["alpha"] == score.fields["alpha"]
    np.testing.assert_array_equal(changed.arrays["predictions"], score.arrays["predictions"])


def test_folds_may_choose_different_layers_and_penalties() -> None:
    random = rng(11)
    x, other = random.standard_normal((40, 5)), random.standard_normal((40, 5))
    trials = np.empty((40, 4, 3))
    trials[:20] = (x[:20] @ random.standard_normal((5, 3)))[:, None, :]
    trials[20:] = (other[20:] @ random.standard_normal((5, 3)))[:, None, :]
    trials += 0.1 * random.standard_normal(trials.shape)
    first, last = ids(40)[:20], ids(40)[20:]
    splits = Splits((Fold(tuple(first), tuple(last)), Fold(tuple(last), tuple(first))))
    score = compute([{"x": layer(x), "other": layer(other)}], responses_of(trials), splits, n_bootstrap=N_BOOTSTRAP)
    assert score.layers == (("x", "other"),)
    assert score.subjects["A"]["layers"] == ["x", "other"]
    assert len(score.details["alphas"]["A"]) == 2


def test_penalty_per_neuroid() -> None:
    random = rng(12)
    x = random.standard_normal((60, 40))
    strong, weak = x @ random.standard_normal(40), x[:, 0] + 10 * random.standard_normal(60)
    target = responses_of(np.stack([strong, weak, np.ones(60)], axis=1))
    splits = fixed_split(ids(60)[:45], ids(60)[45:])
    score = run(x, target, splits, alpha_per_target=True)
    alphas = score.subjects["A"]["alphas_per_neuroid"][0]
    for j in (0, 1):
        alone = run(x, responses_of(target.values[:, [j]]), splits)
        assert alphas[j] == alone.fields["alpha"]
        np.testing.assert_allclose(held_out(score)[:, j], held_out(alone)[:, 0], rtol=1e-6)
    assert alphas[0] < alphas[1]
    assert score.fields["n_neuroids_valid"] == 2


def test_published_criterion_is_kept() -> None:
    x, target = recording(p=40, noise=3.0)
    splits = fixed_split(ids(90)[:60], ids(90)[60:])
    score = run(x, target, splits, selection="paper")
    criteria = penalty_criteria(layer(x).decomposition(ids(90)[:60]), target.averages()[:60], selection="paper").mean(1)
    assert score.details["criteria"]["A"][0]["output"] == pytest.approx(criteria.max())
    assert score.fields["alpha"] == 10.0 ** (np.argmax(criteria) - 10)


def test_near_duplicates_are_held_out_together() -> None:
    """What crops of one photograph share lets leave-one-out memorise photographs with too small a penalty."""
    random = rng(13)
    photographs, crops = 24, 6
    n = photographs * crops
    shared = 0.1 * random.standard_normal((photographs, 100)).repeat(crops, axis=0)
    general = random.standard_normal((n, 4))
    x = np.hstack([general, shared])
    bump = random.standard_normal((photographs, 5)).repeat(crops, axis=0)
    y = general @ random.standard_normal((4, 5)) / 2 + 2 * bump + random.standard_normal((n, 5))
    groups = {i: f"photo{k // crops}" for k, i in enumerate(ids(n))}
    splits = KFold(4).assign(ids(n), [groups[i] for i in ids(n)])
    target = responses_of(y)
    grouped, alone = run(x, target, splits, groups=groups), run(x, target, splits)
    assert grouped.details["criteria"]["A"][0]["output"] < alone.details["criteria"]["A"][0]["output"] - 0.2
    assert min(grouped.details["alphas"]["A"]) > max(alone.details["alphas"]["A"])
    assert grouped.fields["r_neuroid"] > alone.fields["r_neuroid"] + 0.02
    # Resampling whole photographs widens the interval.
    assert grouped.details["standard_error"] > 1.2 * score_predictions_error(grouped, target, splits)


def score_predictions_error(score: Score, target: Responses, splits: Splits) -> float:
    again = score_predictions(held_out(score), target, splits, n_bootstrap=N_BOOTSTRAP)
    error: float = again.details["standard_error"]
    return error


def test_a_fold_with_a_single_group_warns() -> None:
    x, target = recording(n=30)
    groups = {i: f"g{k // 10}" for k, i in enumerate(ids(30))}
    score = run(x, target, KFold(3).assign(ids(30), [groups[i] for i in ids(30)]), groups=groups)
    assert any("single group" in w for w in score.warnings)


def test_a_choice_at_the_edge_of_the_grid_warns() -> None:
    x, target = recording()
    assert not any("edge" in w for w in run(x, target).warnings)
    score = run(x, target, penalties=[1e-10, 1e-9])
    assert "folds 1, 2, 3: penalty 1e-09 chosen lies at the edge of the grid" in score.warnings


def test_a_penalty_that_cannot_mend_lost_directions_warns() -> None:
    x, target = recording(p=200)
    x[5:10] = x[:5]
    score = run(1e3 * x, target, fixed_split(ids(90)[:60], ids(90)[60:]), penalties=[1e-10])
    assert any("may depend on rounding" in w for w in score.warnings)
    assert score.value is not None
