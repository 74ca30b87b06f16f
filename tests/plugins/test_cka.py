"""The metric ``cka`` against closed forms, its invariances and choices, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from benchmark_core import InputError, KFold, Labels, Responses, Score, Splits, fixed_split
from benchmark_core.representation import Representation
from plugins.metrics._cka import compute

N = 40
IDS = tuple(f"s{i:02d}" for i in range(N))
FOLDS = KFold(k=4).assign(IDS)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


HIDDEN = generator(0).standard_normal((N, 5))
SIGNAL = 2 + HIDDEN @ generator(1).standard_normal((5, 90)) + generator(2).standard_normal((N, 90))
NOISE = generator(3).standard_normal((N, 90))
RATES = 3 + HIDDEN @ generator(4).standard_normal((5, 8))
RESPONSES = Responses(
    IDS,
    RATES[:, None] + generator(5).standard_normal((N, 4, 8)),
    tuple(f"n{i}" for i in range(8)),
    ("A",) * 4 + ("B",) * 4,
)


def score(features: Any = SIGNAL, target: Any = RESPONSES, splits: Splits = FOLDS, **options: Any) -> Score:
    layers = features if isinstance(features, Mapping) else {"layer": features}
    made = {name: Representation.from_features(values, IDS, name) for name, values in layers.items()}
    return compute([made], target, splits, **{"n_bootstrap": 200, "stimuli": "all", "debiased": False, **options})


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return CKA in the space of features (Kornblith et al. 2019, equation 4)."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return float(np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))


@pytest.mark.parametrize("features", [SIGNAL, SIGNAL[:, :7]], ids=["kernel", "features"])
def test_mean_over_subjects(features: np.ndarray) -> None:
    result = score(features)
    expected = [linear_cka(features, RESPONSES.of_subject(s).averages()) for s in ("A", "B")]
    assert [result.subjects[s]["score"] for s in ("A", "B")] == pytest.approx(expected, abs=1e-12)
    assert result.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert (result.fields["n_stimuli"], result.fields["n_neuroids"], result.fields["n_neuroids_valid"]) == (N, 8, 8)
    assert result.ci_low is not None
    assert result.ci_low < result.value < result.ci_high
    rows = [[IDS.index(i) for i in fold.test] for fold in FOLDS.folds]
    by_fold = [linear_cka(features[r], RESPONSES.of_subject("A").averages()[r]) for r in rows]
    assert score(features, stimuli="test").subjects["A"]["score_by_fold"] == pytest.approx(by_fold, abs=1e-12)


def test_debiased_is_about_zero_for_unrelated_features() -> None:
    """Biased CKA of 90 unrelated features is far from 0, the debiased one is not; averaged over 30 models."""
    biased, debiased = [], []
    for seed in range(30):
        unrelated = generator(100 + seed).standard_normal((N, 90))
        biased.append(score(unrelated, n_bootstrap=100).value)
        debiased.append(score(unrelated, debiased=True, n_bootstrap=100).value)
    assert np.mean(biased) > 0.15
    assert abs(np.mean(debiased)) < 4 * np.std(debiased) / np.sqrt(30) < 0.05
    assert score(debiased=True).value > 0.3


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([6, 90]))
def test_invariances(seed: int, debiased: bool, n_features: int) -> None:
    """Rotation, scale and translation of features, and the order of stimuli."""
    random = generator(seed)
    features, options = SIGNAL[:, :n_features], {"debiased": debiased, "n_bootstrap": 100, "stimuli": "all"}
    plain = score(features, **options)
    rotation = ortho_group.rvs(n_features, random_state=np.random.RandomState(seed % 1000))
    for same in (features @ rotation, 9 * features, features + random.standard_normal(n_features)):
        changed = score(same, **options)
        assert changed.value == pytest.approx(plain.value, abs=1e-9)
        assert changed.ci_low == pytest.approx(plain.ci_low, abs=1e-9)
    order = random.permutation(N)
    ids = tuple(IDS[i] for i in order)
    layer = Representation.from_features(features[order], ids)
    target = Responses(ids, RESPONSES.values[order], RESPONSES.neuroid_ids, RESPONSES.subjects)
    assert compute([{"layer": layer}], target, FOLDS, **options).value == pytest.approx(plain.value, abs=1e-12)


def test_layers_are_chosen_on_training_stimuli() -> None:
    split = fixed_split(IDS[:28], IDS[28:])
    cheat = np.vstack([NOISE[:28], np.pad(RATES[28:] - RATES.mean(axis=0), ((0, 0), (0, 82)))])
    for debiased in (False, True):
        result = score({"cheat": cheat, "signal": SIGNAL}, splits=split, debiased=debiased)
        assert result.layers == (("signal",),)
        assert result.value == pytest.approx(score(splits=split, stimuli="test", debiased=debiased).value)
        assert result.details["optimism"] > 0.05


def test_missing_neuroids_are_left_out_and_counted() -> None:
    values = RESPONSES.values.copy()
    values[3, :, 1] = np.nan
    values[7, 1:, 2] = np.nan  # single repetitions missing do no harm
    target = Responses(IDS, values, RESPONSES.neuroid_ids, RESPONSES.subjects)
    result = score(target=target)
    assert (result.fields["n_neuroids"], result.fields["n_neuroids_valid"]) == (8, 7)
    rest = target.of_subject("A").averages()[:, [0, 2, 3]]
    assert result.subjects["A"]["score"] == pytest.approx(linear_cka(SIGNAL, rest), abs=1e-12)


def test_a_model_that_tells_nothing_apart() -> None:
    result = score(np.full((N, 60), 1 / 3))
    assert (result.value, result.ci_low, result.ci_high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": Labels(IDS, ("a", "b") * 20)}, "needs responses, not Labels"),
        (
            {"target": Responses(IDS, np.ones((N, 2)), ("a", "b"), "M")},
            "responses of subject M are the same to all stimuli",
        ),
        ({"target": Responses(IDS[1:], np.ones((N - 1, 2)), ("a", "b"), "M")}, "responses: stimulus_id 's00' missing"),
        (
            {"splits": fixed_split(IDS[:-3], IDS[-3:]), "stimuli": "test", "debiased": True},
            "pairs of 3 test stimuli cannot be compared: 4 are needed",
        ),
    ],
)
def test_bad_input(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        score(**options)
    assert "\n" not in str(caught.value)


def test_two_models_are_not_compared_here() -> None:
    layers = {"layer": Representation.from_features(SIGNAL, IDS)}
    with pytest.raises(InputError, match="takes one model"):
        compute([layers, layers], RESPONSES, FOLDS)


def test_the_documented_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text.partition("\n## cka\n")[2].partition("\n## ")[0], re.DOTALL)
    exec(compile(code, "docs/metrics.md", "exec"), {})
    biased, debiased = map(float, capsys.readouterr().out.split())
    assert 0.4 < debiased < biased < 1
