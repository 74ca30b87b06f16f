"""Features standardised on training stimuli: against scikit-learn, and kernels for each training set from one reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_many_stimuli import PLUGIN
from toy import make_toy_world

from benchmark_core import representation, run, stored_representation
from benchmark_core.arrays import Backend
from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError
from benchmark_core.pipeline import Numerics, Pipeline
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation, from_spool
from benchmark_core.resolution import Resolved
from benchmark_core.splits import KFold, Splits
from benchmark_core.standardised import divided, standardised_key, training_sets_for
from benchmark_core.stimuli import StimulusSet
from benchmark_core.store import Store
from plugins.metrics._encoding import compute

N = 60
IDS = [f"s{i:03d}" for i in range(N)]
SPLITS = KFold(3, seed=1).assign(IDS)
TRAINING = tuple(fold.train for fold in SPLITS.folds)
PENALTIES = [10.0**e for e in range(-1, 6)]


def random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key))


def recording(p: int) -> tuple[np.ndarray, Responses]:
    """Return features of very different spreads, the first varying outside the first training set only."""
    draws = random(p)
    x = draws.standard_normal((N, p)) * np.logspace(3, -3, p)[draws.permutation(p)] + 5
    values = x[:, None, :4] / np.logspace(0, 1, 4) / x[:, :4].std(axis=0) + draws.standard_normal((N, 3, 4))
    x[[int(i[1:]) for i in SPLITS.folds[0].train], 0] = 7
    return x, Responses(tuple(IDS), values, ("a", "b", "c", "d"), "A", "V4")


def score(x: np.ndarray, target: Responses, **options: Any) -> Any:
    held = Representation.from_features(x, IDS, training_sets=TRAINING)
    options = {"n_bootstrap": 100, "penalties": PENALTIES, "standardise": True, **options}
    return compute([{"output": held}], target, SPLITS, **options)


def rows(ids: Any) -> list[int]:
    return [int(i[1:]) for i in ids]


@pytest.mark.parametrize("p", [12, 90])
@pytest.mark.parametrize("k", [None, 5])
def test_predictions_are_those_of_scaler_pca_and_ridge(p: int, k: int | None) -> None:
    x, target = recording(p)
    found = score(x, target, components=k)
    y = target.averages()
    for fold, alpha in zip(SPLITS.folds, found.subjects["A"]["alphas"], strict=True):
        train, test = rows(fold.train), rows(fold.test)
        steps = [StandardScaler(), *([] if k is None else [PCA(k, svd_solver="full")]), Ridge(alpha)]
        model = make_pipeline(*steps).fit(x[train], y[train])
        np.testing.assert_allclose(found.arrays["predictions"][test], model.predict(x[test]), atol=2e-5)
    plain = score(x, target, components=k, standardise=False)
    assert abs(plain.value - found.value) > 1e-3


def test_scale_and_shift_of_each_feature_do_not_matter() -> None:
    x, target = recording(90)
    other = score(x * np.logspace(-2, 2, 90) + np.arange(90), target)
    np.testing.assert_allclose(other.arrays["predictions"], score(x, target).arrays["predictions"], atol=1e-5)


def test_neuroids_with_gaps_are_standardised_on_the_stimuli_of_the_fold() -> None:
    x, target = recording(90)
    values = target.values.copy()
    values[::3, :, 1] = np.nan
    found = score(x, Responses(tuple(IDS), values, target.neuroid_ids, "A", "V4"))
    y = values.mean(axis=1)
    fold, alpha = SPLITS.folds[1], found.subjects["A"]["alphas"][1]
    z = StandardScaler().fit(x[rows(fold.train)]).transform(x)
    seen = [i for i in rows(fold.train) if i % 3]
    test = rows(fold.test)
    model = Ridge(alpha).fit(z[seen], y[seen, 1])
    np.testing.assert_allclose(found.arrays["predictions"][test, 1], model.predict(z[test]), atol=2e-5)


def test_rounding_is_not_a_deviation() -> None:
    x = np.full((10, 3), 1000.0, dtype=np.float32)
    x[3, 0] = np.nextafter(np.float32(1000), np.float32(2000))
    x[3, 1] = 1001
    z = divided(x, np.arange(8))
    assert not z[:, [0, 2]].any()
    np.testing.assert_allclose(z[:8, 1].std(), 1)


def test_kernels_alone_cannot_be_standardised() -> None:
    x, target = recording(90)
    with pytest.raises(InputError, match="inner products of its 90 features, which cannot be standardised on 40"):
        compute([{"output": Representation.from_features(x, IDS)}], target, SPLITS, standardise=True)


class Features:
    """What reading a spool gives, counted."""

    n = N

    def __init__(self, x: np.ndarray, block: int = 16) -> None:
        self.x, self.block, self.readings = x.astype(np.float32), block, 0

    def n_features(self, layer: str) -> int:
        return self.x.shape[1]

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        self.readings += 1
        for first in range(0, self.x.shape[1], self.block):
            yield first, self.x[:, first : first + self.block]


def test_kernels_of_all_training_sets_come_from_one_reading() -> None:
    x, _ = recording(90)
    spool = Features(x)
    order = list(random(3).permutation(N))
    spool.x = spool.x[order]
    ids = [IDS[i] for i in order]
    plain = from_spool(spool, "output", ids, key="k", backend=Backend())
    found = from_spool(spool, "output", ids, key="k", backend=Backend(), training_sets=TRAINING)
    assert spool.readings == 2
    assert np.array_equal(plain.gram(), found.gram()), "bit by bit"
    for train in TRAINING:
        one = found.standardised(train)
        z = x.astype(np.float32).astype(np.float64)
        deviation = z[rows(train)].std(axis=0)
        z = z * np.divide(1, deviation, out=np.zeros(90), where=deviation > 1e-4)
        z -= z.mean(axis=0)
        np.testing.assert_allclose(one.gram(), z @ z.T, atol=1e-8)
        assert one.key == standardised_key("k", train)
    assert len({found.standardised(t).key for t in TRAINING}) == 3


def test_kernels_that_no_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=3 * 8 * N * N, available=2**30))
    x, _ = recording(90)
    from_spool(Features(x), "output", IDS, key="", backend=Backend(), training_sets=TRAINING[:2])
    with pytest.raises(InputError, match=r"inner products of 60 stimuli \(4 kernels\) take"):
        from_spool(Features(x), "output", IDS, key="", backend=Backend(), training_sets=TRAINING)


def test_only_a_metric_that_asks_has_training_sets() -> None:
    registry = Registry.default()
    folds = Splits(SPLITS.folds, {"B": SPLITS.folds[:1]})
    asked, not_asked = registry.metric("encoding:standardise=true"), registry.metric("encoding")
    assert training_sets_for(asked, folds, ["A", "B"]) == TRAINING
    assert training_sets_for(asked, folds, ["B"]) == TRAINING[:1]
    assert training_sets_for(not_asked, folds, ["A", "B"]) == ()
    assert training_sets_for(registry.metric("classification"), folds, [""]) == ()


@pytest.fixture
def stimuli(tmp_path: Path) -> StimulusSet:
    make_toy_world(tmp_path / "toys", n=16)
    return StimulusSet.from_manifest(tmp_path / "toys/toy_data/stimuli.csv", tmp_path / "toys/toy_data/images")


@pytest.fixture
def features(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Return the features of every layer that is reduced, by the keys of their kernels, rows as in the spool."""
    caught: dict[str, np.ndarray] = {}
    reduce = representation.prefixes_from_spool

    def catching(spool: Any, layer: str, *args: Any, **options: Any) -> Any:
        x = np.concatenate([block.copy() for _, block in spool.blocks(layer)], axis=1)
        caught.update({key: x[:, :width] for width, key in options["keys"].items()})
        return reduce(spool, layer, *args, **options)

    monkeypatch.setattr(representation, "prefixes_from_spool", catching)
    return caught


def ask(pipeline: Pipeline, registry: Registry, stimuli: StimulusSet, models: list[str]) -> list[Representation]:
    """Return the output of models of one family, standardised on two training sets."""
    resolved: list[Resolved] = [registry.model(m) for m in models]
    return [
        pipeline.representations(
            model, registry.version(model.spec), stimuli, ["output"], resolved, training_sets=sets_of(stimuli)
        )["output"][0]
        for model in resolved
    ]


def sets_of(stimuli: StimulusSet) -> tuple[tuple[str, ...], ...]:
    return stimuli.stimulus_ids[:9], stimuli.stimulus_ids[5:]


def check(held: Representation, x: np.ndarray, ids: tuple[str, ...]) -> None:
    """Compare with the features ``x``, whose rows are ``ids``."""
    for train in (ids_of for ids_of in (held.stimulus_ids[:9], held.stimulus_ids[5:])):
        z = divided(x, np.array([ids.index(i) for i in train]))[[ids.index(i) for i in held.stimulus_ids]]
        z -= z.mean(axis=0)
        np.testing.assert_allclose(held.standardised(train).gram(), z @ z.T, atol=1e-6 * np.abs(z @ z.T).max())


@pytest.mark.parametrize("shared", [False, True])
def test_widths_and_generated_layers(
    shared: bool, home: Path, tmp_path: Path, stimuli: StimulusSet, features: dict[str, np.ndarray]
) -> None:
    """Features held, prefixes of a wider model's, and of a head that generates them, with shared stimuli first."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "net.py").write_text(PLUGIN)
    registry = Registry([tmp_path / "net"])
    pipeline = Pipeline(Store(tmp_path / "cache"), Numerics(batch_size=4))
    if shared:
        pipeline.shared = stimuli.subset(stimuli.stimulus_ids[4:9])
    ids = pipeline.rows_of(stimuli)
    models = ["net:units=2", "net:units=7", "net:units=30"]
    for held in ask(pipeline, registry, stimuli, models):
        check(held, features[held.key], ids)
    kernels = list((tmp_path / "cache" / "kernels").rglob("*.arrays"))
    assert len(kernels) == 1 + 3 + 3, "the narrowest holds its features"
    features.clear()
    again = Pipeline(Store(tmp_path / "cache"), Numerics(batch_size=4))
    assert [len(held.standardised_on) for held in ask(again, registry, stimuli, models)] == [0, 2, 2]
    assert not features, "all was in the store"


def test_what_is_lost_is_made_again_and_what_is_there_stays(
    home: Path, tmp_path: Path, features: dict[str, np.ndarray]
) -> None:
    world = make_toy_world(tmp_path / "toys", n=24)
    options: dict[str, Any] = {"layer": "0", "plugins": [world], "force": True}
    (plain,) = run("toy", "toy.V4", metric="encoding:n_bootstrap=100", **options)
    folder = Path(tmp_path / "cache" / "kernels")
    before = {p: p.read_bytes() for p in folder.rglob("*.arrays")}
    assert len(before) == 1
    asked = "encoding:n_bootstrap=100,standardise=true"
    (first,) = run("toy", "toy.V4", metric=asked, **options)
    assert first["error"] is None
    assert first["score"] != plain["score"]
    stored = set(folder.rglob("*.arrays"))
    assert len(stored) == 5
    assert all(p.read_bytes() == content for p, content in before.items())
    lost = sorted(stored - set(before))[0]
    lost.unlink()
    features.clear()
    (second,) = run("toy", "toy.V4", metric=asked, **options)
    assert second["score"] == first["score"]
    assert len(features) == 1
    assert lost.is_file()
    features.clear()
    (third,) = run("toy", "toy.V4", metric=asked, **options)
    assert third["score"] == first["score"]
    assert not features


def test_large_kernels_are_read_when_they_are_needed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_toy_world(tmp_path / "toys", n=24)
    options: dict[str, Any] = {"metric": "encoding:n_bootstrap=100,standardise=true", "plugins": [world], "force": True}
    (whole,) = run("toy", "toy.V4", **options)
    monkeypatch.setattr(stored_representation, "MOST_HELD", 1)
    (again,) = run("toy", "toy.V4", **options)  # from the store
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    (anew,) = run("toy", "toy.V4", **options)
    assert whole["error"] is None
    assert whole["score"] == again["score"] == anew["score"]
