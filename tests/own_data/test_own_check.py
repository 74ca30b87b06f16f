"""The report on a dataset: its numbers against what was put in, and its exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import IDS, NEUROIDS, TRIALS, Lab, picture, wide_rows, write_csv, write_wide
from PIL import Image
from said import Bench

from benchmark_core.assembly import Responses
from benchmark_core.own_data import add
from benchmark_core.own_data_check import check_files
from benchmark_core.own_data_report import examine_responses, reliabilities, suggest_split


def test_reliability_is_the_share_of_variance_that_is_no_noise() -> None:
    """Simulated: signal variance 1, noise variance 4 over 8 repetitions, so 1 / (1 + 4/8)."""
    random = np.random.Generator(np.random.Philox(1))
    trials = random.normal(size=(3000, 1, 3)) + 2 * random.normal(size=(3000, 8, 3))
    ids = tuple(f"{i:04d}" for i in range(3000))
    found = reliabilities(Responses(ids, trials, ("a", "b", "c"), "M1", "V4"))
    assert found is not None
    assert found == pytest.approx(np.full(3, 1 / 1.5), abs=0.03)
    means, noise = trials.mean(axis=1), trials.var(axis=1, ddof=1) / 8
    assert found == pytest.approx(1 - noise.mean(axis=0) / means.var(axis=0, ddof=1), abs=1e-12)


def test_counts_of_what_was_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark_core.own_data_report.BLOCK", 24 * 3)  # a neuroid at a time
    values = np.concatenate([TRIALS, TRIALS[..., :1], np.full((24, 3, 1), 7.0), np.full((24, 3, 1), np.nan)], axis=2)
    values[3] = np.nan
    names = (*NEUROIDS, "twin", "dead", "lost")
    found = examine_responses(Responses(IDS, values, names, ("A",) * 4 + ("B",) * 3, "V4"))
    assert found["repetitions"] == {"min": 1, "median": 3.0, "max": 3, "share_once": pytest.approx(5 / (23 * 6))}
    assert found["missing"]["n_stimuli_unseen"] == 1
    assert found["missing"]["n_neuroids_incomplete"] == 7
    assert found["missing"]["share"] == pytest.approx((24 + 6) / (24 * 7))
    assert found["neuroids"]["constant"] == ["dead"]
    assert found["neuroids"]["empty"] == ["lost"]
    assert found["neuroids"]["identical"] == [["u0", "twin"]]
    assert found["subjects"] == {"A": {"n_neuroids": 4, "n_stimuli": 23}, "B": {"n_neuroids": 3, "n_stimuli": 23}}
    reliability = found["reliability"]
    assert reliability["n"] == 5
    assert sum(reliability["histogram"]["counts"]) + reliability["histogram"]["below_0"] == 5
    assert reliability["min"] <= reliability["median"] <= reliability["max"] <= 1


def test_averages_have_neither_repetitions_nor_reliability() -> None:
    found = examine_responses(Responses(IDS, np.nanmean(TRIALS, axis=1), NEUROIDS, "M1", "V4"))
    assert found["repetitions"] is None
    assert found["reliability"] is None


def test_negative_reliabilities_are_counted_apart() -> None:
    trials = np.random.Generator(np.random.Philox(4)).normal(size=(24, 2, 40))
    found = examine_responses(Responses(IDS, trials, tuple(f"n{i}" for i in range(40)), "M1", "V4"))["reliability"]
    values = reliabilities(Responses(IDS, trials, tuple(f"n{i}" for i in range(40)), "M1", "V4"))
    assert values is not None
    assert found["histogram"]["below_0"] == (values < 0).sum() > 0
    assert found["share_reliable"] == pytest.approx((values >= 0.1).mean())


@pytest.fixture
def twins(lab: Lab) -> Path:
    """Return images in which two pairs are the same picture under other names and formats, and one is all grey."""
    images = lab.folder / "images"
    shutil.copytree(lab.images, images)
    for twin, of in ((20, 1), (21, 2)):
        (images / f"{IDS[twin]}.png").unlink()
        picture(of).save(images / f"{IDS[twin]}.bmp")
    Image.new("RGB", (8, 8), (90, 90, 90)).save(images / "im05.png")
    picture(50).save(images / "spare.png")
    return images


def test_leakage_by_content_is_found(lab: Lab, twins: Path) -> None:
    rows = [[*r, "test" if r[0] in ("im20", "im03", "im04") else "train"] for r in wide_rows()]
    path = write_csv(lab.folder / "a.csv", ["id", *NEUROIDS, "set"], rows)
    (report,) = check_files(lab.request(path, images=twins, split="column:set"))
    assert report["images"]["identical"] == [["im01", "im20"], ["im02", "im21"]]
    assert report["split"]["leaking"] == [["im01", "im20"]]
    (problem,) = report["problems"]
    assert "im01 = im20" in problem
    assert "--group-identical" in problem
    assert report["images"]["nearly_constant"] == ["im05"]
    assert report["ids"]["without_responses"] == ["spare.png"]
    assert report["suggested_split"] == "--split kfold:4 --group-identical"
    (again,) = check_files(lab.request(path, images=twins, ignore=("set",), group_identical=True))
    assert again["problems"] == []


def test_groups_torn_apart_by_a_fixed_split_are_a_problem(lab: Lab) -> None:
    rows = [[*r, "test" if int(r[0][2:]) < 5 else "train", int(r[0][2:]) // 2] for r in wide_rows()]
    path = write_csv(lab.folder / "a.csv", ["id", *NEUROIDS, "set", "object"], rows)
    (report,) = check_files(lab.request(path, split="column:set", groups="object"))
    assert report["split"]["torn_groups"] == ["2"]
    assert "trained on and tested on ('2')" in report["problems"][0]


def test_the_command_reports_on_files_and_ends_with_2_where_scores_would_be_wrong(
    lab: Lab, twins: Path, bench: Bench
) -> None:
    rows = [*wide_rows(), ["im99", 1.0, 2.0, 3.0, 4.0], ["img7", 1.0, 2.0, 3.0, 4.0]]
    path = write_csv(lab.folder / "a.csv", ["id", *NEUROIDS], rows)
    done = bench("data", "check", "--images", twins, "--responses", path, "--region", "V4", "--json")
    assert done.status == 2
    document = json.loads(done.out)
    assert not document["ok"]
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {p}" for p in document["problems"]]
    assert "2 of 26 stimulus ids have no image" in errors[0]
    assert "'im99', 'img7'" in errors[0]
    assert "Did you mean" not in errors[0]  # every image that is spelled alike is another stimulus's
    (report,) = document["benchmarks"]
    assert report["ids"]["without_image"] == ["im99", "img7"]
    text = bench("data", "check", "--images", twins, "--responses", path, "--region", "V4")
    assert text.status == 2
    assert "24 stimuli with image and responses; 2 without image ('im99', 'img7')" in text.out
    assert f"{len(errors)} problem(s)" in text.out


def test_the_command_is_content_with_a_sound_dataset(lab: Lab, bench: Bench) -> None:
    add("lab", lab.request(write_wide(lab.folder / "a.csv"), subjects=("M1",)))
    for name in ("lab", "lab.V4"):
        done = bench("data", "check", name)
        assert done.status == 0
        assert done.out.startswith("lab.V4\n")
        assert done.out.endswith("fine\n")
        assert "4 (u0, u1, u2 ... u3); M1: 4 neuroids, 24 stimuli" in done.out
        assert "1 to 3, median 3" in done.out
        assert "5 folds, 19 to 20 train, 4 to 5 test" in done.out
        assert "24 of 8 x 8" in done.out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 2, "name a dataset"),
        (("simulate",), 2, "no dataset or benchmark is named 'simulate'. Did you mean simulated"),
        (("lab", "--images", "x"), 2, "not both"),
        (("--images", "x"), 2, "--responses FILE"),
        (("cowley2023",), 3, "cowley2023/210325 is not on this machine"),
    ],
)
def test_what_cannot_be_checked(bench: Bench, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = bench("data", "check", *arguments)
    assert done.status == status
    assert words in done.err.splitlines()[-1]


def test_folds_too_small_for_a_correlation_are_remarked_on(lab: Lab) -> None:
    path = write_csv(lab.folder / "a.csv", ["id", "x"], [[i, k] for k, i in enumerate(IDS[:12])])
    (report,) = check_files(lab.request(path))
    assert (
        "a fold tests 2 stimuli, too few for a correlation (3 at least); consider --split kfold:2" in report["remarks"]
    )


def test_suggestions() -> None:
    many = [f"image{i}" for i in range(100)]
    assert suggest_split(many, [], False) == "--split kfold:5"
    assert suggest_split(many[:12], [], False) == "--split kfold:2"
    crops = [f"{name}_{i}.png" for name in ("bark", "sand", "sea") for i in range(20)]
    assert "3 groups ('bark', 'sand', 'sea')" in suggest_split(crops, [], False)
    assert suggest_split(crops, [["bark_0.png", "sand_0.png"]], True) == "--split kfold:5"


def test_labels_and_other_targets_are_reported_on_as_far_as_they_go(lab: Lab, bench: Bench, tmp_path: Path) -> None:
    plugin: dict[str, Any] = {"images": str(lab.images), "ids": list(IDS)}
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "odd.py").write_text(
        f"""
from pathlib import Path
from types import SimpleNamespace
from benchmark_core import BenchmarkSpec, KFold, StimulusSet, hookimpl
IDS = {plugin["ids"]!r}
def stimuli():
    return StimulusSet.from_files({{i: Path({plugin["images"]!r}) / f"{{i}}.png" for i in IDS}})
@hookimpl
def register_benchmarks():
    target = SimpleNamespace(hash="x", stimulus_ids=tuple(IDS[1:]))
    return [BenchmarkSpec(name="odd.labels", version=1, stimuli=stimuli, target=lambda: target, splits=KFold(k=40), target_kind="labels")]
"""
    )
    done = bench("data", "check", "odd.labels", "--plugins", tmp_path / "plugins", "--json")
    assert done.status == 2
    (report,) = json.loads(done.out)["benchmarks"]
    assert report["responses"] is None
    assert "1 stimulus ids have an image and no responses: 'im00'" in report["problems"][0]
    assert "24 stimuli cannot be split into 40 folds" in report["problems"][1]
