"""Train/test splits by stimulus_id: fixed, or k folds, the same or different for each subject."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark_core.errors import InputError
from benchmark_core.keys import digest

if TYPE_CHECKING:
    from benchmark_core.stimuli import StimulusSet


@dataclass(frozen=True)
class Fold:
    """Ids to train on and ids to test on; disjoint, each sorted."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        from benchmark_core.stimuli import name_ids

        object.__setattr__(self, "train", tuple(sorted(self.train)))
        object.__setattr__(self, "test", tuple(sorted(self.test)))
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise InputError(f"stimulus_id {name_ids(both)} would be trained on and tested on")
        for role, ids in (("train", self.train), ("test", self.test)):
            if len(set(ids)) != len(ids):
                raise InputError(f"a stimulus_id appears twice among the {role} ids of a fold")
        if len(self.train) < 3 or len(self.test) < 2:
            raise InputError(
                f"a fold with {len(self.train)} training and {len(self.test)} test stimuli is too small (3 and 2 at least)"
            )


@dataclass(frozen=True)
class Splits:
    """Folds of a benchmark.

    Parameters
    ----------
    folds
        One fold for a fixed split, k for cross-validation.
    by_subject
        Folds of those subjects that differ from the rest.
    """

    folds: tuple[Fold, ...]
    by_subject: Mapping[str, tuple[Fold, ...]] = field(default_factory=dict)

    def of(self, subject: str) -> tuple[Fold, ...]:
        """Return the folds of one subject."""
        return self.by_subject.get(subject, self.folds)

    @property
    def hash(self) -> str:
        """Hash of all ids in all folds."""

        def plain(folds: Sequence[Fold]) -> list[list[list[str]]]:
            return [[list(f.train), list(f.test)] for f in folds]

        return digest(
            {"folds": plain(self.folds), "by_subject": {s: plain(f) for s, f in sorted(self.by_subject.items())}}
        )


@dataclass(frozen=True)
class KFold:
    """k folds by a fixed, seeded assignment of stimulus ids.

    Ids (or groups, where the stimulus set has them) are ordered by the SHA-256 of ``seed:id`` and dealt out, each
    to the fold that has the fewest stimuli so far: the same on every machine and for any order of the input.

    Parameters
    ----------
    k
        Number of folds, at least 2.
    seed
        Changes the assignment.
    """

    k: int = 5
    seed: int = 0

    def __call__(self, stimuli: StimulusSet) -> Splits:
        """Return the folds of a stimulus set; no group is ever on both sides of a fold."""
        return self.assign(stimuli.stimulus_ids, stimuli.groups)

    def assign(self, stimulus_ids: Sequence[str], groups: Sequence[str] | None = None) -> Splits:
        """Return the folds for ids and, where given, their groups."""
        members: dict[str, list[str]] = {}
        for stimulus_id, group in zip(stimulus_ids, groups or stimulus_ids, strict=True):
            members.setdefault(group, []).append(stimulus_id)
        if self.k < 2 or len(members) < self.k:
            noun = "groups of stimuli" if groups else "stimuli"
            raise InputError(f"{len(members)} {noun} cannot be split into {self.k} folds")
        order = sorted(members, key=lambda g: hashlib.sha256(f"{self.seed}:{g}".encode()).digest())
        parts: list[list[str]] = [[] for _ in range(self.k)]
        for group in order:
            min(parts, key=len).extend(members[group])
        everything = sorted(stimulus_ids)
        folds = []
        for part in parts:
            held_out = set(part)
            folds.append(Fold(tuple(i for i in everything if i not in held_out), tuple(part)))
        return Splits(tuple(folds))


def fixed_split(train: Sequence[str], test: Sequence[str]) -> Splits:
    """Return a single train/test split."""
    return Splits((Fold(tuple(train), tuple(test)),))
