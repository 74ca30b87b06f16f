"""Manifests of datasets that users add: what the registry reads at discovery. Standard library only.

A dataset of one's own is a folder, ``BENCH_HOME/data/NAME``, with a readable ``dataset.toml`` and one part
(:mod:`benchmark_core.datasets`) for each region.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark_core import datasets
from benchmark_core.atomic import settle
from benchmark_core.errors import BenchError, InputError, did_you_mean
from benchmark_core.home import bench_home
from benchmark_core.keys import digest
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.splits import Fold, KFold, Splits, fixed_split

if TYPE_CHECKING:
    from benchmark_core.stimuli import StimulusSet

FORMAT = 1
MANIFEST = "dataset.toml"
DEFAULT_SPLIT = "kfold:5"
GROUP, SPLIT = "group", "split"  # columns of stimuli.csv
NAME = re.compile(r"[A-Za-z0-9_]+")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class RegionEntry:
    """One benchmark: its version, what it rests on, and a digest of data, split and groups."""

    version: int
    content: str
    n_stimuli: int
    n_neuroids: int
    n_repetitions: int
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class OwnDataset:
    """A dataset that a user added.

    Parameters
    ----------
    name
        Its name.
    split
        As the user wrote it: ``kfold:5``, ``column:NAME`` or ``test:FILE``.
    grouped
        Whether stimuli come in groups.
    regions
        One benchmark each.
    sources
        The files that it was made from: ``file``, ``sha256``, ``images``.
    description
        One line for people; may be edited.
    """

    name: str
    split: str
    grouped: bool
    regions: Mapping[str, RegionEntry]
    sources: tuple[Mapping[str, str], ...] = ()
    description: str = ""

    @property
    def seal(self) -> str:
        """Digest of what must not be edited by hand, because versions stand for it."""
        regions = {name: [entry.version, entry.content] for name, entry in self.regions.items()}
        return digest({"name": self.name, "split": self.split, "grouped": self.grouped, "regions": regions})

    @property
    def spec(self) -> DatasetSpec:
        """The dataset as ``bench data`` knows it."""
        return dataset_spec(self.name, tuple(self.regions), self.description or self.summary)

    @property
    def summary(self) -> str:
        """What there is, in words."""
        folds = "fixed split" if not self.split.startswith("kfold:") else f"{self.split.partition(':')[2]} folds"
        return f"your own recordings, {folds}{', grouped' if self.grouped else ''}"


def dataset_spec(name: str, regions: tuple[str, ...], description: str = "") -> DatasetSpec:
    """Return the dataset of this name with a part for each region."""
    return DatasetSpec(
        name=name,
        parts=regions,
        description=description,
        source="added on this machine",
        obtain=f"`bench data add {name} --replace` and your own files",
    )


def dataset_folder(name: str) -> Path:
    """Return the folder of a dataset, which may not exist.

    Raises
    ------
    InputError
        If the name cannot be one.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be the name of a dataset: use letters, digits and _, e.g. my_lab")
    return bench_home() / "data" / name


def check_split(text: str) -> str:
    """Return a split as it is kept.

    Raises
    ------
    InputError
        If it is not ``kfold:K``, ``column:NAME`` or ``test:FILE``.
    """
    kind, _, value = text.partition(":")
    if kind == "kfold" and re.fullmatch("[0-9]{1,4}", value or "5") and int(value or "5") >= 2:
        return f"kfold:{int(value or '5')}"
    if kind in ("column", "test") and value:
        return text
    raise InputError(f"--split {text} is not allowed; use kfold:5, column:NAME or test:FILE")


def splits_for(split: str) -> KFold | Any:
    """Return what makes the splits of a stimulus set, for a split as :func:`check_split` returns it."""
    kind, _, value = split.partition(":")
    return KFold(k=int(value), seed=0) if kind == "kfold" else splits_from_column


def splits_from_column(stimuli: StimulusSet) -> Splits:
    """Return the splits that the column ``split`` says.

    With the values ``train`` and ``test`` these are one fixed split. Any other values name folds: each is tested once,
    after training on the rest.

    Raises
    ------
    InputError
        If there is a single value, or a fold is too small.
    """
    labels = stimuli.metadata[SPLIT]
    members: dict[str, list[str]] = {}
    for stimulus_id, label in zip(stimuli.stimulus_ids, labels, strict=True):
        members.setdefault(label, []).append(stimulus_id)
    if set(members) == {"train", "test"}:
        return fixed_split(members["train"], members["test"])
    if len(members) < 2:
        raise InputError(
            f"every stimulus is {next(iter(members))!r} in the split: nothing is left to test or to train on"
        )
    everything = stimuli.stimulus_ids
    return Splits(
        tuple(
            Fold(tuple(i for i, own in zip(everything, labels, strict=True) if own != label), tuple(members[label]))
            for label in sorted(members)
        )
    )


def to_toml(dataset: OwnDataset) -> str:
    """Return a manifest as TOML."""
    lines = [
        "# A dataset of your own, written by `bench data add`. You may edit the description; to change anything else,",
        "# run `bench data add` again with --replace.",
        f"format = {FORMAT}",
        f"name = {_text(dataset.name)}",
        f"description = {_text(dataset.description)}",
        f"split = {_text(dataset.split)}",
        f"grouped = {'true' if dataset.grouped else 'false'}",
        f"seal = {_text(dataset.seal)}",
    ]
    for name, entry in dataset.regions.items():
        lines += [
            "",
            f"[regions.{name if _BARE.fullmatch(name) else _text(name)}]",
            f"version = {entry.version}",
            f"n_stimuli = {entry.n_stimuli}",
            f"n_neuroids = {entry.n_neuroids}",
            f"n_repetitions = {entry.n_repetitions}",
            f"subjects = [{', '.join(map(_text, entry.subjects))}]",
            f"content = {_text(entry.content)}",
        ]
    for source in dataset.sources:
        lines += ["", "[[sources]]", *(f"{key} = {_text(value)}" for key, value in source.items())]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """Return a TOML basic string: JSON's escapes are TOML's; half surrogates (of odd file names) have none."""
    clean = value.encode("utf-8", errors="replace").decode("utf-8")
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")


def from_toml(text: str, path: Path) -> OwnDataset:
    """Read a manifest.

    Raises
    ------
    InputError
        If it is none, of another format, or was edited where it must not be.
    """
    import tomllib

    again = "add the dataset again with `bench data add ... --replace`"
    try:
        content = tomllib.loads(text)
        if content.get("format") != FORMAT:
            raise InputError(f"{path} is not of format {FORMAT}, which this version reads; {again}")
        dataset = OwnDataset(
            name=str(content["name"]),
            split=check_split(content["split"]),
            grouped=bool(content["grouped"]),
            regions={
                str(name): RegionEntry(
                    int(entry["version"]),
                    str(entry["content"]),
                    int(entry["n_stimuli"]),
                    int(entry["n_neuroids"]),
                    int(entry["n_repetitions"]),
                    tuple(map(str, entry["subjects"])),
                )
                for name, entry in content["regions"].items()
            },
            sources=tuple(dict(source) for source in content.get("sources", [])),
            description=str(content.get("description", "")),
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}); {again}") from None
    if dataset.seal != content.get("seal"):
        raise InputError(f"{path} was edited where versions stand for what it says; {again}")
    return dataset


def read_dataset(name: str) -> OwnDataset | None:
    """Return the dataset of this name, or None.

    Raises
    ------
    InputError
        If its manifest is damaged.
    """
    folder = dataset_folder(name)
    settle(folder)
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} ({error}); restore it or remove the folder") from None
    dataset = from_toml(text, path)
    if dataset.name != name:
        raise InputError(f"{path} is that of {dataset.name!r}; name the folder so")
    return dataset


def all_datasets() -> Iterator[OwnDataset]:
    """Yield the datasets that the user added, by name; one that cannot be read is a warning."""
    home = bench_home() / "data"
    try:
        with os.scandir(home) as entries:
            names = {entry.name for entry in entries}
    except OSError:
        return
    # A replacement that was cut off between its renames has left only what it set aside.
    aside = {match[1] for name in names if (match := re.fullmatch(r"\.(.+)\.old", name))}
    for name in sorted(n for n in names | aside if NAME.fullmatch(n)):
        if name in aside - names or (home / name / MANIFEST).is_file():
            try:
                dataset = read_dataset(name)
            except BenchError as error:
                warnings.warn(f"{error}; {name} is left out", stacklevel=2)
                continue
            if dataset is not None:
                yield dataset


def find_own(name: str) -> OwnDataset:
    """Return a dataset that the user added.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    dataset = read_dataset(name)
    if dataset is None:
        names = [d.name for d in all_datasets()]
        hint = did_you_mean(name, names) or (f" There are: {', '.join(names)}." if names else " There are none yet.")
        raise InputError(f"{name!r} is not a dataset that was added with bench data add.{hint}")
    return dataset


def benchmarks() -> list[BenchmarkSpec]:
    """Return a benchmark for each region of each dataset that the user added."""
    found = []
    for dataset in all_datasets():
        spec = dataset.spec
        for region, entry in dataset.regions.items():
            whose = f"{len(entry.subjects)} subjects" if len(entry.subjects) > 1 else "1 subject"
            ceiling = f"up to {entry.n_repetitions} repetitions" if entry.n_repetitions > 1 else "no ceiling"
            found.append(
                BenchmarkSpec(
                    name=f"{dataset.name}.{region}",
                    version=entry.version,
                    stimuli=partial(datasets.load_stimuli, spec, region),
                    target=partial(datasets.load_responses, spec, region),
                    target_hash=partial(datasets.target_hash, spec, region),
                    splits=splits_for(dataset.split),
                    needs=(spec,),
                    description=f"{dataset.description or dataset.summary}: {entry.n_stimuli} stimuli, "
                    f"{entry.n_neuroids} neuroids, {whose}, {ceiling}",
                    origin=str(dataset_folder(dataset.name) / MANIFEST),
                )
            )
    return found


@dataclass(frozen=True)
class Versions:
    """Versions that benchmarks of a dataset have had; they outlive the dataset, because records do."""

    path: Path
    last: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str) -> Versions:
        """Return the versions of a dataset's benchmarks so far.

        Raises
        ------
        InputError
            If the file that holds them is damaged.
        """
        path = bench_home() / "data" / f".{name}.versions.json"
        try:
            content = json.loads(path.read_bytes())
            return cls(path, {str(r): (int(version), str(data)) for r, (version, data) in content.items()})
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} cannot be read ({error}); it holds the versions of {name}: restore it, or delete it and use another name"
            ) from None

    def next(self, region: str, content: str) -> int:
        """Return the version for this content: the last one if nothing has changed, else one more."""
        version, last = self.last.get(region, (0, ""))
        return version if last == content else version + 1

    def with_regions(self, regions: Mapping[str, RegionEntry]) -> Versions:
        """Return these versions with those of a dataset that is about to be written."""
        return replace(self, last={**self.last, **{r: (e.version, e.content) for r, e in regions.items()}})

    def write(self) -> None:
        """Write them.

        Raises
        ------
        InputError
            If they cannot be written.
        """
        from benchmark_core.atomic import write_atomically

        write_atomically(self.path, (json.dumps(self.last, indent=1) + "\n").encode())
