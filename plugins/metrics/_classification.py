"""The metric ``classification``: principal components of the training stimuli, a classifier on them, its accuracy."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import NearestCentroid

from benchmark_core.errors import InputError
from benchmark_core.labels import UNLABELLED, Labels
from benchmark_core.records import Score
from benchmark_core.representation import Representation
from benchmark_core.resampling import fold_factor, resample_counts, resamples_key
from benchmark_core.splits import Splits
from benchmark_core.stimuli import match_stimuli
from plugins.metrics._predictivity import check_groups

Classifier = Literal["logistic", "nearest-centroid"]
MAX_ITERATIONS = 200
INNER_FOLDS = 3
"""Folds in which a layer is chosen."""


@dataclass(frozen=True)
class Evaluation:
    """One fold: stimuli that components are fitted on, that the classifier is fitted on, and that it is tested on."""

    components: tuple[str, ...]
    fit: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a fitted classifier did in one fold: its predictions, and how often it iterated."""

    layer: str
    predicted: np.ndarray
    components_used: int
    iterations: int | None


def compute(
    representations: Sequence[Mapping[str, Representation]],
    target: Labels,
    splits: Splits,
    *,
    groups: Mapping[str, str] | None = None,
    classifier: Classifier = "logistic",
    components: int = 1000,
    folds: int = 5,
    n_bootstrap: int = 1000,
    seed: int = 42,
) -> Score:
    """Score how well categories can be read off one model's representation.

    Parameters
    ----------
    representations
        One mapping from layer to representation. Of several layers the one with the best accuracy in a 3-fold
        cross-validation within the stimuli that the classifier is fitted on is chosen in each fold; ties go to the
        earlier layer.
    target
        Labels; stimuli without one only serve to fit components.
    splits
        One fold: components are fitted on its training stimuli, and the labelled test stimuli are cross-validated in
        stratified, shuffled folds (Kazemian et al.). Several folds: components and classifier are fitted on the
        training stimuli of each, and tested on its test stimuli.
    groups
        Group of each stimulus_id where stimuli come in groups: no fold divides them, and groups are resampled.
    classifier
        Multinomial logistic regression (L2 penalty, C = 1, at most 200 iterations) or nearest centroid.
    components
        Principal components; the rank where that is smaller.
    folds
        Number of folds of a fixed split's test stimuli.
    n_bootstrap, seed
        Number of resamples; seed of folds and resamples.

    Returns
    -------
    ``value`` is the accuracy, averaged over folds; the interval is that of a bootstrap over stimuli within folds.
    ``arrays`` holds ``predicted`` (n_test,), positions among the sorted categories, and ``stimulus`` (n_test,), the
    position of each among the target's sorted stimulus ids.

    Raises
    ------
    InputError
        For a single category, a category with fewer stimuli than folds, or stimulus ids that do not match.
    """
    if len(representations) != 1 or not representations[0]:
        raise InputError(
            f"the metric classification takes one model with at least one layer, not {len(representations)} models"
        )
    if not isinstance(target, Labels):
        raise InputError(f"the metric classification needs labels, not {type(target).__name__}")
    (layers,) = representations
    for representation in layers.values():
        match_stimuli(representation.stimulus_ids, target.stimulus_ids, "labels")
    check_groups(groups, target.stimulus_ids)
    label_of = dict(zip(target.stimulus_ids, target.labels, strict=True))
    evaluations = evaluations_of(label_of, splits, folds, seed, groups)
    readers = {name: ComponentReader(layer, components) for name, layer in layers.items()}
    outcomes = [_evaluate(e, readers, label_of, classifier, seed, groups) for e in evaluations]
    return _score(target, label_of, evaluations, outcomes, groups, components, classifier, n_bootstrap, seed)


def evaluations_of(
    label_of: Mapping[str, str], splits: Splits, n_folds: int, seed: int, groups: Mapping[str, str] | None
) -> list[Evaluation]:
    """Return what is fitted and tested where; see :func:`compute`.

    Raises
    ------
    InputError
        For too few categories, or stimuli of one.
    """
    labelled = [tuple(i for i in fold.test if label_of[i] != UNLABELLED) for fold in splits.folds]
    counts = Counter(label_of[i] for test in labelled for i in test)
    if len(counts) < 2:
        found = f"there is only one, {next(iter(counts))!r}" if counts else "no test stimulus has a label"
        raise InputError(f"classification needs two categories among the test stimuli; {found}")
    if len(splits.folds) > 1:
        found_folds = [
            Evaluation(fold.train, tuple(i for i in fold.train if label_of[i] != UNLABELLED), test)
            for fold, test in zip(splits.folds, labelled, strict=True)
        ]
        for evaluation in found_folds:
            if not evaluation.test or len({label_of[i] for i in evaluation.fit}) < 2:
                raise InputError("a fold has no labelled test stimuli, or labels of fewer than two categories to learn")
        return found_folds
    few = sorted(name for name, count in counts.items() if count < n_folds)
    if few:
        fewest = min(counts.values())
        instead = f", or use fewer folds, e.g. classification:folds={fewest}" if fewest > 1 else ""
        raise InputError(
            f"{n_folds} folds need {n_folds} labelled test stimuli of every category, but {few[0]!r} has {counts[few[0]]}"
            f"{f' (and {len(few) - 1} more have too few)' if len(few) > 1 else ''}; add stimuli or leave the "
            f"category out{instead}"
        )
    (fold,), (ids,) = splits.folds, labelled
    return [
        Evaluation(fold.train, tuple(ids[i] for i in fit), tuple(ids[i] for i in test))
        for fit, test in _stratified(ids, label_of, n_folds, seed, groups)
    ]


def _stratified(
    ids: Sequence[str], label_of: Mapping[str, str], n_folds: int, seed: int, groups: Mapping[str, str] | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return positions to fit on and to test on, in folds with equal shares of every category."""
    labels = [label_of[i] for i in ids]
    of_ids = None if groups is None else [groups[i] for i in ids]
    if of_ids is not None and len(set(of_ids)) < n_folds:
        raise InputError(f"{len(set(of_ids))} groups of stimuli cannot be split into {n_folds} folds")
    kind = StratifiedKFold if of_ids is None else StratifiedGroupKFold
    folds: Iterator[tuple[np.ndarray, np.ndarray]] = kind(n_folds, shuffle=True, random_state=seed).split(
        ids, labels, of_ids
    )
    return folds


@dataclass
class ComponentReader:
    """Leading principal components of one layer, kept for the last set of stimuli they were fitted on.

    They are divided by one number, so that the mean square of a training stimulus's components is the number of
    features: what features scaled to unit mean variance have. A classifier with a penalty then does not depend on the
    unit of a model's outputs.
    """

    representation: Representation
    n_components: int
    _fitted_on: tuple[str, ...] = ()
    _values: np.ndarray | None = None

    def read(self, fitted_on: tuple[str, ...], stimulus_ids: Sequence[str]) -> np.ndarray:
        """Return the components (len(stimulus_ids), k); one column of zeros where the features never vary."""
        if self._values is None or fitted_on != self._fitted_on:
            self._values, self._fitted_on = self._project(fitted_on), fitted_on
        return self._values[self.representation.index(stimulus_ids)]

    def _project(self, fitted_on: tuple[str, ...]) -> np.ndarray:
        decomposition = self.representation.decomposition(fitted_on)
        backend = decomposition.backend
        used = min(self.n_components, decomposition.rank)
        if used == 0:
            return np.zeros((len(self.representation), 1))
        square = float(backend.to_numpy(decomposition.eigenvalues)[:used].sum()) / len(fitted_on)
        values = decomposition.principal_components(self.representation.stimulus_ids)[:, :used]
        scaled: np.ndarray = backend.to_numpy(values) * np.sqrt(self.representation.n_features / square)
        return scaled


def _evaluate(
    evaluation: Evaluation,
    readers: Mapping[str, ComponentReader],
    label_of: Mapping[str, str],
    classifier: Classifier,
    seed: int,
    groups: Mapping[str, str] | None,
) -> Outcome:
    layer = next(iter(readers))
    if len(readers) > 1:
        accuracies = {
            name: _inner_accuracy(reader, evaluation, label_of, classifier, seed, groups)
            for name, reader in readers.items()
        }
        layer = max(accuracies, key=accuracies.__getitem__)  # the first of equals
    fit = readers[layer].read(evaluation.components, evaluation.fit)
    predicted, iterations = _fit_predict(
        classifier,
        fit,
        [label_of[i] for i in evaluation.fit],
        readers[layer].read(evaluation.components, evaluation.test),
    )
    used = fit.shape[1] if fit.any() else 0
    return Outcome(layer, predicted, used, iterations)


def _inner_accuracy(
    reader: ComponentReader,
    evaluation: Evaluation,
    label_of: Mapping[str, str],
    classifier: Classifier,
    seed: int,
    groups: Mapping[str, str] | None,
) -> float:
    """Return the accuracy within the stimuli that the classifier is to be fitted on."""
    values = reader.read(evaluation.components, evaluation.fit)
    labels = np.array([label_of[i] for i in evaluation.fit])
    accuracies = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of categories with fewer stimuli than folds
        for fit, test in _stratified(evaluation.fit, label_of, INNER_FOLDS, seed, groups):
            if len(set(labels[fit])) > 1:
                predicted, _ = _fit_predict(classifier, values[fit], labels[fit], values[test])
                accuracies.append(float(np.mean(predicted == labels[test])))
    return float(np.mean(accuracies)) if accuracies else 0.0


def _fit_predict(
    classifier: Classifier, fit: np.ndarray, labels: Sequence[str] | np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, int | None]:
    """Return the predicted labels of ``test``, and the iterations of a logistic regression."""
    if not fit.any():  # nothing to go by: the most frequent category
        return np.full(len(test), Counter(map(str, labels)).most_common(1)[0][0]), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether it converged is reported from its count of iterations
        if classifier == "nearest-centroid":
            return np.asarray(NearestCentroid().fit(fit, labels).predict(test)), None
        model: Any = LogisticRegression(max_iter=MAX_ITERATIONS).fit(fit, labels)
    return np.asarray(model.predict(test)), int(np.max(model.n_iter_))


def _score(
    target: Labels,
    label_of: Mapping[str, str],
    evaluations: Sequence[Evaluation],
    outcomes: Sequence[Outcome],
    groups: Mapping[str, str] | None,
    components: int,
    classifier: Classifier,
    n_bootstrap: int,
    seed: int,
) -> Score:
    correct = [
        np.array([label_of[i] for i in e.test]) == o.predicted for e, o in zip(evaluations, outcomes, strict=True)
    ]
    accuracies = [float(c.mean()) for c in correct]
    value = float(np.mean(accuracies))
    resampled = np.zeros(n_bootstrap)
    for evaluation, hits in zip(evaluations, correct, strict=True):
        of_test = None if groups is None else [groups[i] for i in evaluation.test]
        counts = resample_counts(evaluation.test, n_bootstrap, seed, of_test)
        resampled += counts @ hits / counts.sum(axis=1) / len(evaluations)
    factor = fold_factor(len(evaluations))
    margin = 1.96 * float(resampled.std(ddof=1)) * factor
    ids = [i for e in evaluations for i in e.test]
    tested, hit = [label_of[i] for i in ids], np.concatenate(correct)
    counts_of, hits_of = Counter(tested), Counter(name for name, h in zip(tested, hit, strict=True) if h)
    used = sorted({o.components_used for o in outcomes})
    unconverged = [n for n, o in enumerate(outcomes, start=1) if o.iterations == MAX_ITERATIONS]
    notes = []
    if unconverged:
        notes.append(
            f"logistic regression did not converge within {MAX_ITERATIONS} iterations in fold"
            f"{'s' * (len(unconverged) > 1)} {', '.join(map(str, unconverged))}"
        )
    if 0 in used:
        notes.append("a layer is the same for all training stimuli: it has no principal components")
    position_of = {name: i for i, name in enumerate(target.categories)}
    stimulus_of = {stimulus_id: i for i, stimulus_id in enumerate(target.stimulus_ids)}
    predicted = [position_of[str(name)] for o in outcomes for name in o.predicted]
    details: dict[str, Any] = {
        "chance": max(counts_of.values()) / len(tested),
        "n_categories": len(counts_of),
        "accuracy_by_fold": accuracies,
        "accuracy_by_category": {name: hits_of[name] / counts_of[name] for name in sorted(counts_of)},
        "components": components,
        "components_used": used[0] if len(used) == 1 else [o.components_used for o in outcomes],
        "classifier": classifier,
        "converged": None if classifier != "logistic" else not unconverged,
        "iterations": [o.iterations for o in outcomes],
        "folds": len(evaluations),
    }
    return Score(
        value=value,
        ci_low=max(0.0, value - margin),
        ci_high=min(1.0, value + margin),
        fields={"n_stimuli": len(ids), "n_neuroids": None},
        details=details,
        layers=(tuple(o.layer for o in outcomes),),
        arrays={
            "predicted": np.array(predicted, dtype=np.int32),
            "stimulus": np.array([stimulus_of[i] for i in ids], dtype=np.int32),
        },
        warnings=tuple(notes),
        resamples=factor * (resampled - resampled.mean()),
        resamples_key=resamples_key([e.test for e in evaluations], n_bootstrap, seed, groups),
    )
