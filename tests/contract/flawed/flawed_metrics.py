"""Metrics that each break one part of the contract."""

from contextlib import suppress
from functools import partial

from benchmark_core import MetricSpec, hookimpl

FLAWS = (
    "none",
    "draws-from-numpy",
    "draws-from-the-system",
    "scales-its-input",
    "no-number",
    "too-large",
    "outside-its-interval",
    "fits-on-everything",
    "spoilt-by-a-gap",
    "drops-neuroids",
    "says-no-counts",
    "returns-a-number",
    "asks-the-network",
)


def ridge(x_train, y_train, x_test):
    """Return predictions of a ridge regression with a fixed penalty."""
    import numpy as np

    mean, centre = y_train.mean(axis=0), x_train.mean(axis=0)
    x = x_train - centre
    weights = np.linalg.solve(x @ x.T + 1e-3 * np.trace(x @ x.T) * np.eye(len(x)) / len(x), y_train - mean)
    return (x_test - centre) @ x.T @ weights + mean


def score(flaw, representations, target, splits):
    """Return r of ridge predictions from the last layer, averaged over neuroids; with a flaw."""
    import os
    import socket

    import numpy as np

    from benchmark_core import Score

    layer = list(representations[0].values())[-1]
    x = layer.coordinates()
    r, valid = [], 0
    for subject in target.subject_names:
        averages = target.of_subject(subject).averages()
        usable = np.isfinite(averages).all(axis=0) & (np.ptp(averages, axis=0) > 0)
        if flaw == "spoilt-by-a-gap":
            usable[:] = True
        valid += int(usable.sum())
        for fold in splits.of(subject):
            train, test = layer.index(fold.train), layer.index(fold.test)
            fitted = list(range(len(x))) if flaw == "fits-on-everything" else train
            predicted = ridge(x[fitted], averages[fitted][:, usable], x[test])
            with np.errstate(invalid="ignore"):
                r += [np.corrcoef(p, y)[0, 1] for p, y in zip(predicted.T, averages[test][:, usable].T, strict=True)]
    value = float(np.mean(r))
    n_neuroids = target.n_neuroids
    if flaw == "draws-from-numpy":
        value += 1e-3 * np.random.standard_normal()  # noqa: NPY002
    elif flaw == "draws-from-the-system":
        value += 1e-6 * os.urandom(4)[0] + 1e-9 * os.urandom(4)[0]
    elif flaw == "scales-its-input":
        target.values[:] *= 2
    elif flaw == "no-number":
        value = None
    elif flaw == "too-large":
        value = 100 * value
    elif flaw == "drops-neuroids":
        n_neuroids = valid
    elif flaw == "asks-the-network":
        with suppress(OSError):
            socket.getaddrinfo("localhost", 80)
    elif flaw == "returns-a-number":
        return value
    fields = {"n_stimuli": len(target.stimulus_ids), "n_neuroids": n_neuroids, "n_neuroids_valid": valid}
    interval = {"ci_low": 2.0, "ci_high": 3.0} if flaw == "outside-its-interval" else {}
    return Score(value, fields={} if flaw == "says-no-counts" else fields, **interval)


def compute(representations, target, splits, *, groups=None, flaw):
    """Take groups, and leave them."""
    return score(flaw, representations, target, splits)


def compute_without_groups(representations, target, splits):
    """Take no groups."""
    return score("none", representations, target, splits)


@hookimpl
def register_metrics():
    """Offer one metric for each flaw."""
    shared = {"version": 1, "description": "flawed on purpose"}
    return [
        *(MetricSpec(name=f"flaw-{flaw}", compute=partial(compute, flaw=flaw), **shared) for flaw in FLAWS),
        MetricSpec(name="flaw-knows-no-groups", compute=compute_without_groups, **shared),
        MetricSpec(name="flaw-accepts", compute=partial(compute, flaw="none"), accepts=("movies",), **shared),
    ]
