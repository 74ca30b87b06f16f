"""The metric ``spectrum``: effective dimensionality, cumulative variance and power law of a layer's eigenvalues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmark_core.errors import InputError
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.spectral import decompose
from benchmark_core.splits import Splits
from plugins.metrics._predictivity import mean_of

FIT_LOW = 10
FIT_MOST = 1000
FEWEST_RANKS = 3
"""Ranks that a power law is fitted to, at least."""


@dataclass(frozen=True)
class PowerLaw:
    """A fit of log eigenvalue = log_scale - alpha log rank by least squares, over ranks low to high.

    Parameters
    ----------
    alpha
        Exponent, positive where eigenvalues fall.
    log_scale
        Natural logarithm of the fitted eigenvalue of rank 1, relative to the sum of all eigenvalues.
    r2
        Share of the variance of the log eigenvalues that the line explains; 1 for equal eigenvalues.
    low, high
        First and last rank, counted from 1.
    """

    alpha: float
    log_scale: float
    r2: float
    low: int
    high: int


def effective_dimensionality(eigenvalues: np.ndarray) -> float:
    """Return the participation ratio (sum l)^2 / sum l^2 of (r,) positive eigenvalues: r if all are equal."""
    scaled = eigenvalues / eigenvalues[0]
    return float(scaled.sum() ** 2 / (scaled**2).sum())


def cumulative_shares(eigenvalues: np.ndarray) -> np.ndarray:
    """Return the share of the variance of the first 1, 2, ..., r components, (r,); the last is 1."""
    total = np.cumsum(eigenvalues / eigenvalues[0])
    return np.asarray(total / total[-1])


def components_to_reach(eigenvalues: np.ndarray, share: float, most: int | None = None) -> int | None:
    """Return how many components explain a share of the variance; None if ``most`` of them do not."""
    shares = cumulative_shares(eigenvalues)[:most]
    reached = np.flatnonzero(shares >= share - 1e-12)
    return int(reached[0]) + 1 if len(reached) else None


def numbers_of_components(rank: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50, ... up to the rank."""
    steps = (step * 10**decade for decade in range(len(str(rank))) for step in (1, 2, 5))
    return [k for k in steps if k <= rank]


def power_law(eigenvalues: np.ndarray, low: int, high: int) -> PowerLaw:
    """Fit a power law to the eigenvalues of ranks low to high; see :class:`PowerLaw`.

    Raises
    ------
    InputError
        If there are not so many eigenvalues, or fewer than three of them are left.
    """
    rank = len(eigenvalues)
    if not 1 <= low <= high - FEWEST_RANKS + 1 or high > rank:
        raise InputError(
            f"cannot fit a power law to ranks {low} to {high}: there are {rank} eigenvalues, and a fit takes at least "
            f"{FEWEST_RANKS} ranks; choose fit_low and fit_high between 1 and {rank}"
        )
    x = np.log(np.arange(low, high + 1))
    y = np.log(eigenvalues[low - 1 : high]) - np.log(eigenvalues.sum())
    across, down = x - x.mean(), y - y.mean()
    slope = float(across @ down / (across @ across))
    residual = down - slope * across
    spread = float(down @ down)
    r2 = 1 - float(residual @ residual) / spread if spread > 1e-20 * len(x) else 1.0
    return PowerLaw(-slope, float(y.mean() - slope * x.mean()), r2, low, high)


def compute(
    representations: Sequence[Mapping[str, Representation]],
    target: Any,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    stimuli: Literal["all", "train"] = "all",
    share: float = 0.85,
    components: int | None = None,
    fit_low: int = FIT_LOW,
    fit_high: int | None = None,
    standardise: bool = False,
) -> Score:
    """Describe the eigenspectrum of one model's layers.

    Parameters
    ----------
    representations
        One mapping from layer to representation, in order from input to output. All are described, the last one gives
        the score: there is nothing to choose by.
    target
        Of any kind; only the names of its subjects matter, whose training sets are used.
    splits
        Where the training sets come from.
    groups
        Not used.
    stimuli
        ``all``, or ``train``: each training set, and means over these.
    share
        Share of the variance to reach.
    components
        How many components may be used for that.
    fit_low, fit_high
        Ranks that the power law is fitted to; without ``fit_high`` half the rank, and 1000 at most.
    standardise
        Divide features by their deviations over the training stimuli.

    Returns
    -------
    ``value`` is the effective dimensionality of the last layer, None where its features never vary. ``arrays`` holds for
    each layer the eigenvalues of the covariance matrix (divisor n - 1), of the first training set where there are several.

    Raises
    ------
    InputError
        For ranks to fit that the last layer does not have.
    """
    if len(representations) != 1 or not representations[0]:
        raise InputError(
            f"the metric spectrum takes one model with at least one layer, not {len(representations)} models"
        )
    (layers,) = representations
    headline = list(layers)[-1]
    training_sets = list(
        dict.fromkeys(f.train for subject in getattr(target, "subject_names", ("",)) for f in splits.of(subject))
    )
    asked = fit_low != FIT_LOW or fit_high is not None
    described: dict[str, dict[str, Any]] = {}
    arrays: dict[str, np.ndarray] = {}
    warnings: list[str] = []
    for name, layer in layers.items():
        of_sets = []
        for eigenvalues, n in _spectra(layer, training_sets, stimuli, standardise):
            arrays.setdefault(f"{name}/eigenvalues", eigenvalues / (n - 1))
            found, problem = _describe(eigenvalues, n, share, components, fit_low, fit_high)
            if problem and asked and name == headline:
                raise InputError(f"layer {name!r}: {problem}")
            warnings += [f"layer {name!r}: {problem}"] if problem else []
            of_sets.append(found)
        described[name] = {"n_features": layer.n_features} | _mean_over_sets(of_sets)
    main = described[headline]
    if main["components_to_share"] is None and main["rank"]:
        warnings.append(f"layer {headline!r}: {components} components do not explain {share:g} of the variance")
    return Score(
        value=main["effective_dimensionality"],
        fields={"n_stimuli": main["n_stimuli"], "n_neuroids": None},
        details={
            "unit": "dimensions",
            "stimuli": stimuli,
            "n_training_sets": len(training_sets) if stimuli == "train" or standardise else None,
            "share": share,
            **main,
            "layers": described,
        },
        layers=((headline,),),
        arrays=arrays,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _spectra(
    layer: Representation, training_sets: Sequence[tuple[str, ...]], stimuli: str, standardise: bool
) -> list[tuple[np.ndarray, int]]:
    """Return the eigenvalues (r,) of the centred features' inner products, and the number of stimuli, of each set."""
    found = []
    for train in training_sets if standardise or stimuli == "train" else [()]:
        features = layer.standardised(train) if standardise else layer
        if stimuli == "train":
            decomposition = features.decomposition(train)  # which others may have a use for
        else:
            decomposition = decompose(features, features.stimulus_ids)
        values = decomposition.backend.to_numpy(decomposition.eigenvalues)
        found.append((np.asarray(values, dtype=np.float64), decomposition.n_stimuli))
    return found


def _describe(
    eigenvalues: np.ndarray, n: int, share: float, components: int | None, fit_low: int, fit_high: int | None
) -> tuple[dict[str, Any], str]:
    """Return what there is to say of a spectrum, and what is wrong with the range of the fit."""
    rank = len(eigenvalues)
    found: dict[str, Any] = {"n_stimuli": n, "rank": rank}
    if not rank:
        nothing = dict.fromkeys(("effective_dimensionality", "components_to_share", "alpha", "power_law"))
        return found | {"total_variance": 0.0, "variance_explained": {}} | nothing, "its features never vary"
    shares = cumulative_shares(eigenvalues)
    fit, problem = None, ""
    try:
        fit = power_law(eigenvalues, fit_low, min(FIT_MOST, rank // 2) if fit_high is None else fit_high)
    except InputError as error:
        problem = str(error)
    found |= {
        "effective_dimensionality": effective_dimensionality(eigenvalues),
        "components_to_share": components_to_reach(eigenvalues, share, components),
        "variance_explained": {str(k): float(shares[k - 1]) for k in numbers_of_components(rank)},
        "total_variance": float(eigenvalues.sum() / (n - 1)),
        "alpha": None if fit is None else fit.alpha,
        "power_law": None if fit is None else {**vars(fit), "method": "least squares of log eigenvalue on log rank"},
    }
    return found, problem


def _mean_over_sets(of_sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the one description, or the mean over those of several training sets, with these beside it."""
    if len(of_sets) == 1:
        return of_sets[0]
    ranks = set.intersection(*(set(s["variance_explained"]) for s in of_sets))
    mean: dict[str, Any] = {
        "n_stimuli": max(s["n_stimuli"] for s in of_sets),
        "rank": min(s["rank"] for s in of_sets),
        "variance_explained": {
            k: mean_of([s["variance_explained"][k] for s in of_sets]) for k in sorted(ranks, key=int)
        },
    }
    for name in ("effective_dimensionality", "components_to_share", "total_variance", "alpha"):
        values = [s[name] for s in of_sets]
        mean[name] = None if None in values else mean_of(values)
    return mean | {"power_law": [s["power_law"] for s in of_sets], "by_training_set": list(of_sets)}
