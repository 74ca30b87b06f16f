"""Centred kernel alignment (CKA) with linear kernels, biased and debiased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark_core.dissimilarity import unless_rounding
from benchmark_core.errors import InputError
from benchmark_core.rdm_comparison import Similarity, compare_kernels

if TYPE_CHECKING:
    from benchmark_core.representation import Representation

FEWEST = {False: 3, True: 4}
"""Stimuli that CKA needs, debiased or not."""


def kernel_of_representation(representation: Representation, stimulus_ids: Sequence[str]) -> np.ndarray:
    """Return inner products of a layer's features, centred over the given stimuli, (n, n) in their order.

    Raises
    ------
    InputError
        For ids that the representation does not hold.
    """
    rows = np.array(representation.index(stimulus_ids), dtype=np.intp)
    if representation.features is not None:
        return kernel_of_patterns(representation.features[rows].astype(np.float64))
    assert representation.kernel is not None
    kernel = unless_rounding(representation.kernel[np.ix_(rows, rows)], representation.mean_square)
    kernel = kernel - kernel.mean(axis=0)
    return np.asarray(kernel - kernel.mean(axis=1, keepdims=True))


def kernel_of_patterns(patterns: np.ndarray) -> np.ndarray:
    """Return inner products of patterns (n, m), centred over stimuli, (n, n)."""
    values = np.asarray(patterns, dtype=np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    return unless_rounding(centred @ centred.T, float(mean @ mean))


def alignment(first: np.ndarray, second: np.ndarray, debiased: bool = False, influence: bool = False) -> Similarity:
    """Return the CKA of two kernels.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with HSIC(K, L) = tr(K H L H) / (n - 1)^2 (Kornblith et al. 2019, ICML), or, debiased,
    with the unbiased estimate of HSIC (Song et al. 2012, JMLR 13:1393): the sum over i != j of the products of U-centred
    kernels, divided by n (n - 3). Its numerator is 0 on average for independent features; with few stimuli and many
    features the biased CKA of independent features is near 1 (Murphy et al. 2024).

    Parameters
    ----------
    first, second
        (n, n) inner products; centred or not.
    debiased
        Use the unbiased estimate. It may be negative.
    influence
        Whether to return what each pair of stimuli adds.

    Returns
    -------
    The value, from -1 (from 0, if not debiased) to 1; 0 where all of the first's features are equal, NaN where the
    second's are.

    Raises
    ------
    InputError
        For fewer than three stimuli; four, if debiased.
    """
    n = len(first)
    if n < FEWEST[debiased]:
        raise InputError(f"{'debiased ' * debiased}CKA needs {FEWEST[debiased]} stimuli at least, not {n}")
    centre = _u_centred if debiased else _centred
    return compare_kernels(centre(first), centre(second), influence, diagonal=not debiased)


def linear_cka(first: Representation, second: Representation, debiased: bool = False) -> float:
    """Return the CKA of two representations of the same stimuli, of two models for example.

    Raises
    ------
    InputError
        For representations of different stimuli, or too few.
    """
    from benchmark_core.stimuli import match_stimuli

    match_stimuli(first.stimulus_ids, second.stimulus_ids, f"layer {second.layer!r}")
    ids = first.stimulus_ids
    return alignment(kernel_of_representation(first, ids), kernel_of_representation(second, ids), debiased).value


def _centred(kernel: np.ndarray) -> np.ndarray:
    kernel = kernel - kernel.mean(axis=0)
    return np.asarray(kernel - kernel.mean(axis=1, keepdims=True))


def _u_centred(kernel: np.ndarray) -> np.ndarray:
    """Return the kernel with a diagonal of zeros and rows that sum to zero (Szekely & Rizzo 2014, Ann. Stat. 42:2382)."""
    n = len(kernel)
    kernel = _centred(kernel)
    np.fill_diagonal(kernel, 0.0)
    rows = kernel.sum(axis=0) / (n - 2)
    kernel = kernel - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
    np.fill_diagonal(kernel, 0.0)
    return kernel
