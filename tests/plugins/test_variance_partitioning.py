"""The metric ``variance-partitioning``, from representations to scores."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from toy import make_toy_world

from benchmark_core import run as run_cells
from benchmark_core.assembly import Responses
from benchmark_core.cells import make_plan
from benchmark_core.errors import InputError
from benchmark_core.leaderboard import leaderboard
from benchmark_core.records import Score, plain, read_records
from benchmark_core.registry import Registry
from benchmark_core.reliability import mean_noise
from benchmark_core.representation import Representation
from benchmark_core.resampling import resample_counts
from benchmark_core.splits import KFold, Splits, fixed_split
from benchmark_core.tables import print_results
from plugins.metrics import _encoding
from plugins.metrics._partition_average import combine_subjects
from plugins.metrics._variance_partitioning import compute

N, REPETITIONS = 60, 4


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=sum(k << (32 * i) for i, k in enumerate(key))))


def ids(n: int = N) -> list[str]:
    return [f"s{i:04d}" for i in range(n)]


def world(n_models: int = 2, m: int = 6, n: int = N, seed: int = 0) -> tuple[list[np.ndarray], Responses]:
    """Features that share some directions, and responses of two subjects that depend on both kinds."""
    random = rng(seed)
    common = random.standard_normal((n, 3))
    own = [random.standard_normal((n, 3)) for _ in range(n_models)]
    models = [np.hstack([common, private]) @ random.standard_normal((6, 6 + 60 * i)) for i, private in enumerate(own)]
    signal = common @ random.standard_normal((3, m)) + sum(0.6 * x @ random.standard_normal((3, m)) for x in own)
    trials = signal[:, None, :] + 2 * random.standard_normal((n, REPETITIONS, m)) + 7 * np.arange(m)
    return models, responses_of(trials)


def responses_of(values: np.ndarray) -> Responses:
    m = values.shape[-1]
    subjects = ("M1",) * (m // 2) + ("M2",) * (m - m // 2)
    return Responses(tuple(ids(len(values))), values, tuple(f"n{j}" for j in range(m)), subjects, "V4")


def layer(x: np.ndarray, name: str = "output") -> Representation:
    return Representation.from_features(x, ids(len(x)), name)


def run(models: list[np.ndarray], target: Responses, splits: Splits | None = None, **options: Any) -> Score:
    splits = splits or KFold(2).assign(ids(len(models[0])))
    defaults = {"n_bootstrap": 100, "ratios": "decades", "components": 4}
    return compute([{"output": layer(x)} for x in models], target, splits, **{**defaults, **options})


@pytest.fixture(scope="module")
def scored() -> tuple[list[np.ndarray], Responses, Splits, Score]:
    models, target = world()
    splits = KFold(3).assign(ids())
    return models, target, splits, run(models, target, splits)


def shares(score: Score) -> dict[str, Any]:
    return {**score.details["explained"], **score.details["parts"]}


def by_hand(
    predictions: dict[str, np.ndarray], target: Responses, splits: Splits, subject: str, counts: list[np.ndarray]
) -> dict[str, float]:
    """Shares of one subject with every test stimulus counted so often, neuroid by neuroid."""
    averages, noise = target.averages(), mean_noise(target.values)
    r2, reliability = dict.fromkeys(predictions, 0.0), 0.0
    for j in np.flatnonzero([s == subject for s in target.subjects]):
        errors, total, noises = dict.fromkeys(predictions, 0.0), 0.0, 0.0
        for fold, count in zip(splits.folds, counts, strict=True):
            train, test = (np.array([int(i[1:]) for i in part]) for part in (fold.train, fold.test))
            total += float(count @ (averages[test, j] - averages[train, j].mean()) ** 2)
            noises += float(count @ noise[test, j])
            for name, predicted in predictions.items():
                errors[name] += float(count @ (averages[test, j] - predicted[test, j]) ** 2)
        reliability += 1 - noises / total
        for name in r2:
            r2[name] += 1 - errors[name] / total
    a, b, ab = (r2[name] / reliability for name in ("A", "B", "AB"))
    return {"A": a, "B": b, "AB": ab, "unique_A": ab - b, "unique_B": ab - a, "shared": a + b - ab}


def test_shares_and_intervals_follow_from_the_predictions(scored: Any) -> None:
    _, target, splits, score = scored
    predictions = {name: score.arrays[f"predictions_{name}"].astype(float) for name in ("A", "B", "AB")}
    draws = [resample_counts(fold.test, 100, 0) for fold in splits.folds]
    ones = [np.ones(len(fold.test)) for fold in splits.folds]
    resampled: list[list[dict[str, float]]] = []
    for subject in ("M1", "M2"):
        estimates = by_hand(predictions, target, splits, subject, ones)
        every = [by_hand(predictions, target, splits, subject, [d[k] for d in draws]) for k in range(100)]
        resampled.append(every)
        found = {**score.subjects[subject]["explained"], **score.subjects[subject]["parts"]}
        for name, estimate in estimates.items():
            values = np.array([e[name] for e in every])
            assert found[name]["estimate"] == pytest.approx(estimate, abs=1e-5)  # kept predictions are float32
            assert found[name]["value"] == pytest.approx(2 * estimate - values.mean(), abs=1e-5)
            error = values.std(ddof=1) * np.sqrt(1 + 3 / 2)
            assert found[name]["standard_error"] == pytest.approx(error, rel=1e-4)
            assert found[name]["ci_high"] == pytest.approx(found[name]["value"] + 1.96 * error, abs=1e-4)
    for name, share in shares(score).items():
        of_subjects = [{**s["explained"], **s["parts"]}[name]["value"] for s in score.subjects.values()]
        assert share["value"] == pytest.approx(np.mean(of_subjects))
        mean = np.mean([[e[name] for e in every] for every in resampled], axis=0)
        assert share["standard_error"] == pytest.approx(mean.std(ddof=1) * np.sqrt(2.5), rel=1e-4)
    assert score.resamples is not None
    assert score.resamples.std(ddof=1) == pytest.approx(shares(score)["AB"]["standard_error"])
    assert (score.value, score.ci_low, score.ci_high) == tuple(
        score.details["explained"]["AB"][k] for k in ("value", "ci_low", "ci_high")
    )


def test_parts_add_up(scored: Any) -> None:
    score = scored[3]
    part = {name: share["value"] for name, share in shares(score).items()}
    assert part["unique_A"] + part["unique_B"] + part["shared"] == pytest.approx(part["AB"])
    assert part["unique_A"] + part["shared"] == pytest.approx(part["A"])
    for name in ("A", "B", "AB"):
        values = np.concatenate([np.array(s["r2"][name]) for s in score.subjects.values()])
        np.testing.assert_array_equal(values, score.arrays[f"r2_{name}"])


def test_everything_is_plain_and_says_what_it_rests_on(scored: Any) -> None:
    score = scored[3]
    json.dumps(plain({"f": score.fields, "d": score.details, "s": score.subjects}), allow_nan=False)
    assert {k: score.fields[k] for k in ("n_neuroids", "n_neuroids_valid", "n_stimuli")} == {
        "n_neuroids": 6,
        "n_neuroids_valid": 6,
        "n_stimuli": N,
    }
    reliability = score.arrays["reliability"]
    assert score.fields["ceiling"] == pytest.approx((reliability[:3].mean() + reliability[3:].mean()) / 2)
    assert score.layers == (("output",), ("output",))
    np.testing.assert_allclose(score.arrays["weights"].sum(axis=0), 1)
    assert score.details["weights"]["M1"]["A"] == pytest.approx(score.arrays["weights"][0, :3].mean())


def test_the_published_variant_is_encoding_of_principal_components_side_by_side(scored: Any) -> None:
    models, target, _, _ = scored
    split = fixed_split(ids()[:40], ids()[40:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for standardise in (False, True):
            given = [
                {"output": Representation.from_features(x, ids(), training_sets=[split.folds[0].train])} for x in models
            ]
            paper = compute(
                given, target, split, components=4, standardise=standardise, n_bootstrap=100, ratios="decades"
            ).details["paper"]
            components = []
            for x in models:
                scaled = StandardScaler().fit(x[:40]).transform(x) if standardise else x
                components.append(PCA(4, svd_solver="full").fit(scaled[:40]).transform(scaled))
            r = {}
            for name, features in zip(("A", "B", "AB"), [*components, np.hstack(components)], strict=True):
                reference = _encoding.compute(
                    [{"x": layer(features)}], target, split, selection="paper", n_bootstrap=100
                )
                r[name] = reference.fields["r_pattern"]
                assert paper["r_pattern"][name] == pytest.approx(r[name], abs=1e-7)
            assert paper["explained"]["AB"] == pytest.approx(r["AB"] ** 2)
            assert paper["parts"]["unique_A"] == pytest.approx(r["AB"] ** 2 - r["B"] ** 2, abs=1e-6)
            assert paper["parts"]["shared"] == pytest.approx(r["A"] ** 2 + r["B"] ** 2 - r["AB"] ** 2, abs=1e-6)


def test_more_components_than_rank_are_clamped_and_recorded() -> None:
    models, target = world()
    split = fixed_split(ids()[:40], ids()[40:])
    assert run(models, target, split).details["paper"]["components_used"] == {"A": [4], "B": [4]}
    found = run(models, target, split, components=1000).details
    assert found["components"] == 1000
    assert found["paper"]["components_used"] == {"A": [6], "B": [6]}


def test_resamples_are_those_of_encoding(scored: Any) -> None:
    models, target, splits, score = scored
    encoding = _encoding.compute([{"x": layer(models[0])}], target, splits, n_bootstrap=100)
    assert score.resamples_key == encoding.resamples_key is not None


def test_identical_models_have_nothing_of_their_own() -> None:
    models, target = world()
    found = shares(run([models[1], models[1].copy()], target))
    for name in ("unique_A", "unique_B"):
        assert found[name]["value"] == pytest.approx(0, abs=1e-9)
    assert found["shared"]["value"] == pytest.approx(found["AB"]["value"])


@pytest.mark.parametrize("width", [3, 90])
def test_a_constant_model_has_no_share(width: int) -> None:
    models, target = world()
    score = run([models[0], np.full((N, width), 4.2)], target)
    found = shares(score)
    for name in ("B", "unique_B", "shared"):
        assert found[name]["value"] == pytest.approx(0, abs=1e-9)
    assert score.details["paper"]["components_used"]["B"] == [0]


def test_order_of_models_and_stimuli_does_not_matter(scored: Any) -> None:
    models, target, splits, score = scored
    order = rng(3).permutation(N)
    shuffled = [Representation.from_features(x[order], np.array(ids())[order]) for x in models[::-1]]
    other = compute([{"x": s} for s in shuffled], target, splits, n_bootstrap=100, ratios="decades", components=4)
    exchanged = {"A": "B", "B": "A", "unique_A": "unique_B", "unique_B": "unique_A"}
    for name, share in shares(score).items():
        found = shares(other)[exchanged.get(name, name)]
        assert found["value"] == pytest.approx(share["value"], abs=1e-6)
        assert found["standard_error"] == pytest.approx(share["standard_error"], abs=1e-6)


def test_nothing_is_chosen_on_test_stimuli() -> None:
    models, target = world()
    split = fixed_split(ids()[:40], ids()[40:])
    noisy = [{"noise": layer(rng(9).standard_normal((N, 5)), "noise"), "good": layer(models[0], "good")}]
    noisy.append({"output": layer(models[1])})
    other = target.values.copy()
    other[40:] = 100 * rng(4).standard_normal(other[40:].shape)
    options = {"n_bootstrap": 100, "ratios": "decades", "components": 4}
    a, b = (compute(noisy, t, split, **options) for t in (target, responses_of(other)))
    assert a.layers == b.layers == (("good",), ("output",))
    for name in ("weights", "log10_penalty", "predictions_A", "predictions_AB"):
        np.testing.assert_array_equal(a.arrays[name], b.arrays[name])
    assert a.value is not None
    assert a.value > 0.3


def test_a_subject_may_share_its_choice() -> None:
    models, target = world()
    weights = run(models, target, fixed_split(ids()[:40], ids()[40:]), alpha_per_target=False).arrays["weights"]
    for columns in (slice(0, 3), slice(3, 6)):
        assert np.ptp(weights[:, columns], axis=1).max() == 0


def test_three_models_have_seven_parts_that_add_up() -> None:
    models, target = world(3)
    split = fixed_split(ids()[:40], ids()[40:])
    score = run(models, target, split)
    explained, parts = score.details["explained"], score.details["parts"]
    assert list(explained) == ["A", "B", "C", "AB", "AC", "BC", "ABC"]
    assert list(parts) == [
        "unique_A",
        "unique_B",
        "unique_C",
        "shared_AB",
        "shared_AC",
        "shared_BC",
        "shared_ABC",
    ]
    value = {name: share["value"] for name, share in {**explained, **parts}.items()}
    assert sum(value[name] for name in parts) == pytest.approx(value["ABC"]) == pytest.approx(score.value)
    assert value["unique_B"] == pytest.approx(value["ABC"] - value["AC"])
    assert value["shared_AB"] == pytest.approx(value["AC"] + value["BC"] - value["C"] - value["ABC"])
    assert score.details["n_weightings"] == 37
    # Two of the three alone: the same fits.
    two = run(models[1:], target, split)
    assert two.value == pytest.approx(value["BC"], abs=1e-9)


def test_gaps_are_counted_and_nothing_is_imputed() -> None:
    models, target = world()
    whole = run(models, target)
    values = target.values.copy()
    values[:, :, 0] = 0.1
    values[5, :, 1] = np.nan
    values[2:, :, 5] = np.nan
    score = run(models, responses_of(values))
    assert score.fields["n_neuroids_valid"] == 4
    assert score.details["excluded"] == {"constant response": 1, "too few training stimuli": 1}
    assert score.subjects["M2"]["excluded_neuroids"] == {"n5": "too few training stimuli"}
    assert np.isnan(score.arrays["r2_AB"][[0, 5]]).all()
    np.testing.assert_allclose(score.arrays["r2_AB"][2:5], whole.arrays["r2_AB"][2:5], rtol=1e-9)
    assert np.isfinite(score.arrays["r2_AB"][1])
    assert np.isnan(score.arrays["predictions_AB"][:, 5]).all()


def test_averages_alone_have_no_ceiling(scored: Any) -> None:
    models, target, splits, score = scored
    averages = run(models, responses_of(target.averages()), splits)
    assert averages.fields["ceiling"] is None
    found = averages.subjects["M1"]["explained"]["AB"]["estimate"]
    assert found == pytest.approx(score.arrays["r2_AB"][:3].mean(), abs=1e-9)


def test_unreliable_responses_have_no_score_but_say_so() -> None:
    models, _ = world()
    score = run(models, responses_of(rng(5).standard_normal((N, REPETITIONS, 6))))
    assert score.value is None
    assert score.details["parts"]["shared"]["value"] is None
    assert any("interval of the summed reliability includes 0" in w for w in score.warnings)


def test_groups_are_held_apart_and_drawn_together() -> None:
    models, target = world()
    groups = {i: f"g{k // 4}" for k, i in enumerate(ids())}
    splits = KFold(3).assign(ids(), list(groups.values()))
    alone, grouped = run(models, target, splits), run(models, target, splits, groups=groups)
    assert grouped.value is not None
    assert shares(grouped)["A"]["standard_error"] != pytest.approx(shares(alone)["A"]["standard_error"], rel=1e-3)


def test_subjects_scored_apart_combine_to_what_they_are_together(scored: Any) -> None:
    models, target, splits, score = scored
    apart = combine_subjects({s: run(models, target.of_subject(s), splits) for s in ("M1", "M2")})
    for name, share in shares(score).items():
        assert shares(apart)[name] == {k: pytest.approx(v, abs=1e-12) for k, v in share.items()}
    assert apart.fields == score.fields
    assert apart.details["paper"]["parts"] == pytest.approx(score.details["paper"]["parts"])
    assert "r2" not in apart.subjects["M1"]
    np.testing.assert_allclose(apart.arrays["M2/r2_AB"], score.arrays["r2_AB"][3:], rtol=1e-12)


def test_bad_input_is_one_clear_line(scored: Any) -> None:
    models, target, splits, _ = scored
    given = [{"x": layer(x)} for x in models]
    other = {"x": Representation.from_features(models[0], [*ids()[:-1], "else"])}
    strange = {"x": Representation.from_features(models[0], [f"other{i}" for i in range(N)])}
    for representations, message in (
        (given[:1], "takes two or three models, each with a layer; got 1"),
        ([*given, *given], "takes two or three models, each with a layer; got 4"),
        ([given[0], other], "models A and B saw different stimuli: stimulus_id 's0059' missing"),
        ([given[0], strange], "model B and the responses have no stimulus in common"),
        ([other, other], "responses: stimulus_id 'else' missing"),
    ):
        with pytest.raises(InputError) as caught:
            compute(representations, target, splits)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_from_the_command_to_the_leaderboard(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugins, metric = make_toy_world(tmp_path), "variance-partitioning:n_bootstrap=100,ratios=decades"
    for _ in range(2):
        (result,) = run_cells(["toy", "toy:width=6"], "toy.V4", metric=metric, layer="0+2", plugins=[plugins])
        assert result["status"] == "ok", result["error"]
    assert result["cached"]
    assert result["layer"] == "0 + 2"
    print_results([result])
    shown = capsys.readouterr().out.splitlines()
    first = shown.index("A = toy, B = toy:width=6, toy.V4 v1") + 3
    assert [line.split()[0] for line in shown[first : first + 6]] == ["A", "B", "AB", "unique_A", "unique_B", "shared"]
    (row,) = leaderboard(read_records(home / "records"))
    assert row["model"] == "toy + toy:width=6"
    assert row["score"] == result["score"]


def test_models_may_have_a_layer_each(tmp_path: Path, home: Path) -> None:
    registry = Registry([make_toy_world(tmp_path)], installed=False)

    def plan(layer: str) -> list[Any]:
        return make_plan(registry, ["toy", "toy:width=6"], ["toy.V4"], "variance-partitioning", layer)[0]

    for asked, name, layers in (
        ("auto", "auto", [("0", "2"), ("0", "2")]),
        ("auto+auto", "auto", [("0", "2"), ("0", "2")]),
        ("2", "2", [("2",), ("2",)]),
        ("0 +auto", "0 + auto", [("0",), ("0", "2")]),
    ):
        (cell,) = plan(asked)
        assert (cell.layer, cell.layers()) == (name, layers)
    for asked, message in (("0+2+0", "names 3 layers for 2 models"), ("0+all", "--layer all works for metrics of one")):
        with pytest.raises(InputError, match=message):
            plan(asked)
