"""Do intervals of RSA and CKA hold the truth? Run with ``pytest -m slow -s tests/simulations/test_similarity_simulations.py``.

Stimuli are drawn from a population; neuroids are a fixed random readout of hidden features with trial noise, models fixed
features of their own. Truth is the mean over samples: the value on other stimuli of the same number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark_core import KFold, RDMs, Responses
from benchmark_core.representation import Representation
from plugins.metrics import _cka, _rsa

pytestmark = pytest.mark.slow
SEEDS = 400


def sample(seed: int, n: int, share: float, noise: float) -> tuple[Representation, Responses]:
    """Return features of a model, of which ``share`` follows what neuroids see, and the responses of two subjects."""
    fixed = np.random.Generator(np.random.Philox([1, 2]))
    read, own, shared = (fixed.standard_normal((6, m)) for m in (24, 200, 200))
    random = np.random.Generator(np.random.Philox([seed, n]))
    hidden, other = random.standard_normal((2, n, 6))
    ids = tuple(f"s{i:03d}" for i in range(n))
    features = share * hidden @ shared + (1 - share) * other @ own
    values = (hidden @ read)[:, None] + noise * random.standard_normal((n, 4, 24))
    return (
        Representation.from_features(features, ids),
        Responses(ids, values, tuple(f"n{i}" for i in range(24)), ("A",) * 12 + ("B",) * 12),
    )


CASES = [
    ("rsa", {"stimuli": "all"}, 92, 0.5, 2.0),
    ("rsa", {"stimuli": "all"}, 92, 0.0, 2.0),
    ("rsa", {"stimuli": "all"}, 40, 0.5, 2.0),
    ("rsa", {"stimuli": "test"}, 92, 0.5, 2.0),
    ("rsa", {"stimuli": "all", "distance": "euclidean", "compare": "pearson"}, 92, 0.5, 2.0),
    ("rsa", {"stimuli": "all", "compare": "kendall"}, 92, 0.5, 8.0),
    (
        "rsa",
        {"distance": "sqeuclidean", "target_distance": "crossnobis", "compare": "whitened-cosine"},
        92,
        0.5,
        8.0,
    ),
    ("cka", {"stimuli": "all", "debiased": False}, 92, 0.5, 2.0),
    ("cka", {"stimuli": "all", "debiased": True}, 92, 0.5, 2.0),
    ("cka", {"stimuli": "all", "debiased": True}, 40, 0.0, 2.0),
]


@pytest.mark.parametrize(("metric", "options", "n", "share", "noise"), CASES)
def test_coverage(metric: str, options: dict[str, Any], n: int, share: float, noise: float) -> None:
    """95 % intervals hold the mean over samples in 90 to 98.5 % of them (more is allowed where there is no signal)."""
    compute: Any = {"rsa": _rsa.compute, "cka": _cka.compute}[metric]
    found, low, high, errors = [], [], [], []
    for seed in range(SEEDS):
        layer, target = sample(seed, n, share, noise)
        score = compute([{"layer": layer}], target, KFold(k=5).assign(target.stimulus_ids), n_bootstrap=300, **options)
        found.append(score.value)
        low.append(score.ci_low)
        high.append(score.ci_high)
        errors.append(score.details["standard_error"])
    truth = float(np.mean(found))
    covered = float(np.mean((np.array(low) <= truth) & (truth <= np.array(high))))
    ratio = float(np.mean(errors) / np.std(found, ddof=1))
    print(f"\n{metric} {options} n={n} share={share}: {truth:.3f}, coverage {covered:.3f}, SE / spread {ratio:.2f}")
    assert 0.9 <= covered <= (1.0 if share == 0 else 0.985)
    assert 0.85 <= ratio <= 1.3


@pytest.mark.parametrize(("stimuli", "n"), [("all", 25), ("all", 92), ("test", 92)])
def test_coverage_of_rdms_of_pure_noise(stimuli: str, n: int) -> None:
    """Pairs independent of each other: where an uncorrected bootstrap is sqrt(3) too wide."""
    covered, errors, found = [], [], []
    ids = tuple(f"s{i:03d}" for i in range(n))
    for seed in range(SEEDS):
        random = np.random.Generator(np.random.Philox([seed, 7]))
        layer = Representation.from_features(random.standard_normal((n, 300)), ids)
        noise = np.triu(random.standard_normal((n, n)), 1) + 10
        noise = np.triu(noise, 1)
        target = RDMs(ids, (noise + noise.T)[None], "A")
        score = _rsa.compute([{"layer": layer}], target, KFold(k=5).assign(ids), stimuli=stimuli, n_bootstrap=300)
        assert score.value is not None
        assert score.ci_low is not None
        assert score.ci_high is not None
        covered.append(score.ci_low <= 0 <= score.ci_high)
        errors.append(score.details["standard_error"])
        found.append(score.value)
    ratio = float(np.mean(errors) / np.std(found, ddof=1))
    print(f"\nnoise, {stimuli} stimuli, n={n}: coverage {np.mean(covered):.3f}, SE / spread {ratio:.2f}")
    assert 0.91 <= np.mean(covered) <= 0.995  # few stimuli: a little too wide, as the error has a floor
    assert 0.85 <= ratio <= 1.3
