"""The metric ``noise-ceiling`` against formulas, loops and the ceilings that ``encoding`` reports; what it refuses."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_ceiling_world import FOLDS, IDS, N, ceiling, generator, recorded, trials_of
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from benchmark_core import Fold, InputError, KFold, Responses, Score, fixed_split
from benchmark_core.cells import make_plan
from benchmark_core.listing import information
from benchmark_core.registry import Registry
from benchmark_core.reliability import half_means
from benchmark_core.representation import Representation
from benchmark_core.splits import Splits
from plugins.metrics import _encoding
from plugins.metrics._noise_ceiling import UNITS, compute

SPLIT = fixed_split(IDS[:40], IDS[40:])


def kinds(score: Score) -> dict[str, float]:
    return {kind: found["value"] for kind, found in score.details["kinds"].items()}


TWO = recorded(trials_of(1, 5), trials_of(2, 3))


@pytest.fixture(scope="module")
def two() -> Score:
    return ceiling(TWO)


def test_ceilings_are_those_that_encoding_reports(two: Score) -> None:
    features = Representation.from_features(generator(3).standard_normal((N, 4)), IDS)
    encoding = _encoding.compute([{"x": features}], TWO, FOLDS, n_bootstrap=100)
    found = kinds(two)
    assert two.value == found["anova"] == pytest.approx(encoding.fields["ceiling"], rel=1e-12)
    for ours, theirs in (
        ("split-half", "ceiling_split_half"),
        ("pattern", "r_pattern_ceiling"),
        ("pattern-z", "r_pattern_z_ceiling"),
    ):
        assert found[ours] == pytest.approx(encoding.details[theirs], rel=1e-12)
    np.testing.assert_allclose(two.arrays["B/anova"], encoding.subjects["B"]["reliability"], rtol=1e-12)
    assert two.subjects["B"]["neuroids"]["anova"] == two.arrays["B/anova"].tolist()
    assert two.fields["ceiling"] == two.value
    assert (two.fields["n_stimuli"], two.fields["n_neuroids"], two.fields["n_neuroids_valid"]) == (N, 8, 8)


def test_of_all_stimuli_it_is_the_formula_over_all() -> None:
    score = ceiling(TWO, stimuli="all")
    trials = TWO.values
    expected = 1 - (trials.var(axis=1, ddof=1) / 4).mean(axis=0) / trials.mean(axis=1).var(axis=0, ddof=1)
    np.testing.assert_allclose(np.concatenate([score.arrays["A/anova"], score.arrays["B/anova"]]), expected)
    assert score.value == pytest.approx((expected[:5].mean() + expected[5:].mean()) / 2)
    assert score.value != ceiling(TWO).value


def test_a_single_random_split_of_all_stimuli_and_the_root_of_what_it_gives() -> None:
    """The recipe published for MajajHong, with a neuroid of pure noise to be dropped."""
    dead = trials_of(1, 5)
    dead[:, :, 2] = generator(6).standard_normal((N, 4))
    target = recorded(dead, trials_of(2, 3))
    score = ceiling(target, kind="paper-halves", seed=3)
    expected = []
    for values in (target.of_subject("A").values, target.of_subject("B").values):
        (a, b) = next(half_means(values, 1, seed=3))
        expected += [stats.pearsonr(x, y)[0] for x, y in zip(a.T, b.T, strict=True)]
    reliability = 2 * np.array(expected) / (1 + np.array(expected))
    assert reliability[2] < 0
    roots = np.sqrt(reliability[reliability >= 0])
    assert score.value == pytest.approx(roots.mean(), rel=1e-12), "a mean over the neuroids of both subjects"
    assert (score.fields["n_neuroids"], score.fields["n_neuroids_valid"]) == (8, 7)
    assert score.details["kinds"]["paper-halves"]["n_dropped"] == 1
    assert any(w.startswith("1 left out, as published") for w in score.warnings)


def test_correlations_of_single_repetitions_stepped_up() -> None:
    """The recipe published for NSD: three repetitions, k r / (1 + (k - 1) r), its root, means over pairs and voxels."""
    target = recorded(trials_of(1, 4, 3), trials_of(2, 2, 3))
    score = ceiling(target, kind="paper-pairs")
    means = []
    for values in (target.of_subject("A").values, target.of_subject("B").values):
        roots = []
        for i, j in combinations(range(3), 2):
            r = np.array([stats.pearsonr(values[:, i, v], values[:, j, v])[0] for v in range(values.shape[2])])
            roots.append(np.sqrt(3 * r / (1 + 2 * r)))
        means.append(np.mean(roots))
    assert score.value == pytest.approx(np.mean(means), rel=1e-12)
    of_a = score.subjects["A"]["kinds"]["paper-pairs"]
    assert (of_a["k"], of_a["n_pairs"], of_a["n_values"]) == (pytest.approx(3), 3, 12)


def test_rare_repetitions_take_no_part_in_pairs() -> None:
    trials = trials_of(1, 4, 5)
    trials[7:, 3:] = np.nan
    score = ceiling(recorded(trials), kind="paper-pairs")
    found = score.details["kinds"]["paper-pairs"]
    assert found["n_pairs"] == 3
    assert found["k"] == pytest.approx(1 / ((7 / 5 + (N - 7) / 3) / N))


def test_another_subject_as_the_model() -> None:
    """Against scikit-learn: z-scored by training stimuli, the penalty chosen there."""
    score = ceiling(TWO, SPLIT, kind="between-subjects")
    x, y = TWO.of_subject("B").averages(), TWO.of_subject("A").averages()
    scaler = StandardScaler().fit(x[:40])
    train, test = scaler.transform(x[:40]), scaler.transform(x[40:])
    best, expected = -np.inf, None
    for penalty in (float(f"1e{e}") for e in range(-10, 10)):
        held_out = np.empty((40, 5))
        for i in range(40):
            keep = np.arange(40) != i
            held_out[i] = Ridge(penalty).fit(train[keep], y[:40][keep]).predict(train[[i]])[0] - y[:40][keep].mean(
                axis=0
            )
        criterion = np.mean([stats.pearsonr(held_out[:, j], y[:40, j])[0] for j in range(5)])
        if criterion > best + 1e-10:
            best, expected = criterion, Ridge(penalty).fit(train, y[:40]).predict(test)
    assert expected is not None
    r = [stats.pearsonr(expected[:, j], y[40:, j])[0] for j in range(5)]
    np.testing.assert_allclose(score.arrays["A/between-subjects"], r, atol=1e-9)
    features = Representation.from_features(scaler.transform(x), IDS)
    encoding = _encoding.compute([{"B": features}], TWO.of_subject("A"), SPLIT, n_bootstrap=100)
    of_a = score.subjects["A"]["kinds"]["between-subjects"]
    assert of_a["value"] == pytest.approx(encoding.value, rel=1e-9), "its score is that of encoding"
    assert of_a["standard_error"] == pytest.approx(encoding.details["standard_error"], rel=1e-9)
    assert of_a["pairs"]["B"]["r_pattern"] == pytest.approx(encoding.fields["r_pattern"], rel=1e-9)
    assert score.value == pytest.approx(np.mean([s["score"] for s in score.subjects.values()]))
    assert score.fields["r_neuroid"] == pytest.approx(
        np.mean([np.mean(score.arrays[f"{s}/between-subjects"]) for s in "AB"])
    )
    assert 0.3 < score.value < 1.1


def test_three_subjects_in_pairs_and_from_all_others() -> None:
    target = recorded(trials_of(1, 3), trials_of(2, 3), trials_of(3, 3))
    pairs = ceiling(target, SPLIT, kind="between-subjects")
    of_a = pairs.subjects["A"]["kinds"]["between-subjects"]
    assert set(of_a["pairs"]) == {"B", "C"}
    assert of_a["value"] == pytest.approx(np.mean([p["score"] for p in of_a["pairs"].values()]))
    two = recorded(trials_of(1, 3), trials_of(3, 3))
    alone = ceiling(two, SPLIT, kind="between-subjects").subjects["A"]["kinds"]["between-subjects"]["value"]
    assert of_a["pairs"]["C"]["score"] == pytest.approx(alone, rel=1e-9)
    others = ceiling(target, SPLIT, kind="between-subjects", between="others")
    assert set(others.subjects["A"]["kinds"]["between-subjects"]["pairs"]) == {"B + C"}


def test_subjects_are_compared_on_the_stimuli_that_both_saw() -> None:
    one, other = trials_of(1, 4), trials_of(2, 4)
    one[50:], other[:10] = np.nan, np.nan
    score = ceiling(recorded(one, other), SPLIT, kind="between-subjects")
    both = Splits((Fold(IDS[10:40], IDS[40:50]),))
    ids = IDS[10:50]
    target = recorded(trials_of(1, 4), trials_of(2, 4)).at(ids)
    assert score.value == pytest.approx(ceiling(target, both, kind="between-subjects").value, rel=1e-9)
    one[:] = np.nan
    one[:10] = 1.0
    with pytest.raises(InputError, match="A and B have too few stimuli in common"):
        ceiling(recorded(one, other), SPLIT, kind="between-subjects")


def test_no_training_response_of_another_subject_is_scaled_by_test_stimuli() -> None:
    x = trials_of(2, 3)
    before = ceiling(recorded(trials_of(1, 4), x), SPLIT, kind="between-subjects")
    x = x.copy()
    x[59] += 1000.0  # one test stimulus: the others' predictions must not change
    after = ceiling(recorded(trials_of(1, 4), x), SPLIT, kind="between-subjects")
    assert before.subjects["A"]["kinds"]["between-subjects"] != after.subjects["A"]["kinds"]["between-subjects"]
    short = Splits((Fold(IDS[:40], IDS[40:59]),))
    a, b = (
        ceiling(recorded(trials_of(1, 4), values), short, kind="between-subjects").arrays["A/between-subjects"]
        for values in (trials_of(2, 3), x)
    )
    np.testing.assert_array_equal(a, b)


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=5)
def test_invariances(seed: int, scale: float, shift: float) -> None:
    """Nothing depends on the unit of the responses or the order of stimuli."""
    random = generator(4, seed)
    order = random.permutation(N)
    values = TWO.values[:, :, :5]
    changed = scale * values + shift
    before = ceiling(Responses(IDS, values, TWO.neuroid_ids[:5], "A"), n_splits=2)
    after = ceiling(Responses(tuple(IDS[i] for i in order), changed[order], TWO.neuroid_ids[:5], "A"), n_splits=2)
    for kind, value in kinds(before).items():
        assert kinds(after)[kind] == pytest.approx(value, rel=1e-6), kind


def test_intervals_are_bootstrap_standard_errors(two: Score) -> None:
    for kind, found in two.details["kinds"].items():
        assert found["ci_low"] < found["value"] < found["ci_high"], kind
        assert found["ci_high"] - found["ci_low"] == pytest.approx(2 * 1.96 * found["standard_error"]), kind
        centre = (found["ci_high"] + found["ci_low"]) / 2
        assert centre == pytest.approx(found["value"] - found["bias"]), kind
        corrected = kind in ("anova", "split-half", "pattern", "pattern-z")
        assert (abs(found["bias"]) > 1e-9) == corrected, kind
    error = two.details["kinds"]["anova"]["standard_error"]
    errors = [s["kinds"]["anova"]["standard_error"] for s in two.subjects.values()]
    assert 0 < error <= np.mean(errors) + 1e-12, "subjects saw the same stimuli"


def test_groups_are_drawn_together() -> None:
    trials = trials_of(1, 6)
    copies = np.repeat(trials[:12], 5, axis=0)  # five views of each of 12 objects that evoke the same
    groups = {i: f"g{k // 5}" for k, i in enumerate(IDS)}
    splits = KFold(3).assign(IDS, list(groups.values()))
    alone, grouped = (ceiling(recorded(copies), splits, groups=g) for g in (None, groups))
    assert alone.value == grouped.value
    for kind in ("anova", "split-half", "paper-halves", "pattern-z"):
        errors = [s.details["kinds"][kind]["standard_error"] for s in (alone, grouped)]
        assert errors[1] > 1.2 * errors[0], kind
    with pytest.raises(InputError, match="stimulus_id 's001' has no group"):
        ceiling(recorded(copies), splits, groups={k: v for k, v in groups.items() if k != "s001"})


def test_gaps_are_counted_and_odd_repetitions_are_said() -> None:
    trials = trials_of(1, 5, 5)
    trials[:, :, 0] = 2.0
    trials[5, :, 1] = np.nan
    trials[:, 1:, 3] = np.nan
    score = ceiling(recorded(trials), kind="split-half")
    assert score.fields["n_neuroids_valid"] == 3
    assert score.details["kinds"]["anova"]["n_neuroids_valid"] == 3
    assert score.subjects["A"]["repetitions"] == {"fewest": 5, "median": 5.0, "most": 5, "odd": 1.0}
    assert any("100 % of the stimuli have an odd number" in w for w in score.warnings)
    assert not ceiling(recorded(trials)).warnings
    nothing = ceiling(recorded(np.ones((N, 4, 2))))
    assert nothing.value is None
    assert "nothing varies" in nothing.warnings[0]


def test_averages_have_only_the_ceilings_they_come_with() -> None:
    averages = trials_of(1, 4).mean(axis=1)
    given_ones = np.array([0.25, 0.81, -0.04, np.nan])
    target = recorded(averages, reliability=given_ones)
    with pytest.raises(InputError, match=r"of kind anova: the responses are averages.*there is kind=given$"):
        ceiling(target)
    score = ceiling(target, kind="given")
    assert score.value == score.fields["ceiling"] == pytest.approx((0.25 + 0.81 - 0.04) / 3)
    assert (score.ci_low, score.ci_high) == (None, None)
    found = score.details["kinds"]["given"]
    assert (found["r"], found["n_negative"], found["n_neuroids_valid"]) == (pytest.approx(0.7), 1, 3)
    assert set(score.details["absent"]) == set(UNITS) - {"given"}
    with pytest.raises(InputError, match="the data come with no reliabilities of their own"):
        ceiling(TWO, kind="given")
    both = recorded(averages, trials_of(2, 3).mean(axis=1))
    assert ceiling(both, kind="between-subjects").value is not None
    with pytest.raises(InputError, match="nor is there one of another kind"):
        ceiling(recorded(averages))


def test_single_repetitions_of_the_tested_stimuli_suffice() -> None:
    trials = trials_of(1, 4, 3)
    held = recorded(trials).at(IDS[40:])
    averages = Responses(IDS, trials.mean(axis=1), held.neuroid_ids, held.subjects, "V4", trials=held)
    whole, apart = (ceiling(t, SPLIT) for t in (recorded(trials), averages))
    assert kinds(apart)["anova"] == pytest.approx(kinds(whole)["anova"])
    for kind in ("split-half", "pattern", "pattern-z"):  # halves are drawn anew for other stimuli
        assert kinds(apart)[kind] == pytest.approx(kinds(whole)[kind], abs=0.02), kind
    assert apart.details["kinds"]["paper-pairs"]["n_stimuli"] == 20
    other = Splits((Fold(IDS[:30], IDS[30:]),))
    with pytest.raises(InputError, match=r"not at hand for all test stimuli \(stimuli=all takes those that are\)"):
        ceiling(averages, other)
    assert kinds(ceiling(averages, other, stimuli="all"))["anova"] == pytest.approx(
        kinds(ceiling(held, Splits((Fold(IDS[40:50], IDS[50:]),)), stimuli="all"))["anova"]
    )


def test_bad_input() -> None:
    with pytest.raises(InputError, match="of kind anova: no stimulus was shown twice"):
        ceiling(recorded(trials_of(1, 4)[:, :1]))
    with pytest.raises(InputError, match="the metric noise-ceiling takes no model"):
        compute([{}], TWO, FOLDS)
    registry = Registry(installed=False)
    for benchmark, kind in (("kriegeskorte92.hIT", "rdms"), ("scenes15.test", "labels")):
        with pytest.raises(
            InputError, match=f"noise-ceiling cannot score {benchmark}: it accepts responses, not {kind}"
        ):
            make_plan(registry, [], [benchmark], "noise-ceiling")


def test_its_example_names_no_model() -> None:
    example = information(Registry(installed=False), "noise-ceiling")["example"]
    assert example == "bench run --benchmark simulated.V4 --metric noise-ceiling"
