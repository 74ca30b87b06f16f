"""Representational dissimilarity matrices (RDMs) as a target."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from benchmark_core.errors import InputError
from benchmark_core.stimuli import name_ids

if TYPE_CHECKING:
    import xarray as xr

SYMMETRY = 1e-6
"""Largest difference between an RDM and its transpose, relative to its largest entry."""


@dataclass(frozen=True, eq=False)
class RDMs:
    """Dissimilarities between all pairs of stimuli, one RDM per subject and session; in the order of stimulus ids.

    Parameters
    ----------
    stimulus_ids
        Unique ids, shape (n_stimuli,).
    values
        (n_rdms, n_stimuli, n_stimuli) float64: symmetric, zero on the diagonal, NaN where a pair was not measured.
    subjects
        Subject of each RDM; one text stands for all.
    sessions
        Session of each RDM; one text stands for all.
    measure
        What the entries are, e.g. ``1 - Pearson r across voxels``; for people.
    """

    stimulus_ids: tuple[str, ...]
    values: np.ndarray
    subjects: tuple[str, ...]
    sessions: tuple[str, ...] = ()
    measure: str = ""
    kind: ClassVar[Literal["rdms"]] = "rdms"

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.dtype.kind not in "fiu":
            raise InputError(f"RDMs must be numbers, not {values.dtype}")
        values = values.astype(np.float64)
        ids = tuple(str(i) for i in self.stimulus_ids)
        n = len(ids)
        if values.ndim != 3 or values.shape[1:] != (n, n) or not len(values) or n < 2:
            raise InputError(f"RDMs have shape {values.shape}; expected (RDMs, {n}, {n}) for {n} stimulus ids")
        repeated = [i for i, count in Counter(ids).items() if count > 1]
        if repeated:
            raise InputError(f"duplicate stimulus_id {name_ids(repeated)} in the RDMs")
        subjects = (self.subjects,) * len(values) if isinstance(self.subjects, str) else tuple(self.subjects)
        sessions = (self.sessions,) * len(values) if isinstance(self.sessions, str) else tuple(self.sessions)
        sessions = sessions or ("",) * len(values)
        if (len(subjects), len(sessions)) != (len(values),) * 2:
            raise InputError(f"{len(values)} RDMs come with {len(subjects)} subjects and {len(sessions)} sessions")
        for number, rdm in enumerate(values):
            _check(rdm, f"the RDM of {subjects[number]}{', session ' * bool(sessions[number])}{sessions[number]}")
        order = sorted(range(n), key=ids.__getitem__)
        values = values[:, order][:, :, order]
        values[:, np.arange(n), np.arange(n)] = 0.0  # what _check let pass is rounding
        object.__setattr__(self, "stimulus_ids", tuple(ids[i] for i in order))
        object.__setattr__(self, "values", np.ascontiguousarray((values + values.transpose(0, 2, 1)) / 2))
        object.__setattr__(self, "subjects", tuple(map(str, subjects)))
        object.__setattr__(self, "sessions", tuple(map(str, sessions)))

    @property
    def n_rdms(self) -> int:
        """Number of RDMs."""
        return len(self.values)

    @property
    def subject_names(self) -> tuple[str, ...]:
        """Names of the subjects, sorted."""
        return tuple(sorted(set(self.subjects)))

    @property
    def contents(self) -> str:
        """What the target holds, in a few words."""
        n = len(self.subject_names)
        return f"{self.n_rdms} RDM{'s' * (self.n_rdms > 1)} of {n} subject{'s' * (n > 1)}"

    def of_subject(self, subject: str) -> RDMs:
        """Return the RDMs of one subject."""
        keep = [i for i, s in enumerate(self.subjects) if s == subject]
        return RDMs(
            self.stimulus_ids,
            self.values[keep],
            tuple(self.subjects[i] for i in keep),
            tuple(self.sessions[i] for i in keep),
            self.measure,
        )

    def at(self, stimulus_ids: Sequence[str]) -> RDMs:
        """Return the RDMs of the given stimuli.

        Raises
        ------
        InputError
            Naming the ids that are not there.
        """
        where = {stimulus_id: i for i, stimulus_id in enumerate(self.stimulus_ids)}
        missing = [i for i in stimulus_ids if i not in where]
        if missing:
            raise InputError(f"no dissimilarities of stimulus_id {name_ids(missing)}")
        take = [where[i] for i in stimulus_ids]
        return RDMs(tuple(stimulus_ids), self.values[:, take][:, :, take], self.subjects, self.sessions, self.measure)

    def average(self) -> np.ndarray:
        """Return the mean over RDMs, (n_stimuli, n_stimuli); NaN where no RDM has the pair."""
        present = np.isfinite(self.values)
        counts = present.sum(axis=0)
        total = np.where(present, self.values, 0.0).sum(axis=0)
        average: np.ndarray = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
        return average

    @property
    def hash(self) -> str:
        """Hash of ids, subjects, sessions and values (float64, NaN made uniform); independent of stimulus order."""
        content = hashlib.sha256()
        for part in (self.stimulus_ids, self.subjects, self.sessions):
            content.update("\x1f".join(part).encode() + b"\x1e")
        values = np.where(np.isnan(self.values), np.nan, self.values) + 0.0
        content.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        return content.hexdigest()

    def to_xarray(self) -> xr.Dataset:
        """Return an xarray Dataset with the variable ``dissimilarity`` (dims rdm, stimulus, other_stimulus)."""
        import xarray as xr

        return xr.Dataset(
            {"dissimilarity": (("rdm", "stimulus", "other_stimulus"), self.values)},
            coords={
                "stimulus_id": ("stimulus", np.array(self.stimulus_ids, dtype=object)),
                "subject": ("rdm", np.array(self.subjects, dtype=object)),
                "session": ("rdm", np.array(self.sessions, dtype=object)),
            },
            attrs={"measure": self.measure},
        )

    @classmethod
    def from_xarray(cls, dataset: xr.Dataset) -> RDMs:
        """Read what :meth:`to_xarray` writes.

        Raises
        ------
        InputError
            If a variable is missing.
        """
        absent = sorted({"dissimilarity", "stimulus_id", "subject", "session"} - set(map(str, dataset.variables)))
        if absent:
            raise InputError(f"the RDMs have no variable {', '.join(map(repr, absent))}")

        def texts(name: str) -> tuple[str, ...]:
            return tuple(str(v) for v in dataset[name].values)

        return cls(
            texts("stimulus_id"),
            dataset["dissimilarity"].values,
            texts("subject"),
            texts("session"),
            str(dataset.attrs.get("measure", "")),
        )


def _check(rdm: np.ndarray, what: str) -> None:
    """Check that one RDM is symmetric, zero on its diagonal, and finite or NaN elsewhere."""
    if np.isinf(rdm).any():
        raise InputError(f"{what} holds an infinite value")
    absent = np.isnan(rdm)
    largest = float(np.abs(np.where(absent, 0.0, rdm)).max())
    difference = np.where(absent | absent.T, 0.0, rdm - rdm.T)
    if (absent != absent.T).any() or np.abs(difference).max() > SYMMETRY * largest:
        raise InputError(f"{what} is not symmetric")
    if np.isnan(np.diag(rdm)).any() or np.abs(np.diag(rdm)).max() > SYMMETRY * largest:
        raise InputError(f"{what} is not zero on its diagonal")
