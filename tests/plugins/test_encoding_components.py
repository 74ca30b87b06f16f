"""Encoding from principal components: against scikit-learn, one decomposition for a sweep, their number chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from toy import make_toy_world

from benchmark_core import randomised_pca, representation, run, spectral
from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.held_out import held_out
from benchmark_core.records import Score
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from benchmark_core.splits import KFold, Splits
from plugins.metrics._encoding import compute

N = 60
IDS = [f"s{i:03d}" for i in range(N)]
SPLITS = KFold(3, seed=1).assign(IDS)
PENALTIES = [10.0**e for e in range(-2, 6)]


def random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key))


def layer(x: np.ndarray, name: str = "output") -> Representation:
    return Representation.from_features(x, IDS[: len(x)], name)


def recording(seed: int = 0, p: int = 80, m: int = 4) -> tuple[np.ndarray, Responses]:
    """Return features with a falling spectrum, and responses that their first directions explain in part."""
    draws = random(seed, 1)
    x = draws.standard_normal((N, p)) * np.logspace(0, -1.5, p)
    signal = x[:, :6] @ draws.standard_normal((6, m))
    values = signal[:, None, :] + 1.5 * draws.standard_normal((N, 3, m))
    return x, Responses(tuple(IDS), values, tuple(f"n{j}" for j in range(m)), "A", "V4")


def score(x: np.ndarray | Representation, target: Responses, splits: Splits = SPLITS, **options: Any) -> Score:
    held = x if isinstance(x, Representation) else layer(x)
    return compute([{"output": held}], target, splits, **{"n_bootstrap": 100, "penalties": PENALTIES, **options})


def predictions(found: Score) -> np.ndarray:
    return found.arrays["predictions"].astype(np.float64)


@pytest.mark.parametrize("p", [12, 80])
@pytest.mark.parametrize("k", [1, 7])
def test_predictions_are_those_of_pca_and_ridge(p: int, k: int) -> None:
    x, target = recording(p=p)
    y = target.averages()
    found = score(x, target, components=k)
    for fold, alpha in zip(SPLITS.folds, found.subjects["A"]["alphas"], strict=True):
        train, test = ([int(i[1:]) for i in part] for part in (fold.train, fold.test))
        pca = PCA(k, svd_solver="full").fit(x[train])
        model = Ridge(alpha).fit(pca.transform(x[train]), y[train])
        np.testing.assert_allclose(predictions(found)[test], model.predict(pca.transform(x[test])), atol=1e-5)
    assert found.details["components_used"] == {"A": [k] * 3}


@pytest.mark.parametrize("p", [12, 80])
def test_leave_one_out_keeps_the_axes_of_the_training_set(p: int) -> None:
    x, target = recording(p=p)
    y = target.averages()[:40]
    decomposition = layer(x).decomposition(IDS[:40]).leading(5)
    z = PCA(5, svd_solver="full").fit_transform(x[:40])
    for fit in held_out(decomposition, y, [0.1, 10.0, 1e3]):
        for i in range(0, 40, 7):
            keep = np.delete(np.arange(40), i)
            model = Ridge(fit.penalty).fit(z[keep], y[keep])
            np.testing.assert_allclose(fit.predictions[i], model.predict(z[[i]])[0], rtol=1e-8, atol=1e-9)


def test_all_components_are_all_features() -> None:
    x, target = recording(p=12)
    whole, cut = score(x, target), score(x, target, components=12)
    assert (cut.value, cut.ci_low, cut.details["alphas"]) == (whole.value, whole.ci_low, whole.details["alphas"])
    assert "components_used" not in whole.details


def test_more_components_than_there_are_is_said() -> None:
    x, target = recording(p=12)
    found = score(x, target, components=100)
    assert found.details["components_used"] == {"A": [12, 12, 12]}
    assert found.value == score(x, target).value
    assert any("100 components asked for; the training stimuli have 12" in w for w in found.warnings)
    constant = score(np.ones((N, 3)), target, components=2)
    assert constant.details["components_used"] == {"A": [0, 0, 0]}
    assert constant.fields["r_neuroid"] == 0


def test_components_of_one_variance_are_said() -> None:
    _, target = recording()
    x = np.kron(np.eye(4), np.ones((N // 4, 1))) - 0.25  # three directions of equal variance when all train
    splits = Splits((KFold(3).assign(IDS).folds[0],))
    balanced = [i for g in range(4) for i in range(15 * g, 15 * g + 10)]
    fold = type(splits.folds[0])(
        tuple(IDS[i] for i in balanced), tuple(IDS[i] for i in range(N) if i not in set(balanced))
    )
    found = score(x, target, Splits((fold,)), components=2)
    assert any("components 2 and 3 have the same variance" in w for w in found.warnings)


def test_neuroids_recorded_on_fewer_stimuli_have_components_of_their_own() -> None:
    x, target = recording()
    values = target.values.copy()
    values[:50, :, 0] = np.nan  # ten stimuli left, in three folds
    found = score(x, Responses(tuple(IDS), values, target.neuroid_ids, "A", "V4"), components=8)
    assert all(used < 8 for used in found.details["components_used"]["A"])
    assert found.fields["n_neuroids_valid"] == 4


def test_the_number_is_chosen_on_training_stimuli() -> None:
    x, target = recording(p=80)
    chosen = score(x, target, choose_components=True, optimism=True)
    fixed = {k: score(x, target, components=k) for k in (1, 10)} | {None: score(x, target)}
    for fold in range(3):
        criteria = {k: s.details["criteria"]["A"][fold]["output"] for k, s in fixed.items()}
        best = max(criteria, key=lambda k: criteria[k])
        assert chosen.details["criteria"]["A"][fold]["output"] == pytest.approx(criteria[best], abs=1e-12)
        assert chosen.details["components_used"]["A"][fold] == (best or 39)
    assert {c["components"] for c in chosen.subjects["A"]["chosen_on_test"]} <= {1, 10, None}
    few = score(x, target, choose_components=True, components=10)
    assert set(few.details["components_used"]["A"]) <= {1, 10}


def test_test_stimuli_choose_nothing() -> None:
    x, target = recording()
    values = target.values.copy()
    rows = [int(i[1:]) for i in SPLITS.folds[0].test]
    values[rows] = random(4).standard_normal(values[rows].shape)
    other = Responses(tuple(IDS), values, target.neuroid_ids, "A", "V4")
    one = Splits(SPLITS.folds[:1])
    first, second = (
        score(x, t, one, choose_components=True, alpha_per_target=True, optimism=True) for t in (target, other)
    )
    for name in ("alphas", "criteria", "components_used"):
        assert first.details[name] == second.details[name]
    assert first.details["r_neuroid_chosen_on_test"] != second.details["r_neuroid_chosen_on_test"]


def test_a_sweep_costs_one_decomposition_a_fold(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_toy_world(tmp_path / "toys")
    counted: list[int] = []
    decompose = spectral.decompose

    def counting(held: Representation, train: Any) -> Any:
        counted.append(len(train))
        return decompose(held, train)

    monkeypatch.setattr(spectral, "decompose", counting)
    metrics = [f"encoding:components={k},n_bootstrap=100" for k in (1, 3, 10, 1000)] + ["encoding:n_bootstrap=100"]
    results = run("toy", "toy.V4", metric=metrics, layer="2", plugins=[world])
    assert [r["error"] for r in results] == [None] * 5
    assert len(counted) == 4, "one for each of four folds, though two subjects and five metrics use them"
    used = [r["details"].get("components_used") for r in results]
    assert used[0] == {"A": [1] * 4, "B": [1] * 4}
    assert used[2] == {"A": [10] * 4, "B": [10] * 4}
    assert len({r["score"] for r in results[:3]}) == 3
    assert results[3]["score"] == results[4]["score"], "as many as there are is all"


def test_beyond_kernels_components_are_fitted_by_blocks(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_toy_world(tmp_path / "toys")
    plugin = world / "toy_plugin.py"
    text = plugin.read_text().replace(
        'splits=KFold(k=4)),\n        BenchmarkSpec(name="toy.absent"',
        'splits=lambda s: fixed_split(s.stimulus_ids[:30], s.stimulus_ids[30:])),\n        BenchmarkSpec(name="toy.absent"',
    )
    plugin.write_text(text.replace("import BenchmarkSpec", "import fixed_split, BenchmarkSpec"))
    metrics = ["encoding:components=4", "encoding:components=4,standardise=true"]
    whole = run("toy", "toy.V4", metric=metrics, layer="2", plugins=[world])
    assert [r["error"] for r in whole] == [None, None]
    monkeypatch.setattr(randomised_pca, "LARGEST_KERNEL", 20)
    monkeypatch.setattr(representation, "prefixes_from_spool", None)
    for _ in range(2):  # the second time from the store
        blocks = run("toy", "toy.V4", metric=metrics, layer="2", plugins=[world], force=True)
        assert [r["error"] for r in blocks] == [None, None]
        for one, other in zip(whole, blocks, strict=True):
            assert other["score"] == pytest.approx(one["score"], abs=1e-4)
            assert other["details"]["components_used"] == one["details"]["components_used"]
    assert whole[0]["score"] != whole[1]["score"]


def rotated(x: np.ndarray, seed: int) -> np.ndarray:
    return x @ np.linalg.qr(random(seed, 7).standard_normal((x.shape[1], x.shape[1])))[0]


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    p=st.sampled_from([3, 15, 90]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    components=st.sampled_from([None, 2]),
)
def test_rotation_scale_translation_and_order_do_not_matter(
    seed: int, p: int, scale: float, components: int | None
) -> None:
    x, target = recording(seed, p=max(p, 6))
    x = x[:, :p]
    options: dict[str, Any] = {"components": components}
    expected = score(x, target, **options)
    moved = scale * rotated(x, seed) + random(seed, 8).standard_normal(p) * scale
    penalties = [scale**2 * a for a in PENALTIES]
    order = random(seed, 9).permutation(N)
    held = Representation.from_features(moved[order], [IDS[i] for i in order])
    again = score(held, target, penalties=penalties, **options)
    assert np.array(again.details["alphas"]["A"]) / scale**2 == pytest.approx(expected.details["alphas"]["A"])
    np.testing.assert_allclose(predictions(again), predictions(expected), atol=2e-5)
    assert again.value == pytest.approx(expected.value, abs=1e-6)


@pytest.mark.parametrize(
    "name", ["constant", "duplicated stimuli", "one feature", "rank deficient", "one constant among others"]
)
@pytest.mark.parametrize("options", [{}, {"components": 3}, {"standardise": True}, {"choose_components": True}])
def test_degenerate_features_give_finite_scores(name: str, options: dict[str, Any]) -> None:
    x, target = recording()
    x = {
        "constant": np.full((N, 70), 3.0),
        "duplicated stimuli": x[np.arange(N) // 2],
        "one feature": x[:, :1],
        "rank deficient": x[:, :3] @ random(3).standard_normal((3, 80)),
        "one constant among others": np.c_[x, np.full(N, 1e3)],
    }[name]
    held = Representation.from_features(x, IDS, training_sets=[fold.train for fold in SPLITS.folds])
    found = score(held, target, **options)
    assert found.value is not None
    assert np.isfinite(predictions(found)).all()
    assert -1 <= found.fields["r_neuroid"] <= 1
    if name == "constant":
        assert found.value == 0
    if options.get("components"):
        most = {"constant": 0, "one feature": 1}.get(name, 3)
        assert found.details["components_used"] == {"A": [most] * 3}


@pytest.mark.parametrize(
    ("identifier", "line"),
    [
        ("encoding:components=0", "components=0 is not allowed; components must be a whole number of at least 1"),
        ("encoding:components=ten", "components=ten is not allowed"),
        ("encoding:standardise=1", "standardise=1 is not allowed; standardise must be true or false"),
    ],
)
def test_bad_parameters_are_one_line(identifier: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        Registry.default().metric(identifier)


def test_fewer_stimuli_than_folds_is_one_line() -> None:
    with pytest.raises(InputError, match="3 stimuli cannot be split into 5 folds"):
        KFold(5).assign(IDS[:3])
