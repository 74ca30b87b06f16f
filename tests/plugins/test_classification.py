"""The metric ``classification`` against scikit-learn on explicit features, its invariances, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import special_ortho_group
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestCentroid

from benchmark_core import Fold, InputError, Labels, Score, Splits, fixed_split
from benchmark_core.representation import Representation
from plugins.metrics import _classification
from plugins.metrics._classification import compute

N_TRAIN, N_TEST, CATEGORIES = 40, 48, ("coast", "forest", "street")
IDS = tuple(f"{'train' if i < N_TRAIN else 'test'}/{i:03d}" for i in range(N_TRAIN + N_TEST))
TRAIN, TEST = IDS[:N_TRAIN], IDS[N_TRAIN:]
SPLIT = fixed_split(TRAIN, TEST)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def world(n_features: int, seed: int = 0, separation: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, n_features), sorted by id, and the category of each stimulus."""
    random = generator(seed)
    categories = np.array([i % len(CATEGORIES) for i in range(len(IDS))])
    centres = separation * random.normal(size=(len(CATEGORIES), n_features))
    spread = random.exponential(size=n_features) * 3
    features = 5 + centres[categories] + spread * random.normal(size=(len(IDS), n_features))
    order = np.argsort(IDS)
    return features[order], np.array(CATEGORIES)[categories[order]]


def score(features: Any, labels: Sequence[str], splits: Splits = SPLIT, **options: Any) -> Score:
    layers = features if isinstance(features, dict) else {"layer": features}
    made = {name: Representation.from_features(values, sorted(IDS), name) for name, values in layers.items()}
    return compute([made], Labels(tuple(sorted(IDS)), tuple(labels)), splits, **options)


def by_scikit_learn(features: np.ndarray, labels: np.ndarray, k: int, classifier: Any) -> tuple[list[float], list[str]]:
    """Return accuracies per fold and all predictions, from the features themselves."""
    ids = sorted(IDS)
    train, test = [ids.index(i) for i in TRAIN], [ids.index(i) for i in sorted(TEST)]
    pca = PCA(min(k, N_TRAIN - 1, features.shape[1]), svd_solver="full").fit(features[train])
    scale = np.sqrt(features.shape[1] / (pca.transform(features[train]) ** 2).sum(axis=1).mean())
    z, y = pca.transform(features[test]) * scale, labels[test]
    accuracies, predictions = [], []
    for fit, held_out in StratifiedKFold(5, shuffle=True, random_state=42).split(z, y):
        predicted = classifier().fit(z[fit], y[fit]).predict(z[held_out])
        accuracies.append(float(np.mean(predicted == y[held_out])))
        predictions += list(predicted)
    return accuracies, predictions


@pytest.mark.parametrize(
    ("n_features", "k", "separation"),
    [(12, 5, 1.5), (60, 1000, 1.5), (300, 10, 1.5), (300, 1000, 0.75)],
    ids=["features", "rank", "kernel", "kernel-all"],
)
@pytest.mark.parametrize("classifier", ["logistic", "nearest-centroid"])
def test_agrees_with_scikit_learn_on_the_features(n_features: int, k: int, separation: float, classifier: str) -> None:
    features, labels = world(n_features, separation=separation)
    made = NearestCentroid if classifier == "nearest-centroid" else lambda: LogisticRegression(max_iter=200)
    accuracies, predictions = by_scikit_learn(features, labels, k, made)
    result = score(features, labels, components=k, classifier=classifier)
    assert result.details["accuracy_by_fold"] == accuracies
    assert [CATEGORIES[i] for i in result.arrays["predicted"]] == predictions
    assert result.value == pytest.approx(np.mean(accuracies), abs=1e-15)
    assert 0.34 < result.value < 1, "a case that tells something"
    assert result.details["components_used"] == min(k, N_TRAIN - 1, n_features)
    assert result.fields == {"n_stimuli": N_TEST, "n_neuroids": None}
    assert result.details["chance"] == pytest.approx(1 / 3)
    of_category = result.details["accuracy_by_category"]
    assert np.mean(list(of_category.values())) == pytest.approx(
        np.mean(np.array(predictions) == truth(result, labels))
    ), "16 stimuli of each category"


def truth(result: Score, labels: np.ndarray) -> np.ndarray:
    return labels[result.arrays["stimulus"]]


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**31),
    n_features=st.sampled_from([8, 50, 120]),
    scale=st.sampled_from([1e-4, 0.3, 1e4]),
    shift=st.floats(-100, 100),
)
def test_rotation_scale_translation_and_order_do_not_matter(
    seed: int, n_features: int, scale: float, shift: float
) -> None:
    # Nearest means: which of nearly equal probabilities a regression takes that stops early is up to rounding.
    options: dict[str, Any] = {"classifier": "nearest-centroid", "n_bootstrap": 100}
    features, labels = world(n_features, seed=seed)
    before = score(features, labels, **options)
    turned = scale * (features + shift) @ special_ortho_group.rvs(n_features, random_state=seed % 1000)
    order = generator(seed + 1).permutation(len(IDS))
    ids = [sorted(IDS)[i] for i in order]
    layer = Representation.from_features(turned[order], ids, "layer")
    after = compute([{"layer": layer}], Labels(tuple(ids), tuple(labels[order])), SPLIT, **options)
    assert after.details["accuracy_by_fold"] == before.details["accuracy_by_fold"]
    assert (after.ci_low, after.ci_high) == pytest.approx((before.ci_low, before.ci_high))


@pytest.mark.parametrize("change", ["scale", "shift", "rotation", "order"])
def test_invariances(change: str) -> None:
    features, labels = world(50, seed=1)
    before = score(features, labels)
    if change == "order":
        order = generator(2).permutation(len(IDS))
        ids = [sorted(IDS)[i] for i in order]
        layer = Representation.from_features(features[order], ids, "layer")
        after = compute([{"layer": layer}], Labels(tuple(ids), tuple(labels[order])), SPLIT)
    else:
        turned = {
            "scale": features * 1e-4,
            "shift": features + 100.0,
            "rotation": features @ special_ortho_group.rvs(50, random_state=3),
        }[change]
        after = score(turned, labels)
    assert after.details["accuracy_by_fold"] == before.details["accuracy_by_fold"]
    assert (after.ci_low, after.ci_high) == pytest.approx((before.ci_low, before.ci_high))


def test_interval_is_that_of_a_proportion_widened_for_folds() -> None:
    features, labels = world(30, seed=4)
    result = score(features, labels, n_bootstrap=20_000)
    value = result.value
    assert value is not None
    within = np.mean([a * (1 - a) / (N_TEST / 5) for a in result.details["accuracy_by_fold"]]) / 5
    expected = 1.96 * np.sqrt(within) * 1.5
    assert value - result.ci_low == pytest.approx(expected, rel=0.05)
    assert result.ci_high - value == pytest.approx(expected, rel=0.05)


def test_components_do_not_see_the_stimuli_that_are_classified() -> None:
    features, labels = world(300, seed=5)
    before = score(features, labels, components=8)
    position = int(before.arrays["stimulus"][0])
    features[position] += 1000.0
    after = score(features, labels, components=8)
    first = len(before.arrays["predicted"]) // 5  # the fold that holds it; others have it among their training stimuli
    assert np.array_equal(after.arrays["predicted"][1:first], before.arrays["predicted"][1:first])


def test_layer_is_chosen_where_the_classifier_is_fitted() -> None:
    features, labels = world(40, seed=6, separation=3)
    noise = generator(7).normal(size=features.shape)
    chosen = score({"noise": noise, "good": features, "copy": features}, labels)
    assert chosen.layers == (("good",) * 5,), "ties go to the earlier layer"
    assert chosen.value == score(features, labels).value
    # A layer that gives away the labels of the first fold's test stimuli, and nothing else, is not chosen there.
    alone = score(features, labels)
    held_out = alone.arrays["stimulus"][: -(-N_TEST // 5)]
    leaking = noise.copy()
    leaking[held_out, :3] += 100 * (labels[held_out, None] == np.array(CATEGORIES))
    assert score({"leaking": leaking, "good": features}, labels).layers[0][0] == "good"


def test_several_folds_fit_everything_on_their_training_stimuli() -> None:
    features, labels = world(300, seed=8, separation=2)
    ids = sorted(IDS)
    parts = [ids[i::4] for i in range(4)]
    splits = Splits(tuple(Fold(tuple(i for i in ids if i not in part), tuple(part)) for part in parts))
    result = score(features, labels, splits, components=20)
    accuracies = []
    for fold in splits.folds:
        train, test = [ids.index(i) for i in fold.train], [ids.index(i) for i in fold.test]
        pca = PCA(20, svd_solver="full").fit(features[train])
        z = pca.transform(features)
        z *= np.sqrt(300 / (z[train] ** 2).sum(axis=1).mean())
        model = LogisticRegression(max_iter=200).fit(z[train], labels[train])
        accuracies.append(float(model.score(z[test], labels[test])))
    assert result.details["accuracy_by_fold"] == accuracies
    assert result.details["folds"] == 4


def test_unlabelled_stimuli_only_serve_components() -> None:
    features, labels = world(60, seed=9)
    bare = np.where([i in TRAIN for i in sorted(IDS)], "", labels)
    assert score(features, bare).details == score(features, labels).details


def test_groups_are_never_divided() -> None:
    features, labels = world(60, seed=10)
    photographs = {i: f"{int(i[-3:]) // 4:02d}" for i in IDS}
    whole = score(features, labels, groups=photographs, folds=3)
    positions = np.split(whole.arrays["stimulus"], np.cumsum(fold_sizes(whole, features, labels, photographs))[:-1])
    seen = [{photographs[sorted(IDS)[i]] for i in fold} for fold in positions]
    assert not any(seen[i] & seen[j] for i in range(3) for j in range(i))
    with pytest.raises(InputError, match="2 groups of stimuli cannot be split into 5"):
        score(features, labels, groups={i: str(int(i[-3:]) % 2) for i in IDS})


def fold_sizes(result: Score, features: np.ndarray, labels: np.ndarray, groups: dict[str, str]) -> list[int]:
    from plugins.metrics._classification import evaluations_of

    label_of = dict(zip(sorted(IDS), labels, strict=True))
    return [len(e.test) for e in evaluations_of(label_of, SPLIT, 3, 42, groups)]


def test_features_that_never_vary_score_at_chance_and_say_so() -> None:
    _, labels = world(5)
    for classifier in ("logistic", "nearest-centroid"):
        result = score(np.ones((len(IDS), 5)), labels, classifier=classifier)
        assert result.value == pytest.approx(1 / 3, abs=0.03)
        assert result.details["components_used"] == 0
        assert any("no principal components" in note for note in result.warnings)


def test_a_regression_that_does_not_converge_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_classification, "MAX_ITERATIONS", 2)
    features, labels = world(60, seed=11)
    result = score(features, labels)
    assert result.details["converged"] is False
    assert result.details["iterations"] == [2] * 5
    assert result.warnings == ("logistic regression did not converge within 2 iterations in folds 1, 2, 3, 4, 5",)


def test_bad_input() -> None:
    features, labels = world(20)
    one = np.full(len(IDS), "coast")
    with pytest.raises(InputError, match="needs two categories among the test stimuli; there is only one, 'coast'"):
        score(features, one)
    tested = np.array([i in TEST for i in sorted(IDS)])
    rare = labels.astype(object)
    rare[np.flatnonzero(tested)[:3]] = "glacier"
    with pytest.raises(InputError, match=r"'glacier' has 3; add .*classification:folds=3"):
        score(features, rare)
    assert score(features, rare, folds=3).value is not None
    lone = labels.astype(object)
    lone[np.flatnonzero(tested)[0]] = "glacier"
    with pytest.raises(InputError, match=r"'glacier' has 1; add stimuli or leave the category out$"):
        score(features, lone)
    with pytest.raises(InputError, match="no test stimulus has a label"):
        score(features, np.where(tested, "", labels))
    layer = Representation.from_features(features, sorted(IDS))
    with pytest.raises(InputError, match="labels: stimulus_id"):
        compute([{"layer": layer}], Labels(("a", "b"), ("x", "y")), SPLIT)
    with pytest.raises(InputError, match="takes one model"):
        compute([{"layer": layer}] * 2, Labels(IDS, tuple(labels)), SPLIT)
