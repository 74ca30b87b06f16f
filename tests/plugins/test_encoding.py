"""The metric ``encoding``, from representations to scores."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from encoding_world import N_BOOTSTRAP, held_out, ids, layer, recording, responses_of, rng, run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn.linear_model import Ridge

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.representation import Representation
from benchmark_core.resampling import resample_counts
from benchmark_core.ridge import penalty_criteria
from benchmark_core.splits import KFold, Splits, fixed_split
from plugins.metrics._encoding import compute, score_predictions


def test_every_field_of_the_contract_is_there_and_plain() -> None:
    x, target = recording()
    score = run(x, target)
    assert score.value is not None
    assert score.ci_low is not None
    assert score.ci_high is not None
    assert score.ci_low < score.value < score.ci_high
    assert set(score.fields) == {
        "r_neuroid",
        "r_neuroid_median",
        "r_pattern",
        "ceiling",
        "alpha",
        "n_neuroids_valid",
        "n_neuroids",
        "n_stimuli",
    }
    assert score.fields["n_neuroids_valid"] == score.fields["n_neuroids"] == 6
    assert score.fields["n_stimuli"] == score.details["n_stimuli_total"] == 90
    for name in (
        "score_median",
        "n_score_median",
        "r_pattern_intercept",
        "r_pattern_z",
        "r_pattern_ceiling",
        "r_pattern_z_ceiling",
        "ceiling_split_half",
        "bias",
        "standard_error",
        "r_neuroid_ci",
    ):
        assert score.details[name] is not None, name
    for name in ("score", "ci_low", "ci_high", "r_neuroid", "ceiling", "alphas", "r", "reliability", "layers"):
        assert score.subjects["A"][name] is not None, name
    json.dumps([score.fields, score.details, score.subjects, score.layers], allow_nan=False)
    assert score.layers == (("output",),)
    assert score.arrays["predictions"].dtype == np.float32
    assert score.arrays["predictions"].shape == (90, 6)
    np.testing.assert_array_equal(score.arrays["stimulus"], np.arange(90))


@pytest.mark.parametrize("p", [12, 200])
def test_correlations_and_penalties_equal_those_of_scikit_learn(p: int) -> None:
    x, target = recording(p=p, noise=4.0)
    x = x * np.logspace(0, -2, p)  # the last features are small and useless: worth a penalty
    splits = KFold(3, seed=2).assign(ids(90))
    penalties = [10.0**e for e in range(-3, 6)]
    score = run(x, target, splits, penalties=penalties)
    assert any(1e-3 < alpha < 1e5 for alpha in score.subjects["A"]["alphas"])
    y = target.averages()
    r = []
    for fold, alpha in zip(splits.folds, score.subjects["A"]["alphas"], strict=True):
        train, test = ([int(i[1:]) for i in part] for part in (fold.train, fold.test))
        criteria = []
        for penalty in penalties:
            d = np.empty((len(train), 6))
            for k in range(len(train)):
                keep = train[:k] + train[k + 1 :]
                model = Ridge(penalty, solver="cholesky").fit(x[keep], y[keep])
                d[k] = model.predict(x[[train[k]]])[0] - y[keep].mean(0)
            criteria.append(np.mean([stats.pearsonr(d[:, j], y[train, j])[0] for j in range(6)]))
        assert alpha == penalties[int(np.argmax(criteria))]
        predicted = Ridge(alpha).fit(x[train], y[train]).predict(x[test])
        np.testing.assert_allclose(held_out(score)[test], predicted, rtol=1e-5, atol=1e-6)
        r.append([stats.pearsonr(predicted[:, j], y[test, j])[0] for j in range(6)])
    np.testing.assert_allclose(score.subjects["A"]["r"], np.mean(r, axis=0), rtol=1e-7)
    assert score.fields["r_neuroid"] == pytest.approx(np.mean(r))
    assert score.fields["r_neuroid_median"] == pytest.approx(np.median(np.mean(r, axis=0)))


@pytest.mark.parametrize("k", [1, 3])
def test_score_follows_the_definition(k: int) -> None:
    """The headline, its correction and its interval, by resampled copies."""
    _, target = recording(seed=3, n=48)
    splits = KFold(3).assign(ids(48)) if k == 3 else fixed_split(ids(48)[:28], ids(48)[28:])
    predictions = target.averages() + rng(4).standard_normal((48, 6))
    score = score_predictions(predictions, target, splits, n_bootstrap=100, seed=7)

    def parts(rows_of_folds: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return r, mean noise and variance about the mean of the fold."""
        r, noise, squares, total = [], 0.0, 0.0, 0
        for rows in rows_of_folds:
            y, trials = target.averages()[rows], target.values[rows]
            r.append([stats.pearsonr(predictions[rows, j], y[:, j])[0] for j in range(6)])
            noise = noise + (trials.var(axis=1, ddof=1) / trials.shape[1]).sum(0)
            squares = squares + ((y - y.mean(0)) ** 2).sum(0)
            total += len(rows)
        return np.mean(r, axis=0), np.asarray(noise / total), np.asarray(squares / (total - len(rows_of_folds)))

    def ratio(r: np.ndarray, noise: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return np.asarray((np.sign(r) * r**2).sum(axis=-1) / (1 - noise / variance).sum(axis=-1))

    test = [np.array([int(i[1:]) for i in f.test]) for f in splits.folds]
    counts = [resample_counts(f.test, 100, 7).astype(int) for f in splits.folds]
    r, noise, variance = parts(test)
    estimate = float(ratio(r, noise, variance))
    resampled = [parts([np.repeat(t, c[b]) for t, c in zip(test, counts, strict=True)]) for b in range(100)]
    rs, noises, variances = (np.array([found[i] for found in resampled]) for i in range(3))
    draws = ratio(rs, noises, variances * variance / variances.mean(axis=0))
    assert score.details["score_uncorrected"] == pytest.approx(estimate, rel=1e-9)
    assert score.value == pytest.approx(2 * estimate - draws.mean(), rel=1e-9)
    error = draws.std(ddof=1) * (np.sqrt(1 + k / (k - 1)) if k > 1 else 1)
    assert score.details["standard_error"] == pytest.approx(error, rel=1e-9)
    assert score.ci_low == pytest.approx(score.value - 1.96 * error, rel=1e-9)
    assert score.ci_high == pytest.approx(score.value + 1.96 * error, rel=1e-9)


@pytest.mark.parametrize("repetitions", [5, 0])
def test_a_constant_model_scores_exactly_zero(repetitions: int) -> None:
    _, target = recording()
    if not repetitions:
        target = responses_of(target.averages())
    for score in (
        run(np.full((90, 7), 0.1), target),
        run(np.full((90, 700), 0.1), target),
        score_predictions(np.full((90, 6), 0.1), target, KFold(3).assign(ids(90)), n_bootstrap=100),
    ):
        assert score.value == 0
        assert score.ci_low == score.ci_high == 0
        assert score.fields["r_neuroid"] == 0
        assert score.fields["n_neuroids_valid"] == 6
        assert np.signbit(score.value) == np.False_


def test_averages_alone_have_no_ceiling_and_divide_by_the_number_of_neuroids() -> None:
    x, target = recording()
    score = run(x, responses_of(target.averages()))
    assert score.fields["ceiling"] is None
    assert score.subjects["A"]["reliability"] is None
    assert score.details["score_median"] is None
    r = np.array(score.subjects["A"]["r"])
    assert score.details["score_uncorrected"] == pytest.approx((np.sign(r) * r**2).mean())
    assert score.value is not None


def test_responses_without_signal_have_no_score() -> None:
    nulls = 0
    for seed in range(20):
        trials = rng(5, seed).standard_normal((60, 4, 8))
        score = run(rng(6, seed).standard_normal((60, 3)), responses_of(trials))
        nulls += score.value is None
        if score.value is None:
            assert score.ci_low is None
            assert any("summed reliability includes 0" in w for w in score.warnings)
            assert score.fields["r_neuroid"] is not None
    assert nulls >= 18


def test_a_neuroid_without_responses_is_counted_and_the_rest_scored_as_before() -> None:
    x, target = recording()
    before = run(x, target)
    values = np.concatenate([target.values, np.full((90, 5, 1), np.nan)], axis=2)
    after = run(x, responses_of(values))
    assert after.value == pytest.approx(before.value, rel=1e-12)
    assert after.fields["n_neuroids_valid"] == 6
    assert after.fields["n_neuroids"] == 7
    assert after.details["excluded"] == {"no responses": 1}
    assert after.subjects["A"]["excluded_neuroids"] == {"n6": "no responses"}
    assert after.subjects["A"]["r"][6] is None
    assert np.isnan(after.arrays["predictions"][:, 6]).all()


@pytest.mark.parametrize("alpha_per_target", [False, True])
def test_a_neuroid_with_missing_stimuli_is_fitted_on_those_it_has(alpha_per_target: bool) -> None:
    x, target = recording(p=30)
    values = target.values.copy()
    missing = rng(7).permutation(90)[:25]
    values[missing, :, 2] = np.nan
    splits = fixed_split(ids(90)[:60], ids(90)[60:])
    score = run(x, responses_of(values), splits, alpha_per_target=alpha_per_target)
    alpha = score.subjects["A"]["alphas_per_neuroid"][0][2] if alpha_per_target else score.fields["alpha"]
    y = responses_of(values).averages()[:, 2]
    train = np.array([i for i in range(60) if np.isfinite(y[i])])
    test = np.array([i for i in range(60, 90) if np.isfinite(y[i])])
    predicted = Ridge(alpha).fit(x[train], y[train]).predict(x)
    assert score.subjects["A"]["r"][2] == pytest.approx(stats.pearsonr(predicted[test], y[test])[0], rel=1e-8)
    np.testing.assert_allclose(held_out(score)[:, 2], predicted[60:], rtol=1e-5)
    assert score.fields["n_neuroids_valid"] == 6


def test_constant_and_too_sparse_neuroids_are_named() -> None:
    x, target = recording(n=30)
    values = target.values.copy()
    values[:, :, 0] = 2.0
    values[2:, :, 1] = np.nan
    values[:, 1:, 2] = np.nan
    score = run(x, responses_of(values))
    assert score.subjects["A"]["excluded_neuroids"] == {
        "n0": "constant response",
        "n1": "too few training stimuli",
        "n2": "no repetitions",
    }
    assert score.fields["n_neuroids_valid"] == 4
    assert score.details["n_neuroids_scored"] == 3
    assert score.value is not None


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), wide=st.booleans())
def test_invariances(seed: int, wide: bool) -> None:
    """Rotating or translating features, and the order of images, rows or both, change nothing."""
    random = rng(8, seed)
    n, p = 45, 60 if wide else 5
    x, target = recording(seed, n=n, p=p, m=4)
    base = run(x, target)
    rotation = np.linalg.qr(random.standard_normal((p, p)))[0]
    rotated = run(x @ rotation + 5 * random.standard_normal(p), target)
    names = np.array(ids(n))
    a, b = random.permutation(n), random.permutation(n)
    shuffled = compute(
        [{"output": Representation.from_features(x[a], names[a])}],
        Responses(tuple(names[b]), target.values[b], target.neuroid_ids, target.subjects, "V4"),
        KFold(3).assign(list(names[random.permutation(n)])),
        n_bootstrap=N_BOOTSTRAP,
    )
    neuroids = random.permutation(4)
    permuted = run(x, responses_of(target.values[:, :, neuroids]))
    for other in (rotated, shuffled, permuted):
        assert other.value == pytest.approx(base.value, abs=1e-7)
        assert other.ci_low == pytest.approx(base.ci_low, abs=1e-7)
        assert other.fields["r_pattern"] == pytest.approx(base.fields["r_pattern"], abs=1e-7)
        assert other.fields["alpha"] == base.fields["alpha"]
    np.testing.assert_allclose(
        np.array(permuted.subjects["A"]["r"]), np.array(base.subjects["A"]["r"])[neuroids], atol=1e-9
    )


def test_mismatched_stimuli_are_named() -> None:
    x, target = recording(n=30)
    splits = KFold(3).assign(ids(30))
    fewer = target.at(ids(30)[:-1])
    with pytest.raises(InputError, match="'s0029' missing"):
        compute([{"output": layer(x)}], fewer, splits)
    with pytest.raises(InputError, match="'s0029' not in the stimulus set"):
        compute([{"output": layer(x[:-1])}], target, splits)
    with pytest.raises(InputError, match="'s0007' has no group"):
        run(x, target, groups={i: "g" for i in ids(30) if i != "s0007"})
    with pytest.raises(InputError, match="the splits name stimulus_id 'nowhere'"):
        run(x, target, fixed_split(["nowhere", *ids(30)[:20]], ids(30)[20:]))
    with pytest.raises(InputError, match="the splits name stimulus_id 'nowhere'"):
        score_predictions(np.zeros((30, 6)), target, fixed_split(["nowhere", *ids(30)[:20]], ids(30)[20:]))
    with pytest.raises(InputError, match="one model"):
        compute([{"output": layer(x)}] * 2, target, splits)
    with pytest.raises(InputError, match="expected \\(30, 6\\)"):
        score_predictions(np.zeros((30, 5)), target, splits)


def test_subjects_are_scored_apart_and_averaged() -> None:
    x, one = recording(1, m=4)
    _, two = recording(2, m=9)
    splits = KFold(3).assign(ids(90))
    both = responses_of(np.concatenate([one.values, two.values], axis=2), ("A",) * 4 + ("B",) * 9)
    score, a, b = run(x, both, splits), run(x, one, splits), run(x, two, splits)
    assert a.value is not None
    assert b.value is not None
    assert score.value == pytest.approx((a.value + b.value) / 2)
    for name in ("r_neuroid", "r_neuroid_median", "r_pattern", "ceiling"):
        assert score.fields[name] == pytest.approx((a.fields[name] + b.fields[name]) / 2), name
    assert score.subjects["B"]["score"] == pytest.approx(b.value)
    assert score.subjects["B"]["ci_low"] == pytest.approx(b.ci_low)
    assert score.fields["n_neuroids"] == 13
    # Shared resamples: the error of the mean is not that of independent subjects in general, but is bounded by both.
    assert score.details["standard_error"] <= max(a.details["standard_error"], b.details["standard_error"])
    own = Splits(splits.folds, {"B": KFold(2).assign(ids(90)).folds})
    mixed = run(x, both, own)
    assert mixed.subjects["A"]["score"] == pytest.approx(a.value)
    assert len(mixed.subjects["B"]["alphas"]) == 2


def test_pattern_correlations() -> None:
    x, target = recording(n=60)
    splits = fixed_split(ids(60)[:40], ids(60)[40:])
    score = run(x, target, splits)
    y, predicted = target.averages(), held_out(score)
    mean, spread = y[:40].mean(0), y[:40].std(0)
    rows = range(20)
    assert score.fields["r_pattern"] == pytest.approx(
        np.mean([stats.pearsonr(predicted[i], y[40 + i])[0] for i in rows]), rel=1e-5
    )
    assert score.details["r_pattern_intercept"] == pytest.approx(
        np.mean([stats.pearsonr(mean, y[40 + i])[0] for i in rows])
    )
    assert score.details["r_pattern_z"] == pytest.approx(
        np.mean([stats.pearsonr((predicted[i] - mean) / spread, (y[40 + i] - mean) / spread)[0] for i in rows]),
        rel=1e-5,
    )


def test_one_neuroid_has_no_pattern() -> None:
    x, target = recording(m=1)
    score = run(x, target)
    assert score.fields["r_pattern"] is None
    assert score.details["r_pattern_ceiling"] is None
    assert score.value is not None


def test_the_plugin_module_is_light() -> None:
    code = (
        "import sys, plugins.metrics.encoding as e; (spec,) = e.register_metrics(); "
        "heavy = {'numpy', 'torch', 'pandas', 'xarray', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy; print(spec.name, *[p.name for p in spec.parameters])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True
    )
    name, *parameters = done.stdout.split()
    assert name == "encoding"
    assert parameters[:6] == [
        "alpha_per_target",
        "selection",
        "components",
        "choose_components",
        "standardise",
        "optimism",
    ]


@pytest.mark.real
def test_real_pixels(real_data: Path) -> None:
    """0..255 grey pixels and V4: no penalty of 1e-10, and the figures that other programs find."""
    folder = real_data / "cowley2023"
    trials = np.load(folder / "responses_raw" / "responses_210325.npy", allow_pickle=False).transpose(1, 2, 0)
    with zipfile.ZipFile(folder / "images" / "images_210325.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg") and "__MACOSX" not in n)
        images = [Image.open(io.BytesIO(archive.read(n))).convert("L").resize((56, 56)) for n in names]
    x = np.array([np.asarray(image, dtype=float).ravel() for image in images])
    target = responses_of(trials)
    splits = KFold(5).assign(ids(640))
    score = run(x, target, splits)
    assert min(score.details["alphas"]["A"]) > 1e6
    assert 0.22 < score.fields["r_neuroid"] < 0.31
    assert score.fields["ceiling"] == pytest.approx(0.744, abs=0.005)
    assert score.fields["r_pattern"] == pytest.approx(0.861, abs=0.003)
    assert score.details["r_pattern_intercept"] == pytest.approx(0.847, abs=0.002)
    assert score.details["r_pattern_ceiling"] == pytest.approx(0.973, abs=0.002)
    assert score.details["r_pattern_z"] == pytest.approx(0.27, abs=0.015)
    assert score.details["r_pattern_z_ceiling"] == pytest.approx(0.85, abs=0.01)
    criteria = penalty_criteria(
        layer(x).decomposition(splits.folds[0].train), target.at(splits.folds[0].train).averages()
    )
    assert criteria[0].mean() < 0.5 * criteria.mean(axis=1).max()
    shuffled = run(x[rng(14).permutation(640)], target, splits)
    assert abs(shuffled.fields["r_neuroid"]) < 0.04
