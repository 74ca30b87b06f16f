"""Targets: the neural responses that a representation is asked to explain."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark_core.errors import InputError
from benchmark_core.stimuli import name_ids

if TYPE_CHECKING:
    import xarray as xr


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
    """

    stimulus_ids: tuple[str, ...]
    values: np.ndarray
    neuroid_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    region: str = ""

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
        if np.isinf(values).any():
            where = neuroids[int(np.argwhere(np.isinf(values))[0][-1])]
            raise InputError(f"responses of neuroid {where!r} hold an infinite value")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        object.__setattr__(self, "stimulus_ids", tuple(ids[i] for i in order))
        object.__setattr__(self, "values", np.ascontiguousarray(values[order]))
        object.__setattr__(self, "neuroid_ids", neuroids)
        object.__setattr__(self, "subjects", subjects)

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
        present = np.isfinite(self.values)
        counts = present.sum(axis=1)
        total = np.where(present, self.values, 0.0).sum(axis=1)
        averages: np.ndarray = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
        return averages

    def of_subject(self, subject: str) -> Responses:
        """Return the neuroids of one subject."""
        keep = [i for i, s in enumerate(self.subjects) if s == subject]
        return Responses(
            self.stimulus_ids,
            self.values[..., keep],
            tuple(self.neuroid_ids[i] for i in keep),
            tuple(self.subjects[i] for i in keep),
            self.region,
        )

    def at(self, stimulus_ids: Sequence[str]) -> Responses:
        """Return the responses to the given stimuli.

        Raises
        ------
        InputError
            Naming the ids that were not recorded.
        """
        where = {stimulus_id: i for i, stimulus_id in enumerate(self.stimulus_ids)}
        missing = [i for i in stimulus_ids if i not in where]
        if missing:
            raise InputError(f"no responses to stimulus_id {name_ids(missing)}")
        take = [where[i] for i in stimulus_ids]
        return Responses(tuple(stimulus_ids), self.values[take], self.neuroid_ids, self.subjects, self.region)

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
        values = np.where(np.isnan(self.values), np.nan, self.values) + 0.0
        content.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
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
        return xr.Dataset({"response": (dims, self.values)}, coords=coordinates, attrs={"region": self.region})

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

        return cls(
            texts("stimulus_id"),
            response.transpose(*dims).values,
            texts("neuroid_id"),
            texts("subject"),
            str(dataset.attrs.get("region", "")),
        )
