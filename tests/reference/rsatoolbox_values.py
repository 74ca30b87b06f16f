"""What rsatoolbox says about small made-up data, for the tests of RDMs and their comparisons.

rsatoolbox brings more packages along than one check is worth, so its answers are kept in ``rsatoolbox_values.json``. To make
them anew, in an environment of its own::

    python -m venv reference-env && reference-env/bin/pip install rsatoolbox==0.3.2
    reference-env/bin/python tests/reference/rsatoolbox_values.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

VALUES = Path(__file__).with_suffix(".json")
N_STIMULI, N_FEATURES, N_NEUROIDS, N_REPETITIONS, N_SUBJECTS = 12, 30, 8, 5, 4
METHODS = {
    "pearson": "corr",
    "spearman": "spearman",
    "kendall": "tau-a",
    "cosine": "cosine",
    "whitened-pearson": "corr_cov",
    "whitened-cosine": "cosine_cov",
}


def world() -> dict[str, np.ndarray]:
    """Return the data: the same every time, on every machine.

    ``features`` (stimuli, features); ``trials`` (stimuli, repetitions, neuroids); ``metric`` (neuroids, neuroids), a symmetric
    positive definite matrix; ``rdms`` and ``tied``, (subjects, pairs) in the order of the upper triangle's rows.
    """
    random = np.random.Generator(np.random.Philox(92))
    hidden = random.standard_normal((N_STIMULI, 5))
    mixed = random.standard_normal((N_NEUROIDS, N_NEUROIDS))
    rates = hidden @ random.standard_normal((5, N_NEUROIDS))
    noise = random.standard_normal((N_STIMULI, N_REPETITIONS, N_NEUROIDS)) @ (mixed / 2)
    upper = np.triu_indices(N_STIMULI, 1)
    seen = hidden + 0.7 * random.standard_normal((N_SUBJECTS, N_STIMULI, 5))
    rdms = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1)[:, upper[0], upper[1]]
    return {
        "features": 3 + hidden @ random.standard_normal((5, N_FEATURES)),
        "trials": 2 + rates[:, None] + noise,
        "metric": mixed @ mixed.T + np.eye(N_NEUROIDS),
        "rdms": rdms,
        "tied": np.round(rdms),
    }


def main() -> None:
    """Ask rsatoolbox, and keep its answers."""
    from importlib.metadata import version

    from rsatoolbox.data import Dataset
    from rsatoolbox.data.noise import prec_from_residuals
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs, calc_rdm, compare

    data = world()
    stimuli = [f"s{i:02d}" for i in range(N_STIMULI)]
    patterns = Dataset(data["features"], obs_descriptors={"stimulus": stimuli})
    trials = Dataset(
        data["trials"].reshape(-1, N_NEUROIDS),
        obs_descriptors={
            "stimulus": np.repeat(stimuli, N_REPETITIONS),
            "repetition": np.tile(np.arange(N_REPETITIONS), N_STIMULI),
        },
    )

    def rdm(source: Any, method: str, **options: Any) -> list[float]:
        return [float(v) for v in calc_rdm(source, method=method, descriptor="stimulus", **options).get_vectors()[0]]

    def crossvalidated(noise: np.ndarray | None) -> list[float]:
        return rdm(trials, "crossnobis", cv_descriptor="repetition", noise=noise)

    answers: dict[str, Any] = {
        "rsatoolbox": version("rsatoolbox"),
        # Mean squared difference over features; correlation distance.
        "euclidean": rdm(patterns, "euclidean"),
        "correlation": rdm(patterns, "correlation"),
        "crossvalidated": crossvalidated(None),
        "crossnobis": crossvalidated(data["metric"]),
        # All presentations as repetitions of one stimulus; with several its variance of correlations has another divisor.
        "precision": prec_from_residuals(trials.measurements - trials.measurements.mean(axis=0)).tolist(),
        "compare": {},
        "ceiling": {},
    }
    for ours, theirs in METHODS.items():
        answers["compare"][ours] = {
            kind: compare(RDMs(data[kind]), RDMs(data[kind]), theirs).tolist() for kind in ("rdms", "tied")
        }
        answers["ceiling"][ours] = [float(v) for v in boot_noise_ceiling(RDMs(data["rdms"]), theirs)]
    VALUES.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
