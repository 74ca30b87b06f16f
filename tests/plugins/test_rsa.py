"""The metric ``rsa`` against direct computation, its choices, ceilings and intervals, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from benchmark_core import InputError, KFold, Labels, RDMs, Responses, Score, Splits, fixed_split
from benchmark_core.comparison import compare as compare_scores
from benchmark_core.rdm_comparison import compare_rdms, noise_ceiling
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from plugins.metrics._rsa import compute
from plugins.metrics._similarity import combine_subjects
from plugins.metrics.rsa import register_metrics

N = 40
IDS = tuple(f"s{i:02d}" for i in range(N))
FOLDS = KFold(k=4).assign(IDS)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


HIDDEN = generator(0).standard_normal((N, 5))
SIGNAL = HIDDEN @ generator(1).standard_normal((5, 120)) + generator(2).standard_normal((N, 120))
NOISE = generator(3).standard_normal((N, 120))


def measured(seed: int, noise: float = 0.5) -> np.ndarray:
    """Return the RDM of somebody who sees the hidden features."""
    seen = HIDDEN + noise * generator(seed).standard_normal((N, 5))
    return squareform(pdist(seen, "euclidean"))


SUBJECTS = ("A", "B", "C")
TARGET = RDMs(IDS, np.stack([measured(10 + i) for i in range(3)]), SUBJECTS, measure="Euclidean")


def recorded(n_neuroids: int = 12, noise: float = 1.0, repetitions: int = 4) -> Responses:
    random = generator(20)
    rates = 3 + HIDDEN @ random.standard_normal((5, n_neuroids))
    values = rates[:, None] + noise * random.standard_normal((N, repetitions, n_neuroids))
    subjects = ("A",) * (n_neuroids // 2) + ("B",) * (n_neuroids - n_neuroids // 2)
    return Responses(IDS, values, tuple(f"n{i}" for i in range(n_neuroids)), subjects)


RESPONSES = recorded()


def score(features: Any = SIGNAL, target: Any = TARGET, splits: Splits = FOLDS, **options: Any) -> Score:
    layers = features if isinstance(features, Mapping) else {"layer": features}
    made = {name: Representation.from_features(values, IDS, name) for name, values in layers.items()}
    return compute([made], target, splits, **{"n_bootstrap": 200, "stimuli": "all", **options})


def upper(rdm: np.ndarray) -> np.ndarray:
    return rdm[np.triu_indices(len(rdm), 1)]


def test_mean_over_subjects_on_all_stimuli() -> None:
    result = score()
    model = pdist(SIGNAL, "correlation")
    expected = [spearmanr(model, upper(rdm)).statistic for rdm in TARGET.values]
    assert [result.subjects[s]["score"] for s in SUBJECTS] == pytest.approx(expected, abs=1e-12)
    assert result.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert 0.2 < result.value < 0.9, "a case that tells something"
    assert result.fields["n_stimuli"] == N
    assert result.fields["n_neuroids"] is None
    assert result.details["n_pairs"] == dict.fromkeys(SUBJECTS, N * (N - 1) // 2)
    assert result.layers == (("layer",),)
    assert result.details["measure"] == "Euclidean"
    bounds = noise_ceiling(list(TARGET.values), "spearman")
    assert (result.details["ceiling_lower"], result.details["ceiling_upper"]) == bounds
    assert bounds is not None
    assert result.fields["ceiling"] == bounds[0] > result.value
    assert result.ci_low is not None
    assert result.ci_low < result.value < result.ci_high
    assert score(n_bootstrap=200).ci_low == result.ci_low
    assert score(seed=1).ci_low != result.ci_low


@pytest.mark.parametrize(
    ("distance", "compare"), [("euclidean", "pearson"), ("cosine", "cosine"), ("sqeuclidean", "whitened-cosine")]
)
def test_other_distances_and_comparisons(distance: str, compare: Any) -> None:
    result = score(distance=distance, compare=compare)
    model = squareform(pdist(SIGNAL, distance))
    expected = [compare_rdms(model, rdm, compare).value for rdm in TARGET.values]
    assert result.value == pytest.approx(np.mean(expected), abs=1e-10)
    assert result.ci_low is not None
    assert result.ci_low < result.value < result.ci_high


def test_test_stimuli_within_folds() -> None:
    result = score(stimuli="test")
    rows = [[IDS.index(i) for i in fold.test] for fold in FOLDS.folds]
    for subject, rdm in zip(SUBJECTS, TARGET.values, strict=True):
        by_fold = [
            spearmanr(pdist(SIGNAL[r], "correlation"), upper(rdm[np.ix_(r, r)])).statistic for r in rows
        ]  # pairs within a fold only
        assert result.subjects[subject]["score_by_fold"] == pytest.approx(by_fold, abs=1e-12)
    assert result.details["score_all"] == pytest.approx(score().value, abs=1e-15)
    assert score().details["score_test"] == pytest.approx(result.value, abs=1e-15)
    assert result.details["n_pairs"]["A"] == sum(len(r) * (len(r) - 1) // 2 for r in rows)
    bounds = [noise_ceiling([rdm[np.ix_(r, r)] for rdm in TARGET.values], "spearman") for r in rows]
    assert result.details["ceiling_upper"] == pytest.approx(np.mean([b[1] for b in bounds if b]))


def test_by_default_models_with_one_layer_and_with_several_are_scored_on_the_same_stimuli() -> None:
    layers = {name: Representation.from_features(values, IDS, name) for name, values in (("a", SIGNAL), ("b", NOISE))}
    one, two = compute([{"a": layers["a"]}], TARGET, FOLDS), compute([layers], TARGET, FOLDS)
    assert one.details["stimuli"] == two.details["stimuli"] == "test"
    assert one.resamples_key == two.resamples_key
    assert two.warnings == ()


def test_layers_are_chosen_on_training_stimuli() -> None:
    """A layer that knows the test stimuli of every fold and nothing else would win on them; it is not chosen."""
    result = score({"noise": NOISE, "signal": SIGNAL})
    assert result.layers == (("signal",),)
    assert result.value == pytest.approx(score(stimuli="test").value, abs=1e-12)
    assert result.details["score_all"] is None
    assert (result.details["stimuli"], score().details["stimuli"]) == ("test", "all")
    assert any("name a layer" in w for w in result.warnings)
    assert score({"noise": NOISE, "signal": SIGNAL}, stimuli="test").warnings == ()
    split = fixed_split(IDS[:28], IDS[28:])
    cheat = np.vstack([NOISE[:28], np.pad(HIDDEN[28:], ((0, 0), (0, 115)))])
    result = score({"cheat": cheat, "signal": SIGNAL}, splits=split, distance="euclidean")
    assert result.layers == (("signal",),)
    criteria = result.subjects["A"]["criteria"][0]
    assert criteria["signal"] > 0.3 > criteria["cheat"]
    chosen_on_test = score(cheat, splits=split, distance="euclidean", stimuli="test")
    assert result.details["optimism"] == pytest.approx(chosen_on_test.value - result.value)
    assert result.details["optimism"] > 0.01, "what choosing on test stimuli would have added"
    again = score({"first": SIGNAL, "second": SIGNAL}, splits=split)
    assert again.layers == (("first",),), "ties go to the earlier layer"


def test_intervals_allow_for_folds_only_where_something_is_chosen() -> None:
    one = score(stimuli="test")
    two = score({"signal": SIGNAL, "noise": NOISE}, stimuli="test")
    assert one.value == pytest.approx(two.value)
    factor = np.sqrt(1 + 4 / 3)
    assert two.details["standard_error"] == pytest.approx(factor * one.details["standard_error"], rel=1e-9)
    assert one.resamples is not None
    assert one.resamples.shape == (200,)
    assert one.resamples.std(ddof=1) == pytest.approx(one.details["standard_error"])
    assert one.resamples.mean() == pytest.approx(0, abs=1e-15)


def test_scores_are_compared_on_shared_resamples() -> None:
    related = SIGNAL + 0.3 * NOISE
    found = compare_scores({"signal": score(), "related": score(related), "noise": score(NOISE)})
    assert found.best_set[0] in ("signal", "related")
    assert "noise" not in found.best_set
    pair = next(d for d in found.differences if {d.first, d.second} == {"signal", "related"})
    assert pair.standard_error < 0.5 * score().details["standard_error"], "what both share cancels"
    with pytest.raises(InputError, match="does not share"):
        compare_scores({"all": score(), "test": score(stimuli="test")})


def test_rdms_of_responses() -> None:
    result = score(target=RESPONSES)
    for subject in ("A", "B"):
        patterns = RESPONSES.of_subject(subject).averages()
        expected = spearmanr(pdist(SIGNAL, "correlation"), pdist(patterns, "correlation")).statistic
        assert result.subjects[subject]["score"] == pytest.approx(expected, abs=1e-12)
    assert (result.fields["n_neuroids"], result.fields["n_neuroids_valid"]) == (12, 12)
    assert result.details["target_distance"] == "correlation"
    assert 0 < result.details["split_half"] < result.details["split_half_corrected"] < 1
    assert result.details["ceiling_split_half"] == pytest.approx(np.sqrt(result.details["split_half_corrected"]))
    mixed = score(target=RESPONSES, target_distance="sqeuclidean", distance="euclidean", compare="spearman")
    same = score(target=RESPONSES, distance="euclidean", compare="spearman")
    assert mixed.value == pytest.approx(same.value, abs=1e-12), "the same ranks"
    averages = Responses(IDS, RESPONSES.averages(), RESPONSES.neuroid_ids, RESPONSES.subjects)
    assert score(target=averages).value == result.value
    assert score(target=averages).details["split_half"] is None


def test_split_half_reliability_is_near_the_truth() -> None:
    """Corrected, it is the squared correlation of the RDM of all repetitions with one free of noise."""
    target = recorded(n_neuroids=40, noise=6.0)
    clean = recorded(n_neuroids=40, noise=0.0)
    result = score(target=target, distance="euclidean", compare="pearson")
    free = [
        compare_rdms(squareform(pdist(a.averages())), squareform(pdist(b.averages())), "pearson").value
        for a, b in ((target.of_subject(s), clean.of_subject(s)) for s in ("A", "B"))
    ]
    assert result.details["ceiling_split_half"] == pytest.approx(np.mean(free), abs=0.1)
    assert np.mean(free) < 0.9


@pytest.mark.parametrize("target_distance", ["crossnobis", "cv-sqeuclidean"])
def test_crossvalidated_targets(target_distance: str) -> None:
    options: dict[str, Any] = {
        "distance": "sqeuclidean",
        "target_distance": target_distance,
        "compare": "whitened-cosine",
    }
    result = score(target=RESPONSES, **options)
    assert result.value is not None
    assert result.value > 0.4
    assert score(NOISE, RESPONSES, **options).value < 0.6 * result.value
    assert "split_half" not in result.details
    averages = Responses(IDS, RESPONSES.averages(), RESPONSES.neuroid_ids, RESPONSES.subjects)
    with pytest.raises(InputError, match="subject A has averages only"):
        score(target=averages, **options)
    tested = FOLDS.folds[0].test
    some = Responses(IDS, RESPONSES.averages(), RESPONSES.neuroid_ids, RESPONSES.subjects, trials=RESPONSES.at(tested))
    result = score(target=some, splits=Splits(FOLDS.folds[:1]), stimuli="test", **options)
    assert result.fields["n_stimuli"] == len(tested)


def test_missing_neuroids_and_stimuli_are_counted() -> None:
    values = RESPONSES.values.copy()
    values[3, :, 1] = np.nan  # a neuroid of A that misses a stimulus
    values[[5, 6], :, 6:] = np.nan  # two stimuli that B was not shown
    target = Responses(IDS, values, RESPONSES.neuroid_ids, RESPONSES.subjects)
    result = score(target=target)
    assert result.fields["n_neuroids_valid"] == 11
    assert result.subjects["B"]["n_stimuli"] == N - 2
    kept = np.delete(np.arange(N), [5, 6])
    expected = spearmanr(
        pdist(SIGNAL[kept], "correlation"), pdist(RESPONSES.of_subject("B").averages()[kept], "correlation")
    ).statistic
    assert result.subjects["B"]["score"] == pytest.approx(expected, abs=1e-12)
    assert score(target=target, stimuli="test").value is not None
    holed = TARGET.values.copy()
    holed[0, 2, 7] = holed[0, 7, 2] = np.nan
    result = score(target=RDMs(IDS, holed, SUBJECTS))
    assert result.details["n_pairs"] == {"A": 779, "B": 780, "C": 780}
    patchwork = np.where(np.arange(N)[:, None] % 12 == np.arange(12), np.nan, RESPONSES.averages())
    with pytest.raises(InputError, match="subject A: none of 6 neuroids was recorded on all 40 stimuli"):
        score(target=Responses(IDS, patchwork, RESPONSES.neuroid_ids, RESPONSES.subjects))


def test_sessions_are_averaged_within_a_subject() -> None:
    values = np.stack([measured(30), measured(31), measured(32)])
    target = RDMs(IDS, values, ("A", "A", "B"), ("1", "2", "1"))
    result = score(target=target)
    expected = spearmanr(pdist(SIGNAL, "correlation"), upper(values[:2].mean(axis=0))).statistic
    assert result.subjects["A"]["score"] == pytest.approx(expected, abs=1e-12)
    alone = score(target=target.of_subject("A"))
    assert alone.fields["ceiling"] is None
    assert alone.details["ceiling_lower"] is None


def test_groups_widen_the_interval() -> None:
    """Stimuli of a group look alike: pairs of different groups are fewer than they seem."""
    groups = {i: f"g{n // 4}" for n, i in enumerate(IDS)}
    mean = np.repeat(HIDDEN[::4], 4, axis=0)
    seen = mean + 0.05 * HIDDEN
    target = RDMs(IDS, squareform(pdist(seen))[None], "A")
    features = seen + np.repeat(generator(40).standard_normal((N // 4, 5)), 4, axis=0)
    options: dict[str, Any] = {"distance": "euclidean", "n_bootstrap": 500}
    apart = score(features, target, **options).details["standard_error"]
    together = score(features, target, groups=groups, **options).details["standard_error"]
    assert together > 1.4 * apart
    with pytest.raises(InputError):
        score(features, target, groups={i: g for i, g in groups.items() if i != "s00"})


def test_a_model_that_tells_nothing_apart() -> None:
    result = score(np.ones((N, 4)), distance="euclidean")
    assert (result.value, result.ci_low, result.ci_high) == (0.0, 0.0, 0.0)
    result = score(np.ones((N, 4)))
    assert result.value is None, "patterns without variance have no correlation distance"
    assert result.ci_low is None
    assert result.subjects["A"]["n_pairs"] == 0
    assert any("no similarity" in w for w in result.warnings)
    dead = SIGNAL.copy()
    dead[4] = 0.0
    assert score(dead).details["n_pairs"]["A"] == (N - 1) * (N - 2) // 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": RDMs(IDS, 1.0 - np.eye(N)[None], "A")}, "the RDM of subject A is constant .1 for all 780 pairs"),
        ({"target": RDMs(IDS, np.where(np.eye(N), 0.0, np.nan)[None], "A")}, "no dissimilarity of any pair"),
        ({"target": RDMs(IDS[:-1], measured(1)[None, :-1, :-1], "A")}, "RDMs: stimulus_id 's39' missing"),
        ({"target": Labels(IDS, ("a", "b") * 20)}, "needs responses or RDMs, not Labels"),
        ({"target_distance": "crossnobis"}, r"the target is RDMs .Euclidean., which target_distance=crossnobis cannot"),
        (
            {"splits": fixed_split(IDS[:-2], IDS[-2:]), "stimuli": "test"},
            "pairs of 2 test stimuli cannot be compared: 3",
        ),
    ],
)
def test_bad_input(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        score(**options)
    assert "\n" not in str(caught.value)


def test_too_few_stimuli_and_models() -> None:
    layers = {"layer": Representation.from_features(SIGNAL, IDS)}
    with pytest.raises(InputError, match="takes one model"):
        compute([layers, layers], TARGET, FOLDS)
    holed = np.where(np.eye(N), 0.0, np.nan)
    holed[0, 1] = holed[1, 0] = 1.0
    holed[2, 3] = holed[3, 2] = 2.0
    result = score(target=RDMs(IDS, holed[None], "A"))
    assert result.value is None, "two pairs always correlate"
    assert any("no similarity" in w for w in result.warnings)


def test_subjects_who_saw_different_stimuli() -> None:
    parts = {s: score(target=TARGET.of_subject(s)) for s in SUBJECTS}
    whole, together = score(), combine_subjects(parts)
    assert together.value == pytest.approx(whole.value, abs=1e-15)
    # The same stimuli, so the same draws; the part that is independent between pairs is taken off subject by subject.
    assert together.details["standard_error"] == pytest.approx(whole.details["standard_error"], rel=0.1)
    assert set(together.subjects) == set(SUBJECTS)
    assert together.fields["n_stimuli"] == N
    parts["A"] = score(np.ones((N, 4)), TARGET.of_subject("A"))
    together = combine_subjects(parts)
    assert together.value == pytest.approx(np.mean([parts["B"].value, parts["C"].value]))
    assert "score rests on 2 of 3 subjects" in together.warnings


def test_registered() -> None:
    (spec,) = register_metrics()
    assert spec.accepts == ("responses", "rdms")
    registry = Registry(installed=False)
    resolved = registry.metric("rsa:stimuli=test,compare=pearson,distance=euclidean")
    assert resolved.identifier == "rsa:compare=pearson,distance=euclidean"
    assert {registry.benchmark(f"kriegeskorte92.{part}").metric for part in ("mIT", "hIT")} == {"rsa"}
    with pytest.raises(InputError, match="tau"):
        registry.metric("rsa:compare=tau")


@pytest.mark.real
def test_monkey_and_human_it_agree_as_published(real_data: Path) -> None:
    """Spearman .44 (the published figure) for their RDMs, by the metric's own comparison."""
    from plugins.benchmarks._kriegeskorte92_import import read_human, read_supplement
    from plugins.benchmarks.kriegeskorte92 import BRAIN_FILE, STIMULI_FILE

    _, _, monkey = read_supplement(real_data / "kriegeskorte92" / STIMULI_FILE)
    human = read_human(real_data / "kriegeskorte92" / BRAIN_FILE, monkey.stimulus_ids)
    value = compare_rdms(monkey.average(), human.average(), "spearman").value
    assert value == pytest.approx(0.43892380943522, abs=1e-9)
    # Monkey IT as a model of each human: a representation whose Euclidean distances are the monkeys' dissimilarities.
    centre = np.eye(92) - 1 / 92
    eigenvalues, vectors = np.linalg.eigh(-centre @ monkey.average() @ centre / 2)
    layer = Representation.from_features(vectors * np.sqrt(np.maximum(eigenvalues, 0)), monkey.stimulus_ids)
    result = compute(
        [{"monkey": layer}], human, KFold(k=5).assign(human.stimulus_ids), distance="sqeuclidean", stimuli="all"
    )
    expected = [
        spearmanr(upper(monkey.average()), upper(human.of_subject(s).average())).statistic for s in human.subject_names
    ]
    assert result.value == pytest.approx(np.mean(expected), abs=0.01)
    assert result.details["ceiling_lower"] < result.details["ceiling_upper"]
    assert result.ci_low is not None
    assert result.ci_low > 0.2
