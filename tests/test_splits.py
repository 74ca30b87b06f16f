"""Folds: disjoint, complete, balanced, grouped, and the same everywhere."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_core.errors import InputError
from benchmark_core.splits import Fold, KFold, Splits, fixed_split
from benchmark_core.stimuli import StimulusSet

PINNED = [
    ("image04", "image06", "image11"),
    ("image00", "image07", "image13"),
    ("image02", "image05", "image09"),
    ("image01", "image10", "image14"),
    ("image03", "image08", "image12"),
]
PINNED_HASH = "af7463d0bb6e410dc8a8ce705f860f3e8cba4ab7c12a9463f924e2b902859758"

ids_strategy = st.lists(st.text(min_size=1, max_size=6), min_size=15, max_size=60, unique=True)


@given(ids=ids_strategy, k=st.integers(2, 5), seed=st.integers(0, 3), shuffle=st.randoms(use_true_random=False))
def test_folds_partition_the_stimuli_whatever_their_order(
    ids: list[str], k: int, seed: int, shuffle: random.Random
) -> None:
    splits = KFold(k, seed).assign(ids)
    tested = Counter(i for fold in splits.folds for i in fold.test)
    assert tested == Counter(ids)
    for fold in splits.folds:
        assert set(fold.train) == set(ids) - set(fold.test)
    sizes = [len(fold.test) for fold in splits.folds]
    assert max(sizes) - min(sizes) <= 1
    shuffled = list(ids)
    shuffle.shuffle(shuffled)
    assert KFold(k, seed).assign(shuffled).hash == splits.hash


@given(sizes=st.lists(st.integers(2, 9), min_size=5, max_size=20), k=st.integers(2, 5))
def test_no_group_is_on_both_sides(sizes: list[int], k: int) -> None:
    group_of = {f"{g}-{i}": f"g{g}" for g, size in enumerate(sizes) for i in range(size)}
    splits = KFold(k).assign(list(group_of), list(group_of.values()))
    for fold in splits.folds:
        assert not {group_of[i] for i in fold.train} & {group_of[i] for i in fold.test}
    tested = [len(fold.test) for fold in splits.folds]
    assert sum(tested) == len(group_of)
    assert max(tested) - min(tested) <= max(sizes)


def test_assignment_is_pinned() -> None:
    """Changing the assignment would change every score: it means raising benchmark versions."""
    splits = KFold(k=5, seed=0).assign([f"image{i:02d}" for i in range(15)])
    assert [fold.test for fold in splits.folds] == PINNED
    assert splits.hash == PINNED_HASH


def test_seed_changes_the_assignment() -> None:
    ids = [f"image{i:02d}" for i in range(30)]
    assert len({KFold(5, seed).assign(ids).hash for seed in range(4)}) == 4


def test_groups_of_a_stimulus_set_are_used() -> None:
    ids = tuple(f"s{i:02d}" for i in range(20))
    groups = tuple(f"g{i // 4}" for i in range(20))
    stimuli = StimulusSet(ids, (Path("x"),) * 20, ("0",) * 20, {"group": groups})
    splits = KFold(5)(stimuli)
    assert all(len({groups[ids.index(i)] for i in fold.test}) == 1 for fold in splits.folds)
    plain = StimulusSet(ids, (Path("x"),) * 20, ("0",) * 20)
    assert KFold(5)(plain).hash == KFold(5).assign(ids).hash != splits.hash


@pytest.mark.parametrize(
    ("k", "groups", "message"),
    [(1, None, "12 stimuli cannot be split into 1"), (13, None, "into 13 folds"), (4, "aaabbbccccaa", "3 groups")],
)
def test_impossible_numbers_of_folds(k: int, groups: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KFold(k).assign([f"i{n:02d}" for n in range(12)], groups)


def test_fold_errors_name_ids() -> None:
    with pytest.raises(InputError, match="'c' would be trained on and tested on"):
        Fold(("a", "b", "c"), ("c", "d"))
    with pytest.raises(InputError, match="twice among the train"):
        Fold(("a", "b", "a"), ("c", "d"))
    with pytest.raises(InputError, match="too small"):
        Fold(("a", "b", "c"), ("d",))
    with pytest.raises(InputError, match="too small"):
        Fold(("a", "b"), ("c", "d"))


def test_fixed_split_is_one_sorted_fold() -> None:
    splits = fixed_split(["c", "a", "b"], ["e", "d"])
    assert splits.folds == (Fold(("a", "b", "c"), ("d", "e")),)
    assert fixed_split(["a", "b", "c"], ["d", "e"]).hash == splits.hash
    assert fixed_split(["a", "b", "d"], ["c", "e"]).hash != splits.hash


def test_folds_of_a_subject() -> None:
    common, own = fixed_split("abc", "de").folds, fixed_split("abd", "ce").folds
    splits = Splits(common, {"s2": own})
    assert splits.of("s1") == common
    assert splits.of("s2") == own
    assert splits.hash != Splits(common).hash
