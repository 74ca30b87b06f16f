"""Reading Places365 in the layout that the published pipeline expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.labels import UNLABELLED
from benchmark_core.stimuli import name_ids
from benchmark_core.trees import Tree, import_tree, read_categories
from plugins.benchmarks.places import DATASET, PART

LABELS, IMAGES, TRAIN = "places365_val.txt", "val_images/val_256", "train_images_subset"
N_CATEGORIES = 365


def import_folder(source: Path, progress: Callable[[str], None]) -> list[str]:
    """Import the validation images with their labels, and the training subset, which stays unlabelled.

    ``places365_val.txt`` holds a file name and a label (0 to 364) on every line, ``val_images/val_256/`` exactly those
    files, ``train_images_subset/<category>/`` the images that components are fitted on.

    Parameters
    ----------
    source
        The folder ``places``, or the one that holds it.
    progress
        Called with lines for people.

    Raises
    ------
    MissingDataError
        If a file or folder of the layout is missing.
    InputError
        If a line of the labels is malformed, labelled and present images differ, a category is empty, or an image
        cannot be decoded; nothing is written then.
    """
    source = source.expanduser()
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise InputError(f"{source} {what}; name the folder that holds {LABELS}, {IMAGES}/ and {TRAIN}/")
    if (source / "places" / LABELS).exists() and not (source / LABELS).exists():
        source = source / "places"
    if not (source / LABELS).is_file():
        raise MissingDataError(f"{source / LABELS} is missing: the labels of the validation images, one line each")
    for folder in (IMAGES, TRAIN):
        if not (source / folder).is_dir():
            raise MissingDataError(f"the folder {source / folder} is missing; {DATASET.name} needs it beside {LABELS}")
    label_of = read_labels(source / LABELS)
    tested = _match(source / IMAGES, label_of)
    trained, categories = read_categories(source / TRAIN, "train/", progress)
    labels = {f"val/{name}": label for name, label in label_of.items()}
    tree = Tree(
        files=trained | tested,
        categories=categories | labels,
        splits=dict.fromkeys(trained, "train") | dict.fromkeys(tested, "test"),
    )
    import_tree(DATASET, PART, tree, progress, dict.fromkeys(trained, UNLABELLED) | labels)
    return [PART]


def read_labels(path: Path) -> dict[str, str]:
    """Return the label of each file name.

    Raises
    ------
    InputError
        Naming the first line that is not a file name and a whole number from 0 to 364, or names a file again.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    labels: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, _, label = line.strip().rpartition(" ")
        name = name.strip()
        if not name or "/" in name or not (label.isascii() and label.isdigit()):
            raise InputError(f"{path}, line {number}: expected a file name and a label, found {line[:80]!r}")
        if int(label) >= N_CATEGORIES:
            raise InputError(f"{path}, line {number}: label {label} is out of range (0 to {N_CATEGORIES - 1})")
        if name in labels:
            raise InputError(f"{path}, line {number}: {name!r} is labelled twice")
        labels[name] = str(int(label))
    if not labels:
        raise InputError(f"{path} is empty")
    return labels


def _match(folder: Path, label_of: Mapping[str, str]) -> dict[str, Path]:
    """Return ``{stimulus_id: file}``; labels and files must be those of the same images."""
    try:
        there = {p.name for p in folder.iterdir() if not p.name.startswith(".") and p.is_file()}
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from None
    missing, extra = sorted(set(label_of) - there), sorted(there - set(label_of))
    if missing:
        raise InputError(f"{folder} lacks the image {name_ids(missing)}, which {LABELS} labels; get it again")
    if extra:
        raise InputError(f"{folder} also holds {name_ids(extra)}, which {LABELS} does not label")
    return {f"val/{name}": folder / name for name in label_of}
