"""Trees of image folders, one folder for each category, as datasets with labels.

``train/<category>/*`` and ``test/<category>/*`` (or ``val/``) make the benchmark ``NAME.test``: what is fitted on the
training images is tried on the others. ``<category>/*`` alone makes ``NAME.all``, in five folds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark_core.dataset_checks import verify_part
from benchmark_core.datasets import Part, load_stimuli, load_target, read_manifest, target_hash, write_part
from benchmark_core.errors import BenchError, InputError
from benchmark_core.home import bench_home
from benchmark_core.keys import file_sha256
from benchmark_core.specs import BenchmarkSpec, DatasetSpec
from benchmark_core.splits import Fold, Splits, fixed_split

if TYPE_CHECKING:
    from benchmark_core.stimuli import StimulusSet

Progress = Callable[[str], None]
TRAIN, TESTS = "train", ("test", "val")
SPLIT, WHOLE = "split-tree", "tree"
"""Names of the part that a tree with and without training images becomes."""
FOLDS = 5
REPORT_EVERY = 5000  # images


@dataclass(frozen=True)
class Tree:
    """Images by stimulus id (their path in the tree), the category of each, and its split (``train`` or ``test``).

    ``splits`` is empty for a tree without training images.
    """

    files: Mapping[str, Path]
    categories: Mapping[str, str]
    splits: Mapping[str, str]


def read_tree(folder: Path, progress: Progress = lambda line: None) -> Tree:
    """List the images of a tree; opens none.

    Parameters
    ----------
    folder
        Holds ``train/<category>/`` and ``test/<category>/`` (or ``val/``), or ``<category>/``.
    progress
        Called with lines for people.

    Raises
    ------
    InputError
        If it is no such tree: no folder, without categories, with an empty category, or with folders in one.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}; name the folder that holds train/ and test/, or one folder a category")
    there = [name for name in (TRAIN, *TESTS) if (folder / name).is_dir()]
    tests = [name for name in there if name in TESTS]
    if TRAIN not in there or not tests:
        if there and _folders(folder / there[0]):
            lacks = "test/" if TRAIN in there else "train/"
            raise InputError(f"{folder} holds {there[0]}/<category>/ but no {lacks}<category>/")
        files, categories = read_categories(folder, "", progress)
        return Tree(files, categories, {})
    if len(tests) > 1:
        raise InputError(f"{folder} holds both test/ and val/; leave one out")
    files, categories, splits = {}, {}, {}
    for name in (TRAIN, tests[0]):
        found, of_found = read_categories(folder / name, f"{name}/", progress)
        files.update(found)
        categories.update(of_found)
        splits.update(dict.fromkeys(found, "train" if name == TRAIN else "test"))
    return Tree(files, categories, splits)


def read_categories(folder: Path, prefix: str, progress: Progress) -> tuple[dict[str, Path], dict[str, str]]:
    """Return ``{stimulus_id: file}`` and ``{stimulus_id: category}`` of the folders in a folder.

    Ids are ``<prefix><category>/<file name>``. Hidden files, and files that are no images by their names, are left out.

    Raises
    ------
    InputError
        If there are no folders, or one of them is empty or holds folders.
    """
    from benchmark_core.own_data_images import SUFFIXES

    files: dict[str, Path] = {}
    categories: dict[str, str] = {}
    ignored: list[Path] = []
    names = _folders(folder)
    if not names:
        raise InputError(f"{folder} holds no folders; expected one for each category, with its images")
    for category in names:
        before = len(files)
        for entry in _entries(folder / category):
            path = folder / category / entry.name
            if entry.name.startswith("."):
                continue
            if path.is_dir():  # unlike the entry's own, this one bears a link to itself
                raise InputError(f"{path} is a folder; images lie directly in the folder of their category")
            if path.suffix.lower() not in SUFFIXES:
                ignored.append(path)
                continue
            if not path.is_file():
                raise InputError(f"{path} is a broken link, or no plain file; copy the image there or remove it")
            stimulus_id = f"{prefix}{category}/{entry.name}"
            _check_name(stimulus_id, path)
            files[stimulus_id], categories[stimulus_id] = path, category
        if len(files) == before:
            raise InputError(f"{folder / category} holds no images ({', '.join(sorted(SUFFIXES))})")
    if ignored:
        progress(f"left out {len(ignored)} file{'s' * (len(ignored) > 1)} that are no images, e.g. {ignored[0]}")
    return files, categories


def _folders(folder: Path) -> list[str]:
    return [e.name for e in _entries(folder) if not e.name.startswith((".", "__MACOSX")) and e.is_dir()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from None


def _check_name(stimulus_id: str, path: Path) -> None:
    try:
        stimulus_id.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name of {os.fsencode(path)!r} is not UTF-8; rename the file") from None
    if not stimulus_id.isprintable() or "\\" in stimulus_id:
        raise InputError(f"the name {stimulus_id!r} cannot be a stimulus_id; rename the file or folder")


@dataclass(frozen=True)
class TreeImages(Mapping[str, tuple[str, bytes]]):
    """``{stimulus_id: (file name, bytes)}``, read and decoded one at a time, as :class:`Part` takes it."""

    files: Mapping[str, Path]
    progress: Progress = lambda line: None
    _read: list[int] = field(default_factory=lambda: [0])

    def __getitem__(self, stimulus_id: str) -> tuple[str, bytes]:
        from benchmark_core.own_data_images import open_image
        from benchmark_core.preprocessing import eight_bits

        path = self.files[stimulus_id]
        image = open_image(path)
        try:
            eight_bits(image)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        self._read[0] += 1
        if self._read[0] % REPORT_EVERY == 0:
            self.progress(f"copied {self._read[0]} of {len(self)} images")
        return stimulus_id, content

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def import_tree(
    dataset: DatasetSpec, part: str, tree: Tree, progress: Progress, labels: Mapping[str, str] | None = None
) -> None:
    """Write a tree as a part of a dataset; one that is there already, and whole, is left as it is.

    Parameters
    ----------
    labels
        Label of each stimulus (empty for none), where it is not its category.

    Raises
    ------
    InputError
        If there is only one category, or an image cannot be decoded; nothing is written then.
    """
    from benchmark_core.labels import Labels

    ids = tuple(tree.files)
    labels = labels or tree.categories
    target = Labels(ids, tuple(labels[i] for i in ids))
    where = f"{dataset.name}/{part}"
    if len(target.categories) < 2:
        raise InputError(f"{where}: there is only one category, {target.categories[0]!r}; classification needs two")
    if _is_imported(dataset, part, tree, target.hash):
        progress(f"{where}: already imported from the same files")
        return
    metadata = {"category": dict(tree.categories)}
    if tree.splits:
        metadata["split"] = dict(tree.splits)
    write_part(dataset, part, Part(images=TreeImages(tree.files, progress), responses=target, metadata=metadata))
    progress(f"{where}: imported {len(ids)} images in {len(target.categories)} categories")


def _is_imported(dataset: DatasetSpec, part: str, tree: Tree, labels: str) -> bool:
    from benchmark_core.stimuli import StimulusSet

    try:
        if read_manifest(dataset, part)["target_hash"] != labels:
            return False
        ids = tuple(tree.files)
        sha256 = tuple(file_sha256(tree.files[i]) for i in ids)
        same = StimulusSet(ids, tuple(tree.files.values()), sha256).manifest_hash
        return read_manifest(dataset, part)["stimuli_hash"] == same and not verify_part(dataset, part)
    except (BenchError, KeyError, OSError):
        return False


def splits_of_tree(stimuli: StimulusSet) -> Splits:
    """Return the split that the column ``split`` names, or five folds with equal shares of every category.

    Ids are ordered by the SHA-256 of ``0:id`` within their category, and dealt out in turn.

    Raises
    ------
    InputError
        If a category has fewer stimuli than there are folds.
    """
    if "split" in stimuli.metadata:
        of_id = dict(zip(stimuli.stimulus_ids, stimuli.metadata["split"], strict=True))
        return fixed_split([i for i in of_id if of_id[i] == "train"], [i for i in of_id if of_id[i] != "train"])
    members: dict[str, list[str]] = {}
    for stimulus_id, category in zip(stimuli.stimulus_ids, stimuli.metadata["category"], strict=True):
        members.setdefault(category, []).append(stimulus_id)
    tested: list[list[str]] = [[] for _ in range(FOLDS)]
    dealt = 0
    for category, ids in sorted(members.items()):
        if len(ids) < FOLDS:
            raise InputError(f"category {category!r} has {len(ids)} images; {FOLDS} folds need {FOLDS} of each")
        for stimulus_id in sorted(ids, key=lambda i: hashlib.sha256(f"0:{i}".encode()).digest()):
            tested[dealt % FOLDS].append(stimulus_id)
            dealt += 1
    folds = []
    for test in tested:
        held_out = set(test)
        folds.append(Fold(tuple(i for i in stimuli.stimulus_ids if i not in held_out), tuple(test)))
    return Splits(tuple(folds))


def tree_benchmark(
    dataset: DatasetSpec, part: str, name: str, description: str, reference: str = "", origin: str = ""
) -> BenchmarkSpec:
    """Return the benchmark of a part that :func:`import_tree` wrote; ``origin`` says where it is defined."""
    return BenchmarkSpec(
        name=name,
        version=1,
        stimuli=partial(load_stimuli, dataset, part),
        target=partial(load_target, dataset, part),
        target_hash=partial(target_hash, dataset, part),
        splits=splits_of_tree,
        target_kind="labels",
        metric="classification",
        needs=(dataset,),
        description=description,
        reference=reference,
        origin=origin,
    )


def add_tree(name: str, folder: Path, progress: Progress = lambda line: None) -> list[str]:
    """Copy a tree of the user's to ``BENCH_HOME``; from then on ``NAME.test`` (or ``NAME.all``) is a benchmark.

    Parameters
    ----------
    name
        Letters, digits and ``_``.
    folder
        See :func:`read_tree`.
    progress
        Called with lines for people.

    Returns
    -------
    The name of the part that was written.

    Raises
    ------
    InputError
        For a bad name, a name under which other data lie, or a folder that is no such tree.
    """
    if not (name.isascii() and name.replace("_", "a").isalnum()):
        raise InputError(f"{name!r} cannot be a dataset's name: use letters, digits and _")
    there = bench_home() / "data" / name
    if there.is_dir() and any(e.name not in (SPLIT, WHOLE) and not e.name.startswith(".") for e in there.iterdir()):
        raise InputError(f"{there} holds other data; choose another name")
    tree = read_tree(folder, progress)
    part = SPLIT if tree.splits else WHOLE
    import_tree(tree_dataset(name, (part,)), part, tree, progress)
    return [part]


def tree_dataset(name: str, parts: tuple[str, ...]) -> DatasetSpec:
    """Return the dataset that :func:`add_tree` wrote."""
    return DatasetSpec(
        name=name,
        parts=parts,
        description="images in folders by category, added with bench data add-tree",
        licence="yours to know",
        source="a folder of yours",
        importer=partial(add_tree, name),
    )


def added_trees() -> list[BenchmarkSpec]:
    """Return the benchmarks of the trees that were added on this machine; looks at names of folders only."""
    found: dict[str, list[str]] = {}
    for part in (SPLIT, WHOLE):
        for folder in (bench_home() / "data").glob(f"*/{part}"):
            found.setdefault(folder.parent.name, []).append(part)
    benchmarks = []
    for name, parts in sorted(found.items()):
        dataset = tree_dataset(name, tuple(parts))
        for part in parts:
            kind = "test" if part == SPLIT else "all"
            text = "test images, components of the training images" if part == SPLIT else "all images in five folds"
            description, origin = f"Categories of your {name}: {text}", str(bench_home() / "data" / name / part)
            benchmarks.append(tree_benchmark(dataset, part, f"{name}.{kind}", description, origin=origin))
    return benchmarks
