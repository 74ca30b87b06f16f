"""Variance partitioning where the truth is known. The slow tests print the figures of docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmark_core.assembly import Responses
from benchmark_core.banded import Bands, choose_penalties, exclusive_parts, held_out_r2, subsets
from benchmark_core.representation import Representation
from benchmark_core.ridge import PENALTIES, predicted_deviations
from benchmark_core.splits import fixed_split
from plugins.metrics._partition_scores import FoldPartition, label, names, part_name, score_partition
from plugins.metrics._variance_partitioning import compute

UNITS, REPETITIONS, FRESH = 20, 4, 2000
NOISE = 2.0  # standard deviation of a single repetition; signals have variance 1
A, B, AB = (0,), (1,), (0, 1)


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> list[str]:
    return [f"s{i:05d}" for i in range(n)]


@dataclass(frozen=True)
class World:
    """Two models that see 5 hidden features each way, and units that depend linearly on all of them.

    Model A has ``common`` and features of its own; B has a noisy copy of ``common`` (correlation ``rho``), features of
    its own that matter by ``own``, and ``null`` features that do not.
    """

    rho: float = 0.8
    own: float = 1.0
    null: int = 0

    def draw(self, seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features of A and B, and the expected responses (n, 20), each of variance 1 in the population."""
        random, fixed = rng(1, seed), rng(2)
        common, of_a, of_b, other = (random.standard_normal((n, 5)) for _ in range(4))
        copy = self.rho * common + np.sqrt(1 - self.rho**2) * other
        a = np.hstack([common, of_a])
        b = np.hstack([copy, of_b, random.standard_normal((n, self.null))])
        return a, b, np.hstack([common, of_a, of_b]) @ self.slopes(fixed)

    def slopes(self, fixed: np.random.Generator) -> np.ndarray:
        slopes = fixed.standard_normal((15, UNITS)) * np.repeat([1.0, 0.7, self.own], 5)[:, None]
        return np.asarray(slopes / np.sqrt((slopes**2).sum(axis=0)))

    def oracle(self) -> dict[str, float]:
        """Shares of the signal that the best linear maps of the population explain."""
        of_common, of_a, of_b = ((part**2).sum(axis=0).mean() for part in np.split(self.slopes(rng(2)), 3))
        explained = {A: of_common + of_a, B: self.rho**2 * of_common + of_b, AB: 1.0}
        return named({s: np.array(v) for s, v in explained.items()})


def named(explained: dict[tuple[int, ...], np.ndarray]) -> dict[str, float]:
    parts = {part_name(s, 2): float(v) for s, v in exclusive_parts(explained)}
    return {label(s): float(v) for s, v in explained.items()} | parts


def true_shares(
    predicted: dict[tuple[int, ...], np.ndarray], signal: np.ndarray, means: np.ndarray
) -> dict[str, float]:
    """Population shares of fitted maps, from predictions of many fresh stimuli and what is to be expected of them."""
    noise = NOISE**2 / REPETITIONS
    total = ((signal - means) ** 2).mean(axis=0) + noise
    r2 = {s: np.sum(1 - (((signal - p) ** 2).mean(axis=0) + noise) / total) for s, p in predicted.items()}
    return named({s: v / np.sum(1 - noise / total) for s, v in r2.items()})


def simulate(
    world: World, seed: int, n_train: int, n_test: int, n_bootstrap: int = 200
) -> dict[str, tuple[float, ...]]:
    """For each share: estimate, ends of its interval, and the truth for these fitted maps."""
    n = n_train + n_test + FRESH
    a, b, signal = world.draw(seed, n)
    trials = signal[:, None, :] + NOISE * rng(3, seed).standard_normal((n, REPETITIONS, UNITS))
    target = Responses(tuple(ids(n)), trials, tuple(f"n{j}" for j in range(UNITS)), ("A",) * UNITS)
    train, test, fresh = ids(n)[:n_train], ids(n)[n_train : n_train + n_test], slice(n_train + n_test, n)
    given = [{"x": Representation.from_features(x, ids(n))} for x in (a, b)]
    score = compute(given, target, fixed_split(train, ids(n)[n_train:]), n_bootstrap=100, components=10)
    means = target.averages()[:n_train].mean(axis=0)
    # Test stimuli only: rows of the predictions are those of all stimuli that were not trained on.
    predicted = {s: score.arrays[f"predictions_{label(s)}"].astype(float) for s in subsets(2)}
    fold = FoldPartition(tuple(test), means, {s: p[:n_test] - means for s, p in predicted.items()})
    scored = score_partition(target, [fold], None, n_bootstrap, 0)
    found = {**scored.values["explained"], **scored.values["parts"]}
    truth = true_shares({s: p[n_test:] for s, p in predicted.items()}, signal[fresh], means)
    return {k: (found[k]["value"], found[k]["ci_low"], found[k]["ci_high"], truth[k]) for k in names(2)}


def one_penalty(world: World, seed: int, n_train: int) -> float:
    """True share of B alone by ridge with one penalty for all features side by side, a penalty for each unit."""
    n = n_train + FRESH
    a, b, signal = world.draw(seed, n)
    averages = signal + NOISE / np.sqrt(REPETITIONS) * rng(3, seed).standard_normal((n, UNITS))
    bands = Bands([Representation.from_features(x, ids(n)) for x in (a, b)])
    y, fresh = averages[:n_train], ids(n)[n_train:]
    predicted = {}
    for subset, representation in (
        (A, bands.representations[0]),
        (B, bands.representations[1]),
        (AB, bands.combined((1, 1))),
    ):
        decomposition = representation.decomposition(ids(n)[:n_train])
        penalty, _ = choose_penalties(held_out_r2(decomposition, y, PENALTIES), PENALTIES, np.arange(UNITS))
        predicted[subset] = y.mean(axis=0) + predicted_deviations(decomposition, fresh, y, penalty)
    return true_shares(predicted, signal[n_train:], y.mean(axis=0))["unique_A"]


def test_parts_are_recovered_quickly() -> None:
    found = [simulate(World(), seed, 800, 200, 100) for seed in range(3)]
    oracle = World().oracle()
    for name in names(2):
        values = np.array([f[name] for f in found])
        assert values[:, 3].mean() == pytest.approx(oracle[name], abs=0.05)
        assert values[:, 0].mean() == pytest.approx(values[:, 3].mean(), abs=0.05)


def test_a_null_unique_share_is_nothing_quickly() -> None:
    found = np.array([simulate(World(own=0.0, null=300), seed, 200, 150, 100)["unique_B"] for seed in range(2)])
    assert np.abs(found[:, 3]).max() < 0.02
    assert abs(found[:, 0].mean()) < 0.02


def report(name: str, figures: np.ndarray) -> None:
    print(f"\n{name}: {figures.mean():.4f} +- {figures.std(ddof=1) / np.sqrt(len(figures)):.4f}", end="")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_parts_are_recovered() -> None:
    """20 features in all, a fortieth of the training stimuli: the fitted maps are near those of the population."""
    found = [simulate(World(), seed, 800, 200) for seed in range(60)]
    oracle = World().oracle()
    for name in names(2):
        value, low, high, truth = np.array([f[name] for f in found]).T
        covered = ((low <= truth) & (truth <= high)).mean()
        print(
            f"\n{name}: best linear maps {oracle[name]:.4f}, fitted {truth.mean():.4f}, covered {covered:.2f}", end=""
        )
        report("  estimate", value)
        report("  estimate - truth", value - truth)
        assert 0.88 <= covered <= 1
        assert value.mean() == pytest.approx(truth.mean(), abs=0.01)
        assert truth.mean() == pytest.approx(oracle[name], abs=0.05)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_null_unique_share_is_nothing() -> None:
    """A thousand features of B that the responses have nothing to do with, and a noisy copy of what A has."""
    world = World(own=0.0, null=1000)
    found = [simulate(world, seed, 400, 200) for seed in range(10)]
    for name in names(2):
        value, low, high, truth = np.array([f[name] for f in found]).T
        covered = ((low <= truth) & (truth <= high)).mean()
        print(f"\n{name}: best linear maps {world.oracle()[name]:.4f}, covered {covered:.2f}", end="")
        report("  fitted", truth)
        report("  estimate", value)
    value, _, _, truth = np.array([f["unique_B"] for f in found]).T
    print(f"\nunique_B of the fitted maps: {truth.min():.4f} to {truth.max():.4f}", end="")
    assert np.abs(truth).max() < 0.02
    assert abs(value.mean()) < 0.02
    explained = np.array([f["unique_A"][3] for f in found])
    plain = np.array([one_penalty(world, seed, 400) for seed in range(10)])
    report("unique_A, one penalty for all features", plain)
    assert explained.mean() > plain.mean()
