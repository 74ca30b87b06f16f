"""Brain-Score's recipes: against loops over scikit-learn and scipy, on bad and degenerate input, and in a whole run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

import benchmark_core
from benchmark_core.assembly import Responses
from benchmark_core.cells import metadata_of
from benchmark_core.errors import InputError
from benchmark_core.keys import score_key
from benchmark_core.records import Score, plain
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from benchmark_core.splits import KFold
from benchmark_core.stimuli import StimulusSet
from plugins.metrics._combination import combine_subjects
from plugins.metrics._encoding import compute

PLS, RIDGE = "brainscore-pls", "brainscore-ridge"
Metadata = dict[str, dict[str, str]]


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int) -> list[str]:
    return [f"s{i:04d}" for i in range(n)]


def recording(
    n: int = 80, p: int = 200, m: int = 6, repetitions: int = 5, noise: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Metadata]:
    """Features, trials that they explain in part (not all stimuli shown equally often), and five objects."""
    random = rng(7, seed)
    x = random.standard_normal((n, p)) * np.arange(1, p + 1) ** -0.5
    signal = x[:, : p // 2] @ random.standard_normal((p // 2, m))
    trials = signal[:, None, :] + noise * random.standard_normal((n, repetitions, m)) + np.arange(m)
    if repetitions > 3:
        trials[::7, -1] = np.nan
    objects = [f"object{i}" for i in random.permutation(np.arange(n) % 5)]
    return x, trials, {"object_name": dict(zip(ids(n), objects, strict=True))}


def responses_of(values: np.ndarray, subjects: Any = "A") -> Responses:
    return Responses(tuple(ids(len(values))), values, tuple(f"n{j}" for j in range(values.shape[-1])), subjects, "V4")


def layer(x: np.ndarray) -> Representation:
    return Representation.from_features(x, ids(len(x)))


def run(x: np.ndarray, trials: np.ndarray, preset: str, metadata: Metadata | None = None, **options: Any) -> Score:
    target = responses_of(trials, options.pop("subjects", "A"))
    splits = KFold(5).assign(ids(len(x)))  # the recipes have their own
    return compute([{"output": layer(x)}], target, splits, preset=preset, metadata=metadata, **options)


def by_hand(x: np.ndarray, trials: np.ndarray, preset: str, metadata: Metadata | None) -> dict[str, Any]:
    """The recipe in loops, as its papers and its package describe it."""
    n = len(x)
    y = np.nanmean(trials, axis=1) if trials.ndim == 3 else trials
    options: dict[str, Any] = {"n_splits": 10, "train_size": 0.9, "random_state": 1}
    if metadata is None:
        splits = list(ShuffleSplit(**options).split(np.zeros(n)))
    else:
        objects = [metadata["object_name"][i] for i in ids(n)]
        splits = list(StratifiedShuffleSplit(**options).split(np.zeros(n), objects))
    medians, r_of, tested = [], [], []
    for train, test in splits:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Ridge(alpha=1) if preset == RIDGE else PLSRegression(25, scale=False, tol=1e-28, max_iter=20_000)
            predicted = np.reshape(model.fit(x[train], y[train]).predict(x[test]), (len(test), -1))
            r = [stats.pearsonr(predicted[:, j], y[test, j])[0] for j in range(y.shape[1])]
        medians.append(np.nanmedian(r))
        r_of.append(r)
        tested.append(sorted(test))
    found = {"medians": medians, "r": np.array(r_of), "tested": tested, "raw": np.mean(medians)}
    if trials.ndim == 3 and trials.shape[1] > 1:
        ceilings = []
        for first, second in ShuffleSplit(10, train_size=0.5, random_state=1).split(np.arange(trials.shape[1])):
            a, b = np.nanmean(trials[:, first], axis=1), np.nanmean(trials[:, second], axis=1)
            halves = np.array([stats.pearsonr(a[:, j], b[:, j])[0] for j in range(y.shape[1])])
            ceilings.append(np.median(2 * halves / (1 + halves)))
        found |= {"ceilings": ceilings, "score": found["raw"] ** 2 / np.mean(ceilings)}
    return found


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("preset", [PLS, RIDGE])
def test_the_score_is_that_of_the_recipe_in_loops(preset: str, stratified: bool) -> None:
    x, trials, metadata = recording()
    known = metadata if stratified else None
    expected = by_hand(x, trials, preset, known)
    score = run(x, trials, preset, known, subjects=("A", "A", "B", "B", "B", "B"))
    np.testing.assert_array_equal(score.arrays["tested"], expected["tested"])
    np.testing.assert_allclose(score.arrays["r"], expected["r"], atol=1e-9)
    np.testing.assert_allclose(score.details["r_by_split"], expected["medians"], atol=1e-9)
    np.testing.assert_allclose(score.details["ceiling_by_split"], expected["ceilings"], atol=1e-12)
    assert score.value == pytest.approx(expected["score"], abs=1e-9)
    assert score.fields["r_neuroid_median"] == pytest.approx(expected["raw"], abs=1e-9)
    assert score.fields["ceiling"] == pytest.approx(np.mean(expected["ceilings"]), abs=1e-12)
    assert score.details["standard_error_splits"] == pytest.approx(np.std(expected["medians"]) / np.sqrt(10), abs=1e-9)
    assert score.details["stratified_by"] == ("object_name" if stratified else None)
    assert (score.details["n_train"], score.details["n_test"]) == (72, 8)
    assert score.fields["n_neuroids"] == score.fields["n_neuroids_valid"] == 6
    assert score.fields.get("alpha") == (1.0 if preset == RIDGE else None)
    assert score.details.get("components_used") == ([25] * 10 if preset == PLS else None)
    assert score.warnings == ()
    json.dumps(plain([score.fields, score.details, score.subjects]), allow_nan=False)


def test_subjects_are_fitted_together_and_reported_apart() -> None:
    x, trials, metadata = recording()
    together = run(x, trials, PLS, metadata, subjects=("A", "B", "A", "B", "B", "B"))
    assert run(x, trials, PLS, metadata).value == together.value
    assert set(together.subjects) == {"A", "B"}
    first = together.subjects["A"]
    assert first["r_by_split"] == pytest.approx(np.median(together.arrays["r"][:, [0, 2]], axis=1))
    assert first["score"] == pytest.approx(first["r_neuroid_median"] ** 2 / first["ceiling"])
    assert (first["n_neuroids"], first["neuroid_ids"]) == (2, ["n0", "n2"])


def test_the_interval_is_that_of_overlapping_splits() -> None:
    x, trials, metadata = recording(noise=4)
    score = run(x, trials, RIDGE, metadata)
    medians = np.array(score.details["r_by_split"])
    error = np.sqrt((1 / 10 + 1 / 9) * medians.var(ddof=1))  # Nadeau and Bengio: 1/J + n_test / n_train
    assert score.details["standard_error"] == pytest.approx(error)
    ceiling = score.fields["ceiling"]
    assert score.ci_low == pytest.approx((medians.mean() - 1.96 * error) ** 2 / ceiling)
    assert score.ci_high == pytest.approx((medians.mean() + 1.96 * error) ** 2 / ceiling)


@pytest.mark.parametrize("preset", [PLS, RIDGE])
def test_duplicated_stimuli_and_a_single_neuroid(preset: str) -> None:
    x, trials, metadata = recording(m=1)
    x[40:60] = x[:20]
    expected = by_hand(x, trials, preset, metadata)
    score = run(x, trials, preset, metadata)
    np.testing.assert_allclose(score.arrays["r"], expected["r"], atol=1e-6)
    assert score.value == pytest.approx(expected["score"], abs=1e-6)


def test_a_rank_below_25_gives_fewer_components() -> None:
    x, trials, metadata = recording()
    low = x[:, :4] @ rng(1).standard_normal((4, 300))
    score = run(low, trials, PLS, metadata)
    assert score.details["components_used"] == [4] * 10
    least_squares = run(x[:, :4], trials, RIDGE, metadata)
    assert score.value == pytest.approx(least_squares.value, abs=0.02)


@pytest.mark.parametrize("preset", [PLS, RIDGE])
def test_features_without_information_score_zero(preset: str) -> None:
    x, trials, metadata = recording()
    score = run(np.ones_like(x), trials, preset, metadata)
    assert score.value == 0
    assert score.fields["r_neuroid"] == 0


@pytest.mark.parametrize("preset", [PLS, RIDGE])
def test_constant_and_missing_neuroids_are_counted_and_left_out(preset: str) -> None:
    x, trials, metadata = recording()
    expected = run(x, trials[:, :, [0, 2, 3, 5]], preset, metadata)
    trials[:, :, 1] = 3.0
    trials[8, :, 4] = np.nan
    score = run(x, trials, preset, metadata)
    assert (score.fields["n_neuroids"], score.fields["n_neuroids_valid"]) == (6, 4)
    assert score.details["n_neuroids_incomplete"] == 1
    assert any("1 neuroids were not recorded" in line for line in score.warnings)
    assert score.value == pytest.approx(expected.value, abs=1e-9)


def test_nothing_recorded_gives_no_score() -> None:
    x, trials, metadata = recording()
    trials[5] = np.nan
    score = run(x, trials, PLS, metadata)
    assert score.value is None
    assert score.fields["n_neuroids_valid"] == 0
    assert any("no neuroid has a correlation" in line for line in score.warnings)


@pytest.mark.parametrize("one_repetition", [True, False])
def test_without_repetitions_there_is_no_ceiling(one_repetition: bool) -> None:
    x, trials, metadata = recording(repetitions=1)
    score = run(x, trials if one_repetition else trials[:, 0], RIDGE, metadata)
    assert score.fields["ceiling"] is None
    assert score.value == pytest.approx(by_hand(x, trials[:, 0], RIDGE, metadata)["raw"] ** 2)
    assert any("no ceiling" in line for line in score.warnings)


def test_a_ceiling_comes_from_trials_that_are_held_apart() -> None:
    x, trials, metadata = recording()
    some = responses_of(trials).at(ids(80)[:30])
    target = Responses(tuple(ids(80)), np.nanmean(trials, axis=1), some.neuroid_ids, some.subjects, "V4", trials=some)
    score = compute([{"output": layer(x)}], target, KFold(5).assign(ids(80)), preset=RIDGE, metadata=metadata)
    alone = by_hand(x[:30], trials[:30], RIDGE, None)
    assert score.fields["ceiling"] == pytest.approx(np.mean(alone["ceilings"]))


def test_a_negative_mean_of_medians_is_pointed_out() -> None:
    metadata = recording()[2]
    score = run(rng(21).standard_normal((80, 1)), rng(21, 1).standard_normal((80, 1)), RIDGE, metadata)
    assert score.fields["r_neuroid_median"] < 0 < score.value
    assert any("negative" in line for line in score.warnings)


def test_a_ceiling_that_is_not_positive_gives_no_score() -> None:
    x, trials, metadata = recording(m=1, repetitions=2)
    trials[:, 1] = 5 - trials[:, 0]
    score = run(x, trials + 1e-3 * rng(22).standard_normal(trials.shape), RIDGE, metadata)
    assert score.value is None
    assert score.fields["ceiling"] < 0
    assert any("the ceiling is not positive" in line for line in score.warnings)


def test_some_stimuli_without_an_object_are_split_without_objects() -> None:
    x, trials, metadata = recording()
    metadata["object_name"]["s0003"] = ""
    score = run(x, trials, RIDGE, metadata)
    assert score.value == run(x, trials, RIDGE).value
    assert any("not stratified" in line for line in score.warnings)


@pytest.mark.parametrize("preset", [PLS, RIDGE])
def test_a_layer_is_chosen_on_training_stimuli(preset: str) -> None:
    x, trials, metadata = recording()
    random = rng(9)
    layers = {"noise": layer(random.standard_normal(x.shape)), "signal": layer(x), "again": layer(x)}
    splits = KFold(5).assign(ids(80))
    score = compute([layers], responses_of(trials), splits, preset=preset, metadata=metadata)
    assert score.layers == (("signal",),)  # the earlier of two that are the same
    assert score.value == run(x, trials, preset, metadata).value
    # Responses to the test stimuli of the first split have no say in its choice.
    changed = trials.copy()
    test = score.arrays["tested"][0]
    changed[test] = random.standard_normal(changed[test].shape)
    other = compute([layers], responses_of(changed), splits, preset=preset, metadata=metadata)
    assert other.details["criteria"][0] == score.details["criteria"][0]
    assert other.details["criteria"][1] != score.details["criteria"][1]


def test_groups_are_kept_together_where_a_layer_is_chosen() -> None:
    x, trials, metadata = recording()
    groups = {i: f"g{number % 20}" for number, i in enumerate(ids(80))}
    layers = {"a": layer(x), "b": layer(x[:, :50])}
    for preset in (PLS, RIDGE):
        options: dict[str, Any] = {"preset": preset, "metadata": metadata}
        plain_choice = compute([layers], responses_of(trials), KFold(5).assign(ids(80)), **options)
        grouped = compute([layers], responses_of(trials), KFold(5).assign(ids(80)), groups=groups, **options)
        assert grouped.details["criteria"] != plain_choice.details["criteria"]
        assert any("groups" in line for line in grouped.warnings)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), preset=st.sampled_from([PLS, RIDGE]))
def test_invariances(seed: int, preset: str) -> None:
    x, trials, metadata = recording(n=60, p=90, m=4)
    expected = run(x, trials, preset, metadata)
    random = rng(11, seed)
    moved = x @ np.linalg.qr(random.standard_normal((90, 90)))[0] + random.standard_normal(90)
    assert run(moved, trials, preset, metadata).value == pytest.approx(expected.value, abs=1e-7)
    order = random.permutation(4)
    other = run(x, trials[:, :, order] * 3 - 2, preset, metadata)
    if preset == RIDGE:  # PLS shares its axes among neuroids, but all were scaled alike
        np.testing.assert_allclose(other.arrays["r"], expected.arrays["r"][:, order], atol=1e-9)
    assert other.value == pytest.approx(expected.value, abs=1e-9)


def test_bad_input_is_named() -> None:
    x, trials, metadata = recording()
    with pytest.raises(InputError, match="20 are too few"):
        run(x[:20], trials[:20], RIDGE, metadata)
    single = {"object_name": metadata["object_name"] | {"s0004": "unicorn"}}
    with pytest.raises(InputError, match="'unicorn' has a single stimulus"):
        run(x, trials, PLS, single)
    many = {"object_name": {i: f"object{number // 2}" for number, i in enumerate(ids(80))}}
    with pytest.raises(InputError, match=r"a tenth of the 80 stimuli \(8\) cannot hold each of the 40 objects"):
        run(x, trials, PLS, many)
    with pytest.raises(InputError, match="without selection and n_bootstrap"):
        run(x, trials, PLS, metadata, selection="paper", n_bootstrap=200)
    with pytest.raises(InputError, match="one model"):
        compute([{}, {}], responses_of(trials), KFold(5).assign(ids(80)), preset=PLS)
    with pytest.raises(InputError, match="s0000"):
        compute([{"output": layer(x)}], responses_of(trials).at(ids(80)[1:]), KFold(5).assign(ids(80)), preset=PLS)


def test_subjects_who_saw_different_stimuli_are_averaged() -> None:
    scores = {name: run(*recording(seed=seed)[:2], RIDGE) for seed, name in enumerate("AB")}
    both = combine_subjects(scores)
    assert both.value == pytest.approx((scores["A"].value + scores["B"].value) / 2)
    assert both.ci_low is None


def test_object_names_enter_keys_of_the_presets_only(tmp_path: Path) -> None:
    files = {}
    for stimulus_id in ("a", "b"):
        files[stimulus_id] = tmp_path / stimulus_id
        files[stimulus_id].write_bytes(stimulus_id.encode())
    stimuli = StimulusSet.from_files(files, {"object_name": {"a": "chair", "b": "bear"}, "size": {"a": "1", "b": "2"}})
    registry = Registry.default()
    assert metadata_of(registry.metric("encoding"), stimuli) == {}
    found = metadata_of(registry.metric(f"encoding:preset={PLS}"), stimuli)
    assert found == {"object_name": {"a": "chair", "b": "bear"}}
    bare = StimulusSet.from_files(files)
    assert metadata_of(registry.metric(f"encoding:preset={PLS}"), bare) == {}
    names = ("target", "splits", "benchmark", "benchmark_version", "metric", "metric_version", "layer")
    common: dict[str, Any] = {**dict.fromkeys(names, "x"), "representations": [], "groups": None, "parameters": {}}
    assert score_key(**common, metadata=None) == score_key(**common) != score_key(**common, metadata="hash")


PLUGIN = """
from pathlib import Path
from benchmark_core import BenchmarkSpec, KFold, Responses, StimulusSet, hookimpl

FOLDER = Path(__file__).parent / "images"
IDS = [f"i{k:02d}" for k in range(40)]


def stimuli(names):
    return StimulusSet.from_files(
        {i: FOLDER / f"{i}.png" for i in IDS}, {"object_name": {i: f"o{names(k)}" for k, i in enumerate(IDS)}}
    )


def target():
    import numpy as np

    values = np.random.Generator(np.random.Philox(3)).standard_normal((40, 4, 3))
    return Responses(tuple(IDS), values, ("a", "b", "c"), "M", "V4")


@hookimpl
def register_benchmarks():
    return [
        BenchmarkSpec(name=name, version=1, stimuli=lambda n=names: stimuli(n), target=target, splits=KFold(4))
        for name, names in (("four.V4", lambda k: k % 4), ("halves.V4", lambda k: k // 20))
    ]
"""


def test_a_run_passes_object_names_on(home: Path, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "plugins"
    (folder / "images").mkdir(parents=True)
    (folder / "objects.py").write_text(PLUGIN)
    random = rng(12)
    for k in range(40):
        pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"i{k:02d}.png")
    options: dict[str, Any] = {"plugins": [folder], "device": "cpu"}
    results = benchmark_core.run("pixels", ["four.V4", "halves.V4"], metric=f"encoding:preset={RIDGE}", **options)
    assert [r["status"] for r in results] == ["ok", "ok"]
    assert [r["details"]["stratified_by"] for r in results] == ["object_name"] * 2
    assert results[0]["details"]["r_by_split"] != results[1]["details"]["r_by_split"]
    again = benchmark_core.run("pixels", "four.V4", metric=f"encoding:preset={RIDGE}", **options)
    assert again[0]["cached"]
    assert again[0]["key"] == results[0]["key"] != results[1]["key"]
