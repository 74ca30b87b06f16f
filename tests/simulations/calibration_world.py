"""A world whose truth is known exactly: spikes at rates that are sums of features, seen and hidden.

Features are independent, skewed (exponential) and standardised, so the covariances of anything linear in them are
sums of products of weights. Weights are positive and rates therefore, too; counts are Poisson, so the noise variance of a
mean over repetitions is the mean rate over their number. Each unit listens to three in ten of 40 features. 24 units of the
recordings cowley2023.V4 look like these: of the mean responses over stimuli the skewness is .9 (here .9), the mean
correlation of two units .10 to .15 (.14), the participation ratio of the correlations 12 to 17 (14), reliability .74 (.76).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark_core.assembly import Responses


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> tuple[str, ...]:
    return tuple(f"s{i:05d}" for i in range(n))


@dataclass(frozen=True)
class World:
    """Units and what drives them.

    ``seen`` (n_seen, m) and ``hidden`` (n_hidden, m) are the weights of the features that models have, and have not.
    """

    seen: np.ndarray
    hidden: np.ndarray
    repetitions: int = 3

    @property
    def baseline(self) -> np.ndarray:
        """Mean rate of each unit, just so high that no rate is negative."""
        return np.asarray(self.seen.sum(axis=0) + self.hidden.sum(axis=0))

    @property
    def signal(self) -> np.ndarray:
        """Variance of each unit's rate over stimuli."""
        return np.asarray((self.seen**2).sum(axis=0) + (self.hidden**2).sum(axis=0))

    @property
    def reliability(self) -> np.ndarray:
        return np.asarray(self.signal / (self.signal + self.baseline / self.repetitions))

    def r(self, map_: np.ndarray, noise: float = 0.0) -> np.ndarray:
        """Population r of each unit with the prediction ``features @ map_`` plus noise of that variance."""
        covariance = (map_ * self.seen).sum(axis=0)
        spread = (map_**2).sum(axis=0) + noise
        total = spread * (self.signal + self.baseline / self.repetitions)
        return np.divide(covariance, np.sqrt(total), out=np.zeros(len(total)), where=spread > 0)

    def score(self, map_: np.ndarray, noise: float = 0.0) -> float:
        r = self.r(map_, noise)
        return float((np.sign(r) * r**2).sum() / self.reliability.sum())

    def sample(self, n: int, *key: int) -> tuple[np.ndarray, np.ndarray, Responses]:
        """Return features (n, n_seen), rates (n, m) and responses with repetitions."""
        random = rng(11, *key)
        n_seen, m = self.seen.shape
        both = random.standard_exponential((n, n_seen + len(self.hidden))) - 1
        rates = self.baseline + both[:, :n_seen] @ self.seen + both[:, n_seen:] @ self.hidden
        trials = random.poisson(rates[:, None, :], (n, self.repetitions, m)).astype(float)
        units = tuple(f"n{j}" for j in range(m))
        return both[:, :n_seen], rates, Responses(ids(n), trials, units, ("A",) * m)


def make_world(signal: bool = True, m: int = 24) -> World:
    """Return the world of 24 seen and 16 hidden features; without signal only the hidden ones matter."""
    random = rng(12)
    weights = random.exponential(0.7, (40, m)) * (random.random((40, m)) < 0.3)
    weights[0] += 0.1  # no unit is silent
    seen = weights[:24] if signal else np.zeros((24, m))
    return World(seen, weights[24:])
