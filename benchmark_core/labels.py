"""Labels as a target: the category of each stimulus."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from benchmark_core.errors import InputError
from benchmark_core.stimuli import name_ids

if TYPE_CHECKING:
    import xarray as xr

UNLABELLED = ""
"""Label of a stimulus that has none (in a training subset of which only the images are used)."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The category of each stimulus; always in the order of stimulus ids.

    Parameters
    ----------
    stimulus_ids
        Unique ids, shape (n_stimuli,).
    labels
        Name of the category of each, shape (n_stimuli,); empty where a stimulus has no label.
    """

    stimulus_ids: tuple[str, ...]
    labels: tuple[str, ...]
    kind: ClassVar[Literal["labels"]] = "labels"

    def __post_init__(self) -> None:
        ids = tuple(str(i) for i in self.stimulus_ids)
        labels = tuple(str(label) for label in self.labels)
        if len(ids) != len(labels):
            raise InputError(f"there are {len(labels)} labels for {len(ids)} stimulus ids")
        repeated = [i for i, count in Counter(ids).items() if count > 1]
        if repeated:
            raise InputError(f"duplicate stimulus_id {name_ids(repeated)} in the labels")
        if not any(labels):
            raise InputError("no stimulus has a label")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        object.__setattr__(self, "stimulus_ids", tuple(ids[i] for i in order))
        object.__setattr__(self, "labels", tuple(labels[i] for i in order))

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(sorted(set(self.labels) - {UNLABELLED}))

    @property
    def contents(self) -> str:
        """What the target holds, in a few words."""
        return f"{len(self.categories)} categories"

    def at(self, stimulus_ids: Sequence[str]) -> Labels:
        """Return the labels of the given stimuli, in the order of their ids.

        Raises
        ------
        InputError
            Naming the ids that are not there.
        """
        label_of = dict(zip(self.stimulus_ids, self.labels, strict=True))
        missing = [i for i in stimulus_ids if i not in label_of]
        if missing:
            raise InputError(f"no label of stimulus_id {name_ids(missing)}")
        return Labels(tuple(stimulus_ids), tuple(label_of[i] for i in stimulus_ids))

    @property
    def hash(self) -> str:
        """Hash of ids and labels; independent of the order in which they were given."""
        content = hashlib.sha256()
        for part in (self.stimulus_ids, self.labels):
            content.update("\x1f".join(part).encode() + b"\x1e")
        return content.hexdigest()

    def to_xarray(self) -> xr.Dataset:
        """Return an xarray Dataset with the variable ``label`` (dim stimulus): positions in ``category``, or -1."""
        import numpy as np
        import xarray as xr

        position = {name: i for i, name in enumerate(self.categories)} | {UNLABELLED: -1}
        codes = np.array([position[label] for label in self.labels], dtype=np.int32)
        return xr.Dataset(
            {"label": ("stimulus", codes)},
            coords={
                "stimulus_id": ("stimulus", np.array(self.stimulus_ids, dtype=object)),
                "category_name": ("category", np.array(self.categories, dtype=object)),
            },
        )

    @classmethod
    def from_xarray(cls, dataset: xr.Dataset) -> Labels:
        """Read what :meth:`to_xarray` writes.

        Raises
        ------
        InputError
            If a variable is missing, or a label is not a position among the categories.
        """
        absent = sorted({"label", "stimulus_id", "category_name"} - set(map(str, dataset.variables)))
        if absent:
            raise InputError(f"the labels have no variable {', '.join(map(repr, absent))}")
        names = [str(v) for v in dataset["category_name"].values]
        codes = dataset["label"].values
        if codes.ndim != 1 or codes.dtype.kind not in "iu" or codes.min() < -1 or codes.max() >= len(names):
            raise InputError(f"the variable 'label' must hold one position from -1 to {len(names) - 1} per stimulus")
        return cls(
            tuple(str(v) for v in dataset["stimulus_id"].values),
            tuple(UNLABELLED if code < 0 else names[code] for code in codes),
        )
