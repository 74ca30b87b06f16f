"""The metric ``cka``: centred kernel alignment of a layer with the mean responses of each subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark_core.alignment import FEWEST, alignment, kernel_of_patterns, kernel_of_representation
from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.rdm_comparison import Similarity
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.splits import Splits
from benchmark_core.stimuli import match_stimuli
from plugins.metrics._predictivity import check_groups
from plugins.metrics._similarity import (
    Patterns,
    Resampling,
    Stimuli,
    Subject,
    SubjectSimilarity,
    average_over_subjects,
    compare_subject,
    patterns_of,
)


def compute(
    representations: Sequence[Mapping[str, Representation]],
    target: Responses,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    debiased: bool = True,
    stimuli: Stimuli = "test",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Score:
    """Score the alignment of one model's kernel with that of the mean responses.

    Parameters
    ----------
    representations
        One mapping from layer to representation. Of several layers each fold of each subject takes the one that aligns
        best on its training stimuli, and test stimuli are scored.
    target
        Responses; their mean over repetitions is compared, in their own units.
    splits
        One fold or several.
    groups
        Group of each stimulus_id where stimuli come in groups: groups are resampled.
    debiased
        Use the unbiased estimate of HSIC; see :func:`benchmark_core.alignment.alignment`.
    stimuli
        The ``test`` stimuli of each fold, averaged over folds; or ``all``, for a single layer.
    n_bootstrap, seed
        Number and seed of the bootstrap resamples of stimuli.

    Returns
    -------
    ``value`` is the mean over subjects.

    Raises
    ------
    InputError
        For stimulus ids that do not match, too few stimuli (three; four if debiased), or responses that never vary.
    """
    if len(representations) != 1 or not representations[0]:
        raise InputError(f"the metric cka takes one model with at least one layer, not {len(representations)} models")
    if not isinstance(target, Responses):
        raise InputError(f"the metric cka needs responses, not {type(target).__name__}")
    (layers,) = representations
    for representation in layers.values():
        match_stimuli(representation.stimulus_ids, target.stimulus_ids, "responses")
    check_groups(groups, target.stimulus_ids)
    found: dict[str, SubjectSimilarity] = {}
    patterns = {name: patterns_of(target, name) for name in target.subject_names}
    for name, one in patterns.items():
        if not np.ptp(one.averages, axis=0).any():
            raise InputError(f"the responses of subject {name} are the same to all stimuli: nothing can be compared")
        subject = Subject(one.stimulus_ids, _similarity(one, debiased))
        found[name] = compare_subject(layers, subject, splits, name, stimuli, FEWEST[debiased])
    fields = {
        "n_neuroids": target.n_neuroids,
        "n_neuroids_valid": sum(one.n_valid for one in patterns.values()),
        "ceiling": None,
    }
    resampling = Resampling(n_bootstrap, seed, groups)
    return average_over_subjects(found, splits, resampling, len(layers) > 1, fields, {"debiased": debiased})


def _similarity(one: Patterns, debiased: bool) -> Any:
    def similarity(layer: Representation, stimulus_ids: tuple[str, ...], influence: bool) -> Similarity:
        return alignment(
            kernel_of_representation(layer, stimulus_ids),
            kernel_of_patterns(one.at(stimulus_ids)),
            debiased,
            influence,
        )

    return similarity
