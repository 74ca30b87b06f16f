"""Variance partitioning as published: squares of the mean r_pattern of ridge on principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.banded import subsets
from benchmark_core.reliability import row_correlations
from benchmark_core.representation import Representation
from benchmark_core.ridge import PENALTIES
from benchmark_core.splits import Fold
from plugins.metrics._fitting import Options, fit_fold
from plugins.metrics._partition_scores import LETTERS, label
from plugins.metrics._predictivity import nanmean, number, rows_of


class PaperFits:
    """Encoding scores of principal components of each model, and of several models' components side by side.

    As Kazemian, Elmoznino and Bonner computed them: one penalty for all neuroids of a subject, chosen by their
    criterion; components are fitted on the training stimuli of a fold and, of several models, not weighted.

    Parameters
    ----------
    representations
        For each model its layers.
    components
        Number of components; the rank where that is smaller.
    standardise
        Whether to take the components of features divided by their training deviations.
    groups
        Group of each stimulus_id, or None.
    """

    def __init__(
        self,
        representations: Sequence[Mapping[str, Representation]],
        components: int,
        standardise: bool,
        groups: Mapping[str, str] | None,
    ) -> None:
        self.representations = representations
        self.components = components
        self.standardise = standardise
        self.options = Options(alpha_per_target=False, selection="paper", penalties=PENALTIES, groups=groups)
        self._sides: dict[tuple[Any, ...], Representation] = {}

    def r_pattern(
        self, jobs: Sequence[tuple[tuple[str, ...], Fold, np.ndarray]], averages: np.ndarray, target: Responses
    ) -> dict[str, Any]:
        """Return r across neuroids of every set of models, averaged over all test stimuli of one subject.

        Parameters
        ----------
        jobs
            For each fold the layer of each model, the fold, and the training responses (n_train, m).
        averages
            (n_stimuli, m) mean responses of the subject.
        target
            What the rows of ``averages`` are.

        Returns
        -------
        ``r_pattern`` by set of models, None where no stimulus has two neuroids; ``components_used`` by model and fold.
        """
        n_models = len(self.representations)
        found: dict[str, list[np.ndarray]] = {label(s): [] for s in subsets(n_models)}
        used: dict[str, list[int]] = {LETTERS[i]: [] for i in range(n_models)}
        for layers, fold, train in jobs:
            measured = averages[rows_of(target.stimulus_ids, fold.test)]
            for subset in subsets(n_models):
                side = self._side_by_side(subset, layers, fold.train)
                fit = fit_fold({label(subset): side}, train, fold, self.options).fold
                y = np.where(np.isfinite(fit.deviations), measured, np.nan)
                found[label(subset)].append(row_correlations(fit.predictions, y))
            for i, name in enumerate(layers):
                used[LETTERS[i]].append(self._components(i, name, fold.train).shape[1])
        return {
            "r_pattern": {name: number(nanmean(np.concatenate(values))) for name, values in found.items()},
            "components_used": used,
        }

    def _components(self, model: int, layer: str, train_ids: tuple[str, ...]) -> np.ndarray:
        """Return the leading components (n_stimuli, k) of one model."""
        representation = self.representations[model][layer]
        if self.standardise:
            representation = representation.standardised(train_ids)
        decomposition = representation.decomposition(train_ids)
        used = min(self.components, decomposition.rank)
        values = decomposition.principal_components(representation.stimulus_ids)[:, :used]
        return decomposition.backend.to_numpy(values)

    def _side_by_side(
        self, subset: tuple[int, ...], layers: tuple[str, ...], train_ids: tuple[str, ...]
    ) -> Representation:
        names = tuple(layers[i] for i in subset)
        key = (subset, names, train_ids)
        if key not in self._sides:
            first = self.representations[subset[0]][names[0]]
            parts = [self._components(i, name, train_ids) for i, name in zip(subset, names, strict=True)]
            values = np.concatenate(parts, axis=1)
            if not values.shape[1]:
                values = np.zeros((len(first), 1))  # features that never vary have no components
            self._sides[key] = Representation.from_features(values, first.stimulus_ids, label(subset), first.backend)
        return self._sides[key]
