"""Ceilings of populations whose reliability is known. The slow tests print the figures of docs/metrics.md."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark_core.assembly import Responses
from benchmark_core.reliability import TestedStimuli, root, split_halves
from benchmark_core.resampling import resample_counts
from plugins.metrics._ceilings import Ceiling, Recipe, anova, paper_pairs

UNITS = 30
COUNTS = {"2": (2, 2), "3": (3, 3), "4": (4, 4), "5": (5, 5), "10": (10, 10), "2 to 7": (2, 7)}
"""Fewest and most repetitions of a stimulus."""


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> tuple[str, ...]:
    return tuple(f"s{i:05d}" for i in range(n))


def rates_of(seed: int, n: int, low: float = 1.0, high: float = 20.0, population: int = 0) -> np.ndarray:
    """Expected spikes (n, 30): log-normal over stimuli, mean rates from ``low`` to ``high``, drawn for a population."""
    centre = rng(2, population).uniform(np.log(low), np.log(high), UNITS)
    return np.asarray(np.exp(centre + 0.5 * rng(1, seed).standard_normal((n, UNITS))))


def recorded(seed: int, rates: np.ndarray, fewest: int, most: int) -> tuple[Responses, np.ndarray]:
    """Return Poisson trials and the true reliability of their means, for these stimuli and repetitions."""
    n = len(rates)
    counts = rng(4, seed).integers(fewest, most + 1, n)
    trials = rng(3, seed).poisson(rates[:, None, :], (n, most, UNITS)).astype(float)
    trials[np.arange(most)[None, :] >= counts[:, None]] = np.nan
    variance = rates.var(axis=0)
    truth = variance / (variance + (rates / counts[:, None]).mean(axis=0))
    return Responses(ids(n), trials, tuple(f"n{j}" for j in range(UNITS)), ("A",) * UNITS), truth


def in_folds(n: int, folds: int) -> list[TestedStimuli]:
    """Return the stimuli in folds."""
    parts = np.array_split(np.arange(n), folds)
    return [TestedStimuli(p, np.ones((len(p), UNITS), dtype=bool), np.zeros(UNITS), np.ones(UNITS)) for p in parts]


def by_anova(responses: Responses) -> Ceiling:
    """Reliability by analysis of variance in five folds, without resamples."""
    folds = in_folds(len(responses.stimulus_ids), 5)
    return anova(responses, folds, [np.ones((1, len(fold.rows))) for fold in folds])


def of_all_kinds(responses: Responses) -> dict[str, np.ndarray]:
    """The same, and the kinds that rest on halves and pairs."""
    n = len(responses.stimulus_ids)
    single = Recipe("all", 1, 1, 0, None)
    return {
        "anova": by_anova(responses).per_neuroid,
        "split-half": split_halves(responses.values, in_folds(n, 5), 20, 0).reliability[0],
        "paper-halves": root(split_halves(responses.values, in_folds(n, 1), 1, 0).reliability[0]),
        "paper-pairs": paper_pairs(responses, np.ones((1, n)), single).per_neuroid,
    }


@pytest.mark.parametrize("repetitions", ["2", "3", "2 to 7"])
def test_median_reliability_is_hardly_biased_quickly(repetitions: str) -> None:
    errors = []
    for seed in range(20):
        responses, truth = recorded(seed, rates_of(seed, 300), *COUNTS[repetitions])
        found = by_anova(responses).beside
        errors.append([found[name] - np.median(truth) for name in ("median", "median_corrected")])
    assert (np.abs(np.mean(errors, axis=0)) < 0.01).all()


def report(name: str, figures: list[float]) -> float:
    values = np.array(figures, dtype=float)
    print(f"\n{name}: {values.mean():.4f} +- {values.std(ddof=1) / np.sqrt(len(values)):.4f}", end="")
    return float(values.mean())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("n", "low", "high", "anew"),
    [
        *((300, low, high, True) for low, high in ((1.0, 20.0), (0.5, 5.0), (0.2, 2.0), (0.1, 20.0))),
        *((1000, low, high, True) for low, high in ((1.0, 20.0), (0.2, 2.0))),
        *((n, low, high, False) for n, low, high in ((300, 1.0, 20.0), (300, 0.2, 2.0), (1000, 0.2, 2.0))),
    ],
)
@pytest.mark.parametrize("repetitions", COUNTS)
def test_median_reliability_is_hardly_biased(repetitions: str, n: int, low: float, high: float, anew: bool) -> None:
    """The corrected median of the default ceiling by less than .01, however uncertain each reliability is.

    Neuroids are drawn anew with the stimuli. The same 30 of every time have a gap around the median of their
    reliabilities, .05 wide at few spikes, in which every value is a median; there it may be .015.
    """
    errors: dict[str, list[float]] = {"anova": [], "split-half": [], "paper-halves": [], "paper-pairs": []}
    truths, means, corrected = [], [], []
    for seed in range(100):
        responses, truth = recorded(seed, rates_of(seed, n, low, high, seed + 1 if anew else 0), *COUNTS[repetitions])
        estimates = of_all_kinds(responses)
        truths.append(np.median(truth))
        means.append(float(np.mean(estimates["anova"] - truth)))
        corrected.append(by_anova(responses).beside["median_corrected"] - truths[-1])
        for kind, found in errors.items():
            expected = truths[-1] if kind in ("anova", "split-half") else np.median(np.sqrt(truth))
            found.append(float(np.nanmedian(estimates[kind]) - expected))
    which = "drawn anew" if anew else "the same 30"
    name = f"n = {n}, {which}, {low:g} to {high:g} spikes, {repetitions} repetitions (truth {np.mean(truths):.3f})"
    for kind, found in errors.items():
        report(f"median {kind} minus truth, {name}", found)
    report(f"mean anova minus truth, {name}", means)
    report(f"corrected median anova minus truth, {name}", corrected)
    assert abs(np.mean(means)) < 0.01
    assert abs(np.mean(corrected)) < (0.01 if anew else 0.015)
    assert abs(np.mean(errors["anova"])) < 0.01 or low < 1


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("repetitions", ["3", "10"])
def test_intervals_cover_the_truth(repetitions: str) -> None:
    """Mean reliability over other stimuli of the same kind is in the interval of a ceiling of 300 stimuli."""
    fewest, most = COUNTS[repetitions]
    truth = float(recorded(10**6, rates_of(10**6, 100_000), fewest, most)[1].mean())
    covered, estimates = [], []
    for seed in range(300):
        responses, _ = recorded(seed, rates_of(seed, 300), fewest, most)
        ceiling = anova(responses, in_folds(300, 1), [resample_counts(ids(300), 200, seed=0)])
        deviations = ceiling.deviations()
        assert deviations is not None
        estimates.append(ceiling.value - ceiling.bias)
        covered.append(float(abs(estimates[-1] - truth) < 1.96 * deviations.std(ddof=1)))
    report(f"mean reliability, corrected, {repetitions} repetitions, n = 300 (truth {truth:.4f})", estimates)
    coverage = report(f"coverage of its interval, {repetitions} repetitions, n = 300", covered)
    assert 0.85 < coverage < 0.99  # tails of rates are heavy, and 300 stimuli tell little of them
