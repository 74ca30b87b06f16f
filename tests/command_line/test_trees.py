"""Trees of image folders from the command line: scenes15, Places365 in small, a user's own; then what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import Bench, Tree
from miniatures.places import LABELS, TRAINING, made_up, write_places
from PIL import Image

from benchmark_core import datasets
from benchmark_core.labels import Labels
from plugins.benchmarks import places, scenes15

CATEGORIES = ("coast", "forest", "street")


def write_tree(folder: Path, splits: tuple[str, ...] = ("train", "test"), n: int = 5) -> Path:
    for s, split in enumerate(splits):
        for label, category in enumerate(CATEGORIES):
            target = folder / split / category
            target.mkdir(parents=True)
            for i in range(n):
                (target / f"{i:03d}.jpg").write_bytes(made_up(label, 100 * s + i))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "mine" / "tree")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_places(tmp_path / "mine" / "places")


def score_of(bench: Bench, benchmark: str, *options: str) -> dict[str, Any]:
    done = bench("run", "--model", "toy-pixels", "--benchmark", benchmark, "--json", *options)
    assert done.status == 0, done
    (result,) = done.results
    return result


def test_scenes15_is_imported_verified_and_scored(bench: Bench, source: Path) -> None:
    done = bench("data", "import", "scenes15", "--from", source)
    assert (done.status, done.stdout) == (0, "scenes15: test ready\n")
    assert "3 categories" in done.stderr
    assert "imported 30 images" in done.stderr
    stimuli = datasets.load_stimuli(scenes15.DATASET, "test")
    assert stimuli.stimulus_ids[0] == "test/coast/000.jpg"
    for stimulus_id, path in zip(stimuli.stimulus_ids, stimuli.files, strict=True):
        assert path.read_bytes() == (source / stimulus_id).read_bytes()
    assert bench("data", "verify", "scenes15").stdout == "scenes15: whole\n"
    assert "30 stimuli, 3 categories" in bench("data", "list").stdout
    result = score_of(bench, "scenes15.test")
    assert (result["n_stimuli"], result["n_neuroids"], result["metric"]) == (15, None, "classification")
    assert result["score"] > 0.6, "three patterns with noise"
    assert result["details"]["components_used"] == 14
    text = bench("run", "--model", "toy-pixels", "--benchmark", "scenes15.test").stdout
    assert "recorded" in text
    assert "no ceiling" not in text, "an accuracy needs none"
    again = bench("data", "import", "scenes15", "--from", source)
    assert "already imported" in again.stderr


def test_encoding_cannot_score_labels(bench: Bench, source: Path) -> None:
    bench("data", "import", "scenes15", "--from", source)
    bench("run", "-m", "toy-pixels", "-b", "scenes15.test", "--metric", "encoding").fails(
        2, "encoding cannot score scenes15.test", "not labels"
    )
    bench("run", "-m", "toy-pixels", "-b", "toy.V4", "--metric", "classification").fails(
        2, "classification cannot score toy.V4"
    )


def test_places_is_imported_and_scored(bench: Bench, layout: Path) -> None:
    done = bench("data", "import", "places", "--from", layout.parent)  # the folder above will do
    assert done.status == 0, done
    stimuli = datasets.load_stimuli(places.DATASET, "val")
    target = datasets.load_target(places.DATASET, "val")
    assert isinstance(target, Labels)
    label_of = dict(zip(target.stimulus_ids, target.labels, strict=True))
    for line in (layout / "places365_val.txt").read_text().splitlines():
        name, label = line.split()
        assert label_of[f"val/{name}"] == label
    trained = [i for i in stimuli.stimulus_ids if i.startswith("train/")]
    assert len(trained) == 20
    assert {label_of[i] for i in trained} == {""}, "components need no labels"
    splits = next(iter(places.register_benchmarks())).splits
    assert callable(splits)
    (fold,) = splits(stimuli).folds
    assert set(fold.train) == set(trained)
    assert bench("data", "verify", "places").status == 0
    result = score_of(bench, "places.val")
    assert result["score"] > 0.6
    assert result["details"]["n_categories"] == 4


@pytest.mark.real
def test_places_in_small_from_real_scenes(bench: Bench, tmp_path: Path, real_data: Path) -> None:
    tested = [
        [p.read_bytes() for p in sorted((real_data / "scenes15" / "test" / c).glob("*.jpg"))[:6]]
        for c in ("coast", "forest", "street", "kitchen")
    ]
    trained = [
        [p.read_bytes() for p in sorted((real_data / "scenes15" / "train" / c).glob("*.jpg"))[:6]]
        for c in ("mountain", "office", "suburb", "highway")
    ]
    bench("data", "import", "places", "--from", write_places(tmp_path / "real", tested=tested, trained=trained))
    assert bench("data", "verify", "places").status == 0
    result = score_of(bench, "places.val")
    assert (result["n_stimuli"], result["status"]) == (24, "ok")


@pytest.mark.parametrize(("splits", "kind"), [(("train", "val"), "test"), (("",), "all")])
def test_a_tree_of_ones_own(bench: Bench, tmp_path: Path, splits: tuple[str, ...], kind: str) -> None:
    source = write_tree(tmp_path / "mine" / "birds", splits, n=6)
    (source / splits[-1] / "coast" / "notes.txt").write_text("not an image")
    (source / splits[-1] / "coast" / ".DS_Store").write_text("litter")
    done = bench("data", "add-tree", "birds", "--from", source)
    assert (done.status, done.stdout) == (0, f"birds: the benchmark birds.{kind} is ready\n")
    assert "left out 1 file that are no images" in done.stderr
    assert f"birds.{kind}" in bench("list", "benchmarks").stdout
    result = score_of(bench, f"birds.{kind}")
    assert result["n_stimuli"] == 18
    assert result["score"] > 0.6
    assert bench("data", "verify", "birds").stdout == "birds: whole\n"
    # Another import under the same name replaces it.
    (source / splits[-1] / "coast" / "000.jpg").write_bytes(made_up(0, 999))
    assert bench("data", "import", "birds", "--from", source).status == 0
    assert score_of(bench, f"birds.{kind}")["cached"] is False


def test_folds_of_a_tree_without_training_images_hold_every_category(bench: Bench, tmp_path: Path) -> None:
    from benchmark_core.trees import splits_of_tree, tree_dataset

    source = write_tree(tmp_path / "mine" / "birds", ("",), n=7)
    bench("data", "add-tree", "birds", "--from", source)
    folds = splits_of_tree(datasets.load_stimuli(tree_dataset("birds", ("tree",)), "tree")).folds
    tested = [i for fold in folds for i in fold.test]
    assert sorted(tested) == sorted(set(tested))
    assert len(tested) == 21
    for fold in folds:
        assert len(fold.test) in (4, 5)
        assert {i.split("/")[0] for i in fold.test} == set(CATEGORIES)
        assert not set(fold.train) & set(fold.test)


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def animate(path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), v, dtype=np.uint8)) for v in (0, 255)]
    frames[0].save(path.with_suffix(".gif"), save_all=True, append_images=frames[1:])


FIRST = "val_images/val_256/Places365_val_00000001.jpg"
TEXT = "places365_val.txt"


@pytest.mark.parametrize(
    ("status", "words", "spoil"),
    [
        (3, ("places365_val.txt is missing",), lambda f: (f / TEXT).unlink()),
        (3, ("train_images_subset is missing",), lambda f: shutil.rmtree(f / "train_images_subset")),
        (3, ("val_256 is missing",), lambda f: shutil.rmtree(f / "val_images")),
        (2, (f"{TEXT} is empty",), lambda f: (f / TEXT).write_text("")),
        (2, (f"{TEXT}, line 3", "'no_label.jpg'"), lambda f: replace_line(f / TEXT, 3, "no_label.jpg")),
        (2, ("line 2", "'a.jpg x'"), lambda f: replace_line(f / TEXT, 2, "a.jpg x")),
        (2, ("line 4", "label 365 is out of range"), lambda f: replace_line(f / TEXT, 4, "a.jpg 365")),
        (2, ("line 2", "labelled twice"), lambda f: replace_line(f / TEXT, 2, (f / TEXT).read_text().split("\n")[0])),
        (2, ("line 1", "found ''"), lambda f: replace_line(f / TEXT, 1, "")),
        (2, ("line 1", "expected a file name"), lambda f: replace_line(f / TEXT, 1, "../up.jpg 3")),
        (2, (f"{TEXT} is not UTF-8",), lambda f: (f / TEXT).write_bytes(b"\xff\xfe")),
        (2, ("lacks the image 'Places365_val_00000001.jpg'",), lambda f: (f / FIRST).unlink()),
        (2, ("also holds 'extra.jpg'",), lambda f: shutil.copy(f / FIRST, f / "val_images/val_256/extra.jpg")),
        (2, ("00000001.jpg cannot be decoded",), lambda f: truncate(f / FIRST)),
        (2, ("00000001.jpg cannot be decoded",), lambda f: (f / FIRST).write_bytes(b"")),
        (2, ("bakery-shop holds no images",), lambda f: empty(f / "train_images_subset/bakery-shop")),
        (2, ("train_images_subset holds no folders",), lambda f: empty(f / "train_images_subset")),
        (2, ("deeper is a folder",), lambda f: (f / "train_images_subset/airfield/deeper").mkdir()),
        (2, ("2 frames",), lambda f: animate(f / "train_images_subset/airfield/moving.jpg")),
        (2, ("broken link",), lambda f: (f / "train_images_subset/airfield/x.jpg").symlink_to("nowhere")),
        (2, ("broken link",), lambda f: (f / "train_images_subset/airfield/x.jpg").symlink_to("x.jpg")),
    ],
)
def test_places_that_is_not_whole_is_refused(
    bench: Bench, layout: Path, tree: Tree, status: int, words: tuple[str, ...], spoil: Callable[[Path], object]
) -> None:
    spoil(layout)
    before = tree()
    bench("data", "import", "places", "--from", layout).fails(status, *words)
    assert {k: v for k, v in tree().items() if k not in before and not k.startswith("home")} == {}
    assert not (layout.parents[1] / "home" / "data" / "places" / "val").exists()


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("words", "spoil"),
    [
        (("no test/<category>/",), lambda f: shutil.rmtree(f / "test")),
        (("no train/<category>/",), lambda f: shutil.rmtree(f / "train")),
        (("both test/ and val/",), lambda f: shutil.copytree(f / "test", f / "val")),
        (("coast holds no images",), lambda f: empty(f / "test" / "coast")),
        (("only one category, 'coast'",), lambda f: only(f, "coast")),
        (("holds no folders",), lambda f: (empty(f / "train"), empty(f / "test"), empty(f))),
        (("000.jpg cannot be decoded",), lambda f: (f / "train/street/000.jpg").write_text("text")),
        (
            ("is not UTF-8",),
            lambda f: os.rename(f / "test/coast/000.jpg", os.fsencode(f / "test/coast") + b"/\xff.jpg"),
        ),
        (("cannot be a stimulus_id",), lambda f: (f / "test/coast/000.jpg").rename(f / "test/coast/a\nb.jpg")),
        (("no agreed range",), lambda f: float_image(f / "test/coast/float.tif")),
    ],
)
def test_trees_that_are_none_are_refused(
    bench: Bench, source: Path, words: tuple[str, ...], spoil: Callable[[Path], object]
) -> None:
    spoil(source)
    bench("data", "add-tree", "birds", "--from", source).fails(2, *words)
    assert not any((source.parents[1] / "home" / "data").glob("birds/[!.]*"))


def test_an_import_that_fails_leaves_what_was_there(bench: Bench, source: Path) -> None:
    bench("data", "add-tree", "birds", "--from", source)
    before = score_of(bench, "birds.test")
    (source / "test" / "street" / "999.jpg").write_bytes(b"no image")  # the last of all
    (source / "test" / "coast" / "000.jpg").write_bytes(made_up(0, 12345))
    bench("data", "import", "birds", "--from", source).fails(2, "999.jpg cannot be decoded")
    assert bench("data", "verify", "birds").stdout == "birds: whole\n"
    after = score_of(bench, "birds.test")
    assert (after["key"], after["cached"]) == (before["key"], True)
    (source / "test" / "street" / "999.jpg").unlink()
    assert bench("data", "import", "birds", "--from", source).status == 0
    assert score_of(bench, "birds.test")["key"] != before["key"]


def only(folder: Path, category: str) -> None:
    for path in folder.glob("*/*"):
        if path.name != category:
            shutil.rmtree(path)


def float_image(path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(path)


def test_names_and_places_are_checked(bench: Bench, source: Path, part: Path) -> None:
    bench("data", "add-tree", "my birds", "--from", source).fails(2, "'my birds'", "letters, digits and _")
    bench("data", "add-tree", "../up", "--from", source).fails(2, "letters, digits and _")
    bench("data", "add-tree", "places", "--from", source).fails(2, "there is a dataset 'places' already")
    bench("data", "add-tree", "toy", "--from", source).fails(2, "toy")
    bench("data", "add-tree", "birds", "--from", source / "nowhere").fails(2, "does not exist")
    bench("data", "add-tree", "birds", "--from", source / "test/coast/000.jpg").fails(2, "is not a folder")
    bench("data", "import", "scenes15", "--from", source / "test").fails(2, "no train/<category>/")


def test_a_category_with_fewer_images_than_folds(bench: Bench, tmp_path: Path) -> None:
    few = [[made_up(label, i) for i in range(3 if label == 17 else 6)] for label in LABELS]
    bench("data", "import", "places", "--from", write_places(tmp_path / "mine" / "few", tested=few))
    done = bench("run", "-m", "toy-pixels", "-b", "places.val")
    assert done.status == 2
    assert "'17' has 3" in done.stdout + done.stderr
    assert "classification:folds=3" in done.stdout + done.stderr
    assert bench("run", "-m", "toy-pixels", "-b", "places.val", "--metric", "classification:folds=3").status == 0
    tree = write_tree(tmp_path / "mine" / "few-birds", ("",), n=4)
    bench("data", "add-tree", "birds", "--from", tree)
    done = bench("run", "-m", "toy-pixels", "-b", "birds.all")
    assert done.status == 2
    assert "'coast' has 4 images; 5 folds need 5 of each" in done.stdout + done.stderr


def test_one_label_only(bench: Bench, tmp_path: Path) -> None:
    layout = write_places(tmp_path / "mine" / "one", labels=(3,))
    bench("data", "import", "places", "--from", layout).fails(2, "only one category, '3'")


def test_training_categories_are_those_of_the_miniature(layout: Path) -> None:
    assert sorted(p.name for p in (layout / "train_images_subset").iterdir()) == sorted(TRAINING)
