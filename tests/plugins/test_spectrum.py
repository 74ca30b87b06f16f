"""The metric ``spectrum`` against scikit-learn and spectra that are known, its invariances, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from benchmark_core import Fold, InputError, KFold, Labels, RDMs, Responses, Score, fixed_split
from benchmark_core.contract_metrics import simulate
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from benchmark_core.splits import Splits
from plugins.metrics._spectrum import (
    components_to_reach,
    compute,
    cumulative_shares,
    effective_dimensionality,
    numbers_of_components,
    power_law,
)

N = 50
IDS = tuple(f"s{i:03d}" for i in range(N))
SPLIT = fixed_split(IDS[:30], IDS[30:])
TARGET = Responses(IDS, np.zeros((N, 1)), ("n",), ("A",))


def generator(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(s << (32 * i) for i, s in enumerate(seed))))


def features_of(n_features: int, seed: int = 0) -> np.ndarray:
    random = generator(seed)
    mixing = random.standard_normal((n_features, n_features)) / np.arange(1, n_features + 1)
    return 3 + random.standard_normal((N, n_features)) @ mixing.T


def with_spectrum(eigenvalues: np.ndarray, n_features: int) -> np.ndarray:
    """Return features (N, n_features) whose centred inner products have these eigenvalues."""
    random = generator(1)
    left = random.standard_normal((N, len(eigenvalues)))
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    right = np.linalg.qr(random.standard_normal((n_features, len(eigenvalues))))[0]
    return 7 + (left * np.sqrt(eigenvalues)) @ right.T


def spectrum(features: Any, splits: Splits = SPLIT, target: Any = TARGET, **options: Any) -> Score:
    layers = features if isinstance(features, dict) else {"layer": features}
    made = {
        name: values if isinstance(values, Representation) else Representation.from_features(values, IDS, name)
        for name, values in layers.items()
    }
    return compute([made], target, splits, **options)


@pytest.mark.parametrize("n_features", [12, 49, 120], ids=["features", "square", "kernel"])
@pytest.mark.parametrize("stimuli", ["all", "train"])
def test_agrees_with_scikit_learn(n_features: int, stimuli: str) -> None:
    features = features_of(n_features)
    result = spectrum(features, stimuli=stimuli)
    used = features if stimuli == "all" else features[:30]
    pca = PCA(svd_solver="full").fit(used)
    rank = min(len(used) - 1, n_features)
    variances, shares = pca.explained_variance_[:rank], np.cumsum(pca.explained_variance_ratio_)
    details = result.details
    np.testing.assert_allclose(result.arrays["layer/eigenvalues"], variances, rtol=1e-8)
    assert (details["rank"], details["n_stimuli"], result.fields["n_stimuli"]) == (rank, len(used), len(used))
    for k, share in details["variance_explained"].items():
        assert share == pytest.approx(shares[int(k) - 1], rel=1e-9), k
    assert details["components_to_share"] == int(np.argmax(shares >= 0.85)) + 1
    assert details["components_to_share"] == PCA(0.85, svd_solver="full").fit(used).n_components_
    assert details["total_variance"] == pytest.approx(used.var(axis=0, ddof=1).sum())
    covariance = np.cov(used.T)
    assert result.value == pytest.approx(np.trace(covariance) ** 2 / np.sum(covariance**2))
    high = rank // 2
    if high >= 12:
        ranks = np.arange(10, high + 1)
        line = stats.linregress(np.log(ranks), np.log(variances[9:high]))
        assert details["alpha"] == pytest.approx(-line.slope, rel=1e-7)
        assert details["power_law"]["r2"] == pytest.approx(line.rvalue**2, rel=1e-7)
        assert (details["power_law"]["low"], details["power_law"]["high"]) == (10, high)


@pytest.mark.parametrize("n_features", [45, 200], ids=["features", "kernel"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_a_power_law_is_recovered(n_features: int, alpha: float) -> None:
    eigenvalues = 5 * np.arange(1, 41) ** -alpha
    result = spectrum(with_spectrum(eigenvalues, n_features), fit_low=2, fit_high=40)
    assert result.details["alpha"] == pytest.approx(alpha, abs=1e-6)
    fit = result.details["power_law"]
    assert fit["r2"] == pytest.approx(1)
    assert np.exp(fit["log_scale"]) == pytest.approx(5 / eigenvalues.sum(), rel=1e-5)
    assert result.value == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def test_equal_eigenvalues() -> None:
    result = spectrum(with_spectrum(np.full(20, 3.0), 30), fit_low=1)
    assert result.value == pytest.approx(20)
    assert result.details["components_to_share"] == 17
    assert result.details["variance_explained"] == pytest.approx({"1": 0.05, "2": 0.1, "5": 0.25, "10": 0.5, "20": 1})
    assert result.details["alpha"] == pytest.approx(0, abs=1e-9)
    assert spectrum(with_spectrum(np.array([2.0]), 9)).value == pytest.approx(1)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60), st.floats(0, 1))
def test_shares_and_dimensionality_of_any_spectrum(values: list[float], share: float) -> None:
    eigenvalues = np.sort(values)[::-1]
    dimensionality = effective_dimensionality(eigenvalues)
    assert 1 - 1e-9 <= dimensionality <= len(values) + 1e-9
    k = components_to_reach(eigenvalues, share)
    assert k is not None, "all components explain everything"
    shares = cumulative_shares(eigenvalues)
    assert shares[k - 1] >= share - 1e-9
    assert k == 1 or shares[k - 2] < share
    assert components_to_reach(eigenvalues, share, most=k) == k
    assert k == 1 or components_to_reach(eigenvalues, share, most=k - 1) is None


@given(st.integers(0, 10**6), st.sampled_from([8, 90]), st.floats(1e-3, 1e3), st.floats(-100, 100))
@settings(max_examples=20)
def test_invariances(seed: int, n_features: int, scale: float, shift: float) -> None:
    """Rotation, translation, one scale for all features, and the order of stimuli change nothing."""
    features = features_of(n_features)
    random = generator(2, seed)
    rotation = np.linalg.qr(random.standard_normal((n_features, n_features)))[0]
    order = random.permutation(N)
    turned = Representation.from_features(
        (scale * features @ rotation + shift)[order], [IDS[i] for i in order], "layer"
    )
    options = {"fit_low": 1, "fit_high": 8, "stimuli": "train"}
    before, after = spectrum(features, **options), spectrum(turned, **options)
    assert after.value == pytest.approx(before.value, rel=1e-6)
    for name in ("variance_explained", "components_to_share", "alpha"):
        assert after.details[name] == pytest.approx(before.details[name], rel=1e-5), name
    assert after.details["total_variance"] == pytest.approx(scale**2 * before.details["total_variance"], rel=1e-6)


def test_inner_products_suffice() -> None:
    features = features_of(12)
    mean = features.mean(axis=0)
    kernel = Representation(
        "layer",
        IDS,
        12,
        None,
        (features - mean) @ (features - mean).T,
        features.sum(axis=1),
        features @ mean,
        float(mean @ mean),
    )
    held, boiled = spectrum(features, fit_low=1, fit_high=12), spectrum(kernel, fit_low=1, fit_high=12)
    assert boiled.value == pytest.approx(held.value, rel=1e-9)
    assert boiled.details["alpha"] == pytest.approx(held.details["alpha"], rel=1e-6)


def test_several_training_sets_are_averaged_and_shown() -> None:
    features = features_of(20)
    folds = KFold(3).assign(IDS)
    result = spectrum(features, folds, stimuli="train", fit_low=1)
    alone = [spectrum(features, Splits((fold,)), stimuli="train", fit_low=1) for fold in folds.folds]
    assert result.value == pytest.approx(np.mean([a.value for a in alone]))
    assert result.details["components_to_share"] == np.mean([a.details["components_to_share"] for a in alone])
    assert [s["alpha"] for s in result.details["by_training_set"]] == [a.details["alpha"] for a in alone]
    assert result.details["n_training_sets"] == 3
    by_subject = Splits(folds.folds[:1], {"B": (folds.folds[0], folds.folds[1])})
    two = Responses(IDS, np.zeros((N, 2)), ("n", "m"), ("A", "B"))
    assert spectrum(features, by_subject, two, stimuli="train").details["n_training_sets"] == 2


def test_standardised_features() -> None:
    features = features_of(15) * np.arange(1, 16)
    features[:, 3] = 2.0
    result = spectrum(features, standardise=True, stimuli="train")
    pca = PCA(svd_solver="full").fit(StandardScaler().fit_transform(features[:30]))
    np.testing.assert_allclose(
        result.arrays["layer/eigenvalues"], pca.explained_variance_[: result.details["rank"]], rtol=1e-8
    )
    assert result.details["rank"] == 14
    whole = spectrum(features, standardise=True)
    scaled = StandardScaler().fit(features[:30]).transform(features)
    assert whole.details["total_variance"] == pytest.approx(scaled.var(axis=0, ddof=1).sum(), rel=1e-8)


def test_every_layer_is_described_and_the_last_gives_the_score() -> None:
    layers = {"first": features_of(40), "narrow": features_of(3), "last": features_of(30, 1)}
    result = spectrum(layers)
    assert result.layers == (("last",),)
    assert list(result.details["layers"]) == ["first", "narrow", "last"]
    for name, features in layers.items():
        alone = spectrum({name: features})
        assert result.details["layers"][name] == alone.details["layers"][name]
    assert result.value == result.details["layers"]["last"]["effective_dimensionality"]
    assert result.details["layers"]["narrow"]["alpha"] is None
    assert next(w for w in result.warnings if "'narrow'" in w).startswith("layer 'narrow': cannot fit a power law")
    assert len(result.warnings) == 1


def test_what_is_not_reached_is_null() -> None:
    eigenvalues = np.full(20, 3.0)
    result = spectrum(with_spectrum(eigenvalues, 30), components=16)
    assert result.details["components_to_share"] is None
    assert result.warnings[-1] == "layer 'layer': 16 components do not explain 0.85 of the variance"
    assert spectrum(with_spectrum(eigenvalues, 30), components=17).details["components_to_share"] == 17
    assert spectrum(with_spectrum(eigenvalues, 30), share=1.0).details["components_to_share"] == 20
    constant = spectrum(np.full((N, 5), 3.0))
    assert constant.value is None
    assert constant.details["components_to_share"] is None
    assert constant.warnings == ("layer 'layer': its features never vary",)


@pytest.mark.parametrize(
    ("options", "ranks"),
    [
        ({"fit_high": 13}, "10 to 13"),
        ({"fit_low": 20}, "20 to 6"),
        ({"fit_low": 5, "fit_high": 6}, "5 to 6"),
    ],
)
def test_ranks_outside_the_spectrum(options: dict[str, int], ranks: str) -> None:
    with pytest.raises(InputError, match=f"layer 'layer': cannot fit a power law to ranks {ranks}: there are 12 eigen"):
        spectrum(features_of(12), **options)
    other = {"small": features_of(12), "layer": features_of(40)}
    if "fit_high" in options and options["fit_high"] == 13:
        assert spectrum(other, **options).details["layers"]["small"]["alpha"] is None


def test_bad_input() -> None:
    with pytest.raises(InputError, match="the metric spectrum takes one model with at least one layer, not 2 models"):
        compute([{}, {}], TARGET, SPLIT)
    with pytest.raises(InputError, match="choose fit_low and fit_high between 1 and 4"):
        power_law(np.ones(4), 0, 3)
    missing = Splits((Fold(("x1", "x2", "x3"), IDS[:3]),))
    with pytest.raises(InputError, match="holds no features of stimulus_id 'x1', 'x2', 'x3'"):
        spectrum(features_of(5), missing, stimuli="train")


def test_numbers_of_components() -> None:
    assert numbers_of_components(1) == [1]
    assert numbers_of_components(100) == [1, 2, 5, 10, 20, 50, 100]
    assert numbers_of_components(639) == [1, 2, 5, 10, 20, 50, 100, 200, 500]


@pytest.mark.parametrize("kind", ["responses", "labels", "rdms"])
def test_any_kind_of_target_will_do(kind: str) -> None:
    world = simulate(kind)
    assert isinstance(world.target, (Responses, Labels, RDMs))
    result = compute(world.models, world.target, world.splits, groups=world.groups, stimuli="train")
    assert result.value is not None
    assert 1 < result.value < 6, "the hidden features are six"
    assert result.layers == (("signal",),)


def test_its_spec_says_the_unit() -> None:
    spec = Registry(installed=False).metric("spectrum").spec
    assert spec.unit == "dimensions"
    assert spec.accepts == ("responses", "labels", "rdms")
