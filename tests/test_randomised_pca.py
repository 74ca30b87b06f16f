"""Randomised principal components from blocks against scikit-learn's exact PCA on the features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError
from benchmark_core.identifiers import Parameter
from benchmark_core.randomised_pca import (
    LARGEST_KERNEL,
    FirstFeatures,
    Reduction,
    components_from_spool,
    components_key,
    reduction_for,
)
from benchmark_core.representation import Representation
from benchmark_core.resolution import Resolved, resolve
from benchmark_core.specs import MetricSpec
from benchmark_core.splits import KFold, fixed_split
from benchmark_core.spool import Spool

N, N_TRAIN = 260, 180
IDS = [f"{i:04d}" for i in range(N)]
# Training stimuli lie scattered among the others.
TRAIN = sorted(np.random.Generator(np.random.Philox(3)).permutation(IDS)[:N_TRAIN])


class Held:
    """Features in memory, given out by blocks like a spool's; counts how often they were read."""

    def __init__(self, features: np.ndarray, block: int = 90) -> None:
        self.features, self.block, self.readings = features.astype(np.float32), block, 0

    def n_features(self, layer: str) -> int:
        return self.features.shape[1]

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        self.readings += 1
        for first in range(0, self.features.shape[1], self.block):
            yield first, self.features[:, first : first + self.block]


def features(n_features: int, spectrum: str, seed: int = 0) -> np.ndarray:
    """Return (N, n_features) with standard deviations along random axes that fall slowly (1/i) or fast (0.8^i)."""
    random = np.random.Generator(np.random.Philox(seed))
    rank = min(N, n_features)
    left, _ = np.linalg.qr(random.normal(size=(N, rank)))
    right, _ = np.linalg.qr(random.normal(size=(n_features, rank)))
    i = np.arange(1, rank + 1)
    deviations = 1 / i if spectrum == "slow" else 0.8**i
    return 50 * np.sqrt(N) * (left * deviations) @ right.T + random.normal(size=n_features)


def rows(ids: list[str]) -> list[int]:
    return [IDS.index(i) for i in ids]


def exact(values: np.ndarray, k: int) -> tuple[PCA, np.ndarray]:
    pca = PCA(k, svd_solver="full").fit(values[rows(TRAIN)])
    return pca, pca.transform(values)


def same_up_to_sign(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the largest difference of each column, relative to the first column's norm per stimulus."""
    signs = np.sign((found * expected).sum(axis=0))
    return np.abs(found * signs - expected).max(axis=0) / expected[:, 0].std()


@pytest.mark.parametrize("n_features", [120, 700], ids=["narrow", "wide"])
def test_a_fast_spectrum_gives_the_exact_components(n_features: int) -> None:
    source = Held(features(n_features, "fast"))
    found = components_from_spool(source, "layer", IDS, TRAIN, 20)
    _, expected = exact(source.features.astype(np.float64), 20)
    assert found.features is not None
    assert found.features.shape == (N, 20)
    assert same_up_to_sign(found.features, expected).max() < 1e-5
    assert source.readings == 4
    assert found.n_features == n_features


def test_a_slow_spectrum_gives_the_leading_components_and_nearly_all_variance() -> None:
    source = Held(features(700, "slow"))
    found = components_from_spool(source, "layer", IDS, TRAIN, 40)
    pca, expected = exact(source.features.astype(np.float64), 40)
    assert found.features is not None
    differences = same_up_to_sign(found.features, expected)
    assert differences[:10].max() < 1e-4
    train = found.features[rows(TRAIN)]
    captured = (train**2).sum() / (pca.explained_variance_.sum() * (N_TRAIN - 1))
    assert 0.999 < captured <= 1 + 1e-12
    assert subspace_angles(train[:, :20], expected[rows(TRAIN)][:, :20]).max() < 1e-3
    more = components_from_spool(source, "layer", IDS, TRAIN, 40, n_passes=8)
    assert more.features is not None
    assert same_up_to_sign(more.features, expected)[:30].max() < same_up_to_sign(found.features, expected)[:30].max()


def test_training_components_are_centred_uncorrelated_and_in_order() -> None:
    found = components_from_spool(Held(features(300, "slow")), "layer", IDS, TRAIN, 30)
    assert found.features is not None
    train = found.features[rows(TRAIN)]
    covariance = train.T @ train
    assert np.abs(train.mean(axis=0)).max() < 1e-9 * train[:, 0].std()
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-9 * covariance[0, 0]
    assert (np.diff(np.diag(covariance)) <= 0).all()


def test_other_stimuli_do_not_move_the_axes() -> None:
    values = features(300, "slow")
    before = components_from_spool(Held(values), "layer", IDS, TRAIN, 15).features
    values[rows([i for i in IDS if i not in TRAIN])] *= 7
    after = components_from_spool(Held(values), "layer", IDS, TRAIN, 15).features
    assert before is not None
    assert after is not None
    assert np.array_equal(before[rows(TRAIN)], after[rows(TRAIN)])


@pytest.mark.parametrize("n_features", [30, 700])
def test_more_components_than_rank_gives_all_of_them_exactly(n_features: int) -> None:
    source = Held(features(n_features, "slow"))
    found = components_from_spool(source, "layer", IDS, TRAIN, 1000)
    rank = min(N_TRAIN - 1, n_features)
    assert found.features is not None
    assert found.features.shape == (N, rank)
    _, expected = exact(source.features.astype(np.float64), rank)
    assert same_up_to_sign(found.features[:, : rank // 2], expected[:, : rank // 2]).max() < 1e-6
    distances = ((found.features[0] - found.features[1:]) ** 2).sum(axis=1)
    wanted = ((expected[0] - expected[1:]) ** 2).sum(axis=1)
    assert distances == pytest.approx(wanted, rel=1e-9), "inner products, whatever the axes"


def test_blocks_backends_and_precision() -> None:
    values = features(300, "fast")
    base = components_from_spool(Held(values), "layer", IDS, TRAIN, 8).features
    assert base is not None
    for other, tolerance in (
        (components_from_spool(Held(values, block=300), "layer", IDS, TRAIN, 8), 1e-10),
        (components_from_spool(Held(values), "layer", IDS, TRAIN, 8, backend=Backend("torch", "cpu")), 1e-10),
        (components_from_spool(Held(values), "layer", IDS, TRAIN, 8, exact=False), 1e-4),
    ):
        assert other.features is not None
        assert same_up_to_sign(other.features, base).max() < tolerance
    assert np.array_equal(base, components_from_spool(Held(values), "layer", IDS, TRAIN, 8).features)


def test_result_is_a_representation_with_the_same_components(tmp_path: Path) -> None:
    values = features(300, "fast")
    spool = Spool.create(tmp_path / "spool", N, ["layer"], 32, 32)
    for chunk in range(spool.n_chunks):
        part = spool.rows(chunk)
        spool.write(chunk, {"layer": values[part.start : part.stop].astype(np.float32)}, 0.0)
    seen: list[tuple[int, int]] = []
    found = components_from_spool(
        spool, "layer", IDS, TRAIN, 12, key="k", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(300, 1200), (600, 1200), (900, 1200), (1200, 1200)]
    found.save(tmp_path / "file", {"seconds": 1})
    loaded = Representation.load(tmp_path / "file", Backend())
    assert loaded is not None
    decomposition = loaded[0].decomposition(TRAIN)
    assert decomposition.rank == 12
    _, expected = exact(values.astype(np.float32).astype(np.float64), 12)
    assert same_up_to_sign(np.asarray(decomposition.principal_components(IDS)), expected).max() < 1e-5
    assert (loaded[0].key, loaded[0].n_features) == ("k", 300)


def test_features_that_never_vary_have_one_empty_component() -> None:
    found = components_from_spool(Held(np.full((N, 50), 3.0)), "layer", IDS, TRAIN, 5)
    assert found.decomposition(TRAIN).rank == 0


def test_keys_depend_on_training_set_and_count() -> None:
    keys = {
        components_key("r", ["a", "b"], 5),
        components_key("r", ["a", "c"], 5),
        components_key("r", ["a", "b"], 6),
        components_key("s", ["a", "b"], 5),
    }
    assert len(keys) == 4
    assert components_key("r", ["b", "a"], 5) in keys


def metric(components: str = "k", k: int = 7) -> Resolved:
    spec = MetricSpec(
        name="m", version=1, compute=print, parameters=(Parameter("k", "int", k, minimum=1),), components=components
    )
    return resolve(spec, "m", {})


def test_reduction_is_for_many_stimuli_one_training_set_and_metrics_that_need_no_more() -> None:
    split = fixed_split(TRAIN, [i for i in IDS if i not in TRAIN])
    reduction = reduction_for(metric(), split, LARGEST_KERNEL + 1)
    assert reduction == Reduction(tuple(TRAIN), 7)
    assert reduction.key("r") == components_key("r", TRAIN, 7)
    assert reduction_for(metric(), split, LARGEST_KERNEL) is None
    assert reduction_for(metric(components=""), split, LARGEST_KERNEL + 1) is None
    assert reduction_for(metric(), KFold(2).assign(IDS), LARGEST_KERNEL + 1) is None
    with pytest.raises(InputError, match="'other' is not one of its int parameters"):
        metric(components="other")


@pytest.mark.parametrize("width", [60, 90, 200])
def test_first_features_of_a_wider_layer(width: int) -> None:
    values = features(300, "fast")
    source = Held(values)
    reduction = Reduction(tuple(TRAIN), 6)
    found = reduction.from_spool(FirstFeatures(source, width), "layer", IDS, key="k", backend=Backend())
    narrow = components_from_spool(Held(values[:, :width]), "layer", IDS, TRAIN, 6)
    assert (found.n_features, found.key) == (width, "k")
    assert found.features is not None
    assert narrow.features is not None
    assert np.array_equal(found.features, narrow.features)


def test_rows_may_come_in_any_order_and_are_sorted() -> None:
    values = features(120, "fast")
    order = np.random.Generator(np.random.Philox(8)).permutation(N)
    base = components_from_spool(Held(values), "layer", IDS, TRAIN, 6)
    mixed = components_from_spool(Held(values[order]), "layer", [IDS[i] for i in order], TRAIN, 6)
    assert mixed.stimulus_ids == base.stimulus_ids == tuple(IDS)
    assert mixed.features is not None
    assert base.features is not None
    assert same_up_to_sign(mixed.features, base.features).max() < 1e-6


def test_bad_input() -> None:
    source = Held(features(50, "fast"))
    with pytest.raises(InputError, match="no features of stimulus_id 'zebra'"):
        components_from_spool(source, "layer", IDS, ["zebra", IDS[0]], 5)
    with pytest.raises(InputError, match="two training stimuli"):
        components_from_spool(source, "layer", IDS, IDS[:1], 5)
