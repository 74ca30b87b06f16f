"""Intervals that speak of other neuroids, and of other subjects, too.

Neuroids are drawn with replacement within subjects, stimuli as ever: a statistic is a sum over neuroids in each resample of
stimuli, so resampling both weights that sum by counts. Drawing crossed factors apart (here neuroids and stimuli) gives
intervals that are a little too wide rather than too narrow (Owen 2007, The pigeonhole bootstrap, Ann. Appl. Stat. 1:386).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmark_core.keys import digest
from benchmark_core.resampling import resample_counts

Resample = Literal["stimuli", "neuroids", "both", "hierarchical"]
RESAMPLE: tuple[Resample, ...] = ("stimuli", "neuroids", "both", "hierarchical")
STATISTICS = ("score", "r_neuroid")
DRAWS_OF_A_SUBJECT = 4  # drawn more often in one resample, a subject's draws of neuroids are used again
FEW_SUBJECTS = 5


class NeuroidDraws:
    """Sums over resampled neuroids of one subject.

    Parameters
    ----------
    scheme
        ``neuroids``: stimuli stay as they are. ``both``: they are resampled, too. ``hierarchical``: subjects as well,
        so that neuroids of a subject are drawn several times.
    neuroid_ids
        (m,).
    valid
        (m,) neuroids that have an r.
    n_resamples, seed
        As for stimuli.
    """

    def __init__(
        self, scheme: Resample, neuroid_ids: Sequence[str], valid: np.ndarray, n_resamples: int, seed: int
    ) -> None:
        self.scheme = scheme
        self.ids = [name for name, use in zip(neuroid_ids, valid, strict=True) if use]
        n_draws = DRAWS_OF_A_SUBJECT if scheme == "hierarchical" else 1
        self.counts = np.zeros((n_draws, n_resamples, len(valid)), dtype=np.uint16)
        for draw in range(n_draws if self.ids else 0):
            named = [f"neuroids {draw}: {name}" for name in self.ids]
            self.counts[draw][:, valid] = resample_counts(named, n_resamples, seed)
        self._sums = np.zeros((4, n_draws, n_resamples))

    def add(self, neuroids: np.ndarray, explained: np.ndarray, reliable: np.ndarray, r: np.ndarray) -> None:
        """Add neuroids.

        Parameters
        ----------
        neuroids
            (k,) positions.
        explained, reliable
            (n_resamples or 1, k) numerator and denominator of the score; 0 for neuroids that do not count.
        r
            (n_resamples or 1, k), NaN where there is none.
        """
        counts = self.counts[:, :, neuroids].astype(np.float64)
        finite = np.isfinite(r)
        for total, values in zip(self._sums, (explained, reliable, np.where(finite, r, 0.0), finite), strict=True):
            total += np.einsum("dbk,bk->db", counts, np.broadcast_to(values, counts.shape[1:]).astype(np.float64))

    def statistics(self) -> dict[str, np.ndarray]:
        """Return score and r_neuroid in each resample, (n_draws, n_resamples), NaN where there is none."""
        explained, reliable, total, count = self._sums
        return {
            "score": np.divide(explained, reliable, out=np.full(total.shape, np.nan), where=reliable != 0),
            "r_neuroid": np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0),
        }

    def key(self, stimuli: str) -> str:
        """Return what identifies these resamples and those of the stimuli."""
        return digest({"what": "resamples", "scheme": self.scheme, "stimuli": stimuli, "neuroids": self.ids})


@dataclass(frozen=True, eq=False)
class Deviations:
    """How far one subject's statistic lies off in each resample.

    Parameters
    ----------
    stimuli
        (n_resamples,) over stimuli, widened for folds; 0 where these stay as they are.
    neuroids
        (n_draws, n_resamples) what resampling neuroids adds to it: no fit rests on them, so it is not widened.
    """

    stimuli: np.ndarray
    neuroids: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """(n_resamples,) over both."""
        return np.asarray(self.stimuli + self.neuroids[0])


def centred(draws: np.ndarray) -> np.ndarray:
    """Return draws minus the mean of those that have a value, along the last axis."""
    finite = np.isfinite(draws)
    count = np.maximum(finite.sum(axis=-1, keepdims=True), 1)
    return np.asarray(draws - np.where(finite, draws, 0.0).sum(axis=-1, keepdims=True) / count)


def deviations_of(scheme: Resample, stimuli: np.ndarray, with_neuroids: np.ndarray, factor: float) -> Deviations:
    """Return the deviations of a subject.

    Parameters
    ----------
    scheme
        What is resampled.
    stimuli
        (n_resamples,) the statistic over resampled stimuli.
    with_neuroids
        (n_draws, n_resamples) the same with resampled neuroids; with ``neuroids``, over stimuli as they are.
    factor
        By which folds widen.
    """
    if scheme == "neuroids":
        return Deviations(np.zeros(len(stimuli)), centred(with_neuroids))
    return Deviations(factor * centred(stimuli), centred(with_neuroids - stimuli))


def over_subjects(parts: Mapping[str, Deviations], values: Mapping[str, float], seed_key: str) -> np.ndarray:
    """Return how far the mean over subjects lies off where subjects are drawn, too, (n_resamples,).

    Parameters
    ----------
    parts, values
        Of each subject: deviations and value.
    seed_key
        What the draws of subjects depend on.
    """
    names = list(parts)
    n = len(next(iter(parts.values())).stimuli)
    key = int(digest({"what": "subjects", "names": names, "key": seed_key})[:32], 16)
    drawn = np.floor(np.random.Generator(np.random.Philox(key=key)).random((n, len(names))) * len(names)).astype(int)
    stimuli = np.array([parts[name].stimuli for name in names])
    neuroids = np.array([parts[name].neuroids for name in names])
    value = np.array([values[name] for name in names])
    every, total = np.arange(n), np.zeros(n)
    for place in range(len(names)):
        subject = drawn[:, place]
        before = (drawn[:, :place] == subject[:, None]).sum(axis=1) % neuroids.shape[1]
        total += value[subject] + stimuli[subject, every] + neuroids[subject, before, every]
    return centred(total / len(names))
