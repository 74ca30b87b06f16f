"""Targets: the neural responses that a representation is asked to explain."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from benchmark_core.errors import InputError
from benchmark_core.stimuli import name_ids
from benchmark_core.threads import in_threads

if TYPE_CHECKING:
    import xarray as xr

BLOCK = 32  # stimuli whose repetitions are averaged at once


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of neuroids to stimuli, with repetitions where there are any; always in the order of stimulus ids.

    Parameters
    ----------
    stimulus_ids
        Unique ids, shape (n_stimuli,).
    values
        Float array (n_stimuli, n_repetitions, n_neuroids), NaN where a presentation is absent, in the recording's
        units; averages alone have shape (n_stimuli, n_neuroids).
    neuroid_ids
        Unique ids, shape (n_neuroids,).
    subjects
        Subject of each neuroid; one text stands for all.
    region
        Region of every neuroid.
    trials
        Single repetitions of some of the stimuli (those tested), where ``values`` are averages: enough for
        reliabilities, at a fraction of the memory that the repetitions of all stimuli take.
    reliability
        (n_neuroids,) reliability of the averages as somebody else computed it, NaN where unknown. Reported beside scores.
    """

    stimulus_ids: tuple[str, ...]
    values: np.ndarray
    neuroid_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    region: str = ""
    trials: Responses | None = None
    reliability: np.ndarray | None = None
    kind: ClassVar[Literal["responses"]] = "responses"

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.dtype.kind not in "fiu":
            raise InputError(f"responses must be numbers, not {values.dtype}")
        values = values.astype(np.float64, copy=False)
        if values.ndim not in (2, 3):
            raise InputError(
                f"responses have shape {values.shape}; expected (stimuli, neuroids) or (stimuli, repetitions, neuroids)"
            )
        ids = tuple(str(i) for i in self.stimulus_ids)
        neuroids = tuple(str(i) for i in self.neuroid_ids)
        subjects = (self.subjects,) * len(neuroids) if isinstance(self.subjects, str) else tuple(self.subjects)
        if (values.shape[0], values.shape[-1]) != (len(ids), len(neuroids)) or len(subjects) != len(neuroids):
            raise InputError(
                f"responses have shape {values.shape} for {len(ids)} stimulus ids, {len(neuroids)} neuroid ids "
                f"and {len(subjects)} subjects"
            )
        if not neuroids:
            raise InputError("responses hold no neuroids")
        for kind, names in (("stimulus_id", ids), ("neuroid_id", neuroids)):
            repeated = [i for i, count in Counter(names).items() if count > 1]
            if repeated:
                raise InputError(f"duplicate {kind} {name_ids(repeated)} in the responses")
        if _any_infinite(values):
            where = neuroids[int(np.argwhere(np.isinf(values))[0][-1])]
            raise InputError(f"responses of neuroid {where!r} hold an infinite value")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        object.__setattr__(self, "stimulus_ids", tuple(ids[i] for i in order))
        if order != list(range(len(ids))):  # a copy of what may be large
            values = values[order]
        # Some neuroids of what is large are a view of it.
        strides = values.strides
        is_part = values.ndim == 3 and strides[0] >= strides[1] >= strides[2] == values.itemsize
        object.__setattr__(self, "values", values if is_part else np.ascontiguousarray(values))
        object.__setattr__(self, "neuroid_ids", neuroids)
        object.__setattr__(self, "subjects", subjects)
        if self.trials is not None:
            if self.has_trials or not self.trials.has_trials or self.trials.neuroid_ids != neuroids:
                raise InputError("trials of some stimuli need averages of all, and the same neuroids")
            self._rows(self.trials.stimulus_ids)
        if self.reliability is not None:
            reliability = np.asarray(self.reliability, dtype=np.float64)
            if reliability.shape != (len(neuroids),):
                raise InputError(f"reliability has shape {reliability.shape} for {len(neuroids)} neuroids")
            object.__setattr__(self, "reliability", reliability)

    @property
    def has_trials(self) -> bool:
        """Whether single repetitions are at hand."""
        return self.values.ndim == 3

    @property
    def n_neuroids(self) -> int:
        """Number of neuroids."""
        return len(self.neuroid_ids)

    def averages(self) -> np.ndarray:
        """Return the mean over repetitions, shape (n_stimuli, n_neuroids); NaN where nothing was recorded."""
        if not self.has_trials:
            return self.values
        return self._averages.copy()

    @cached_property
    def _averages(self) -> np.ndarray:
        """The means over repetitions: computed once, because metrics ask for them again and again."""
        averages = np.empty((len(self.values), self.n_neuroids))

        def average(start: int, stop: int) -> None:
            for first in range(start, stop, BLOCK):  # small enough to stay in the processor's cache
                some = slice(first, min(first + BLOCK, stop))
                values, present = self.values[some], np.isfinite(self.values[some])
                whole = present.all()
                counts = np.full(averages[some].shape, values.shape[1]) if whole else present.sum(axis=1)
                total = (values if whole else np.where(present, values, 0.0)).sum(axis=1)
                averages[some] = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)

        in_threads(average, len(averages))
        return averages

    def of_subject(self, subject: str) -> Responses:
        """Return the neuroids of one subject."""
        keep = [i for i, s in enumerate(self.subjects) if s == subject]
        if len(keep) == self.n_neuroids:
            return self
        run = bool(keep) and keep[-1] - keep[0] == len(keep) - 1  # side by side: a view
        return Responses(
            self.stimulus_ids,
            self.values[..., keep[0] : keep[-1] + 1] if run else self.values[..., keep],
            tuple(self.neuroid_ids[i] for i in keep),
            tuple(self.subjects[i] for i in keep),
            self.region,
            None if self.trials is None else self.trials.of_subject(subject),
            None if self.reliability is None else self.reliability[keep],
        )

    def at(self, stimulus_ids: Sequence[str]) -> Responses:
        """Return the responses to the given stimuli.

        Raises
        ------
        InputError
            Naming the ids that were not recorded.
        """
        take = self._rows(stimulus_ids)
        trials = None
        if self.trials is not None:
            asked = set(stimulus_ids)
            both = [i for i in self.trials.stimulus_ids if i in asked]
            trials = self.trials.at(both) if both else None
        return Responses(
            tuple(stimulus_ids),
            self.values[take],
            self.neuroid_ids,
            self.subjects,
            self.region,
            trials,
            self.reliability,
        )

    def tested(self, stimulus_ids: Sequence[str]) -> Responses:
        """Return the responses to score predictions of the given stimuli with.

        That is ``self``, unless single repetitions are held apart and for all of these stimuli: then those, without the
        averages of the other stimuli.
        """
        if self.trials is None or not set(stimulus_ids) <= set(self.trials.stimulus_ids):
            return self
        trials = self.trials
        return Responses(
            trials.stimulus_ids,
            trials.values,
            trials.neuroid_ids,
            trials.subjects,
            trials.region,
            reliability=self.reliability,
        )

    def _rows(self, stimulus_ids: Sequence[str]) -> list[int]:
        where = {stimulus_id: i for i, stimulus_id in enumerate(self.stimulus_ids)}
        missing = [i for i in stimulus_ids if i not in where]
        if missing:
            raise InputError(f"no responses to stimulus_id {name_ids(missing)}")
        return [where[i] for i in stimulus_ids]

    @property
    def subject_names(self) -> tuple[str, ...]:
        """Names of the subjects, sorted."""
        return tuple(sorted(set(self.subjects)))

    @property
    def hash(self) -> str:
        """Hash of ids, subjects, region and values (float64, NaN made uniform); independent of stimulus order."""
        content = hashlib.sha256()
        for part in (self.stimulus_ids, self.neuroid_ids, self.subjects, (self.region,), map(str, self.values.shape)):
            content.update("\x1f".join(part).encode() + b"\x1e")
        for first in range(0, len(self.stimulus_ids), 256):  # by rows, because values may be large
            content.update(_uniform(self.values[first : first + 256]))
        if self.trials is not None:
            content.update(b"trials" + self.trials.hash.encode())
        if self.reliability is not None:
            content.update(b"reliability" + _uniform(self.reliability))
        return content.hexdigest()

    def to_xarray(self) -> xr.Dataset:
        """Return an xarray Dataset with the variable ``response`` (dims stimulus, [repetition,] neuroid)."""
        import xarray as xr

        dims = ("stimulus", "repetition", "neuroid") if self.has_trials else ("stimulus", "neuroid")
        coordinates: dict[str, Any] = {
            "stimulus_id": ("stimulus", np.array(self.stimulus_ids, dtype=object)),
            "neuroid_id": ("neuroid", np.array(self.neuroid_ids, dtype=object)),
            "subject": ("neuroid", np.array(self.subjects, dtype=object)),
        }
        variables: dict[str, Any] = {"response": (dims, self.values)}
        if self.trials is not None:
            variables["trial"] = (("tested", "repetition", "neuroid"), self.trials.values)
            coordinates["tested_id"] = ("tested", np.array(self.trials.stimulus_ids, dtype=object))
        if self.reliability is not None:
            variables["reliability"] = (("neuroid",), self.reliability)
        return xr.Dataset(variables, coords=coordinates, attrs={"region": self.region})

    @classmethod
    def from_xarray(cls, dataset: xr.Dataset) -> Responses:
        """Read what :meth:`to_xarray` writes.

        Raises
        ------
        InputError
            If the variable ``response`` or a coordinate is missing.
        """
        needed = {"response", "stimulus_id", "neuroid_id", "subject"}
        absent = sorted(needed - set(map(str, dataset.variables)))
        if absent:
            raise InputError(f"the assembly has no variable {', '.join(map(repr, absent))}")
        response = dataset["response"]
        dims = ("stimulus", "repetition", "neuroid") if "repetition" in response.dims else ("stimulus", "neuroid")
        if set(response.dims) != set(dims):
            raise InputError(f"the variable 'response' has dims {tuple(response.dims)}; expected {dims}")

        def texts(name: str) -> tuple[str, ...]:
            return tuple(str(v) for v in dataset[name].values)

        neuroids, subjects, region = texts("neuroid_id"), texts("subject"), str(dataset.attrs.get("region", ""))
        trials = None
        if "trial" in dataset:
            values = dataset["trial"].transpose("tested", "repetition", "neuroid").values
            trials = cls(texts("tested_id"), values, neuroids, subjects, region)
        reliability = dataset["reliability"].values if "reliability" in dataset else None
        return cls(
            texts("stimulus_id"), response.transpose(*dims).values, neuroids, subjects, region, trials, reliability
        )


def _any_infinite(values: np.ndarray) -> bool:
    """Whether there is an infinite number, without an array of as many booleans."""
    found: list[int] = []

    def look(start: int, stop: int) -> None:
        found.extend(
            first for first in range(start, stop, BLOCK) if np.isinf(values[first : min(first + BLOCK, stop)]).any()
        )

    in_threads(look, len(values))
    return bool(found)


def _uniform(values: np.ndarray) -> bytes:
    """Return values as bytes (float64), NaN and zero made uniform."""
    return np.ascontiguousarray(np.where(np.isnan(values), np.nan, values) + 0.0, dtype="<f8").tobytes()
