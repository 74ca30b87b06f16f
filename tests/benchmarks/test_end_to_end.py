"""From a recording on disk to scores, part by part: MajajHong's shapes, made up; and what they say of its full size.

    .venv/bin/python -m pytest tests/benchmarks/test_end_to_end.py -o addopts='' -s

Everything marked slow takes 10 minutes on two idle cores. What is measured and what is extrapolated are kept apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniatures import majajhong as mini
from synthetic_majajhong import N_IMAGES, PARTS, Place, by_part, imported, size_of

SOME = 320
FILTERS, ALL_FILTERS, PER_FILTER = 300, 30_000, 36
BENCHMARKS = "majajhong.*-ownsplit"
STEM = 5000 * 11 * 11  # numbers in an image's output of layer 4

Figures = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """Return what earlier tests of this file measured."""
    return {}


def run(benchmark: Any, place: Place, model: str) -> tuple[Figures, Mapping[str, Any]]:
    """Score a model in both regions, from nothing; return its parts and its profile."""
    found: list[Any] = []
    benchmark.pedantic(
        lambda: found.append(place.profiled_run("--model", model, "--benchmark", BENCHMARKS)), rounds=1, iterations=1
    )
    ((results, profile),) = found
    assert [(r["status"], r["n_neuroids"]) for r in results] == [("ok", 168), ("ok", 88)]
    assert all(r["ceiling"] > 0.9 for r in results)  # 46 repetitions of neuroids with as much signal as noise
    parts = by_part(profile)
    total = sum(part["wall_s"] for part in parts.values())
    assert total == pytest.approx(profile["total"]["wall_s"], rel=1e-6)
    benchmark.extra_info["parts"] = parts
    benchmark.extra_info["rows"] = [
        {"what": f"{model}, both regions: {name}", "ours_s": round(part["wall_s"], 2), "device": "cpu"}
        | {"size": f"{results[0]['n_stimuli']} test images"}
        | dict.fromkeys(("baseline", "baseline_s", "ratio", "limit", "share_of_limit", "threads"))
        for name, part in parts.items()
    ]
    return parts, profile


def test_the_recording_has_its_true_dimensions() -> None:
    """The published numbers: 3200 images of 64 objects, 148 480 presentations, 46 repetitions on average."""
    assert size_of(N_IMAGES) == mini.N_FULL
    shown = list(mini.full_size_presentations(size_of(N_IMAGES)))
    assert (len(shown), len({i for i, *_ in shown})) == (148_480, N_IMAGES)
    assert len({i for i, *_ in mini.full_size_presentations(size_of(SOME))}) == SOME
    for wrong in (0, 4, 321):
        with pytest.raises(ValueError, match="cannot be shared out"):
            size_of(wrong)


def test_pixels_of_some_images(benchmark: Any, tmp_path: Path) -> None:
    """A small one, for ``make bench``."""
    run(benchmark, imported(tmp_path, SOME), "pixels")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_cheap_model_of_all_images(benchmark: Any, tmp_path: Path, known: dict[str, Any]) -> None:
    """Decoding, kernel and metric at full size; this model has as many features (10 800) as 300 filters."""
    known["all"] = run(benchmark, imported(tmp_path), "fully-connected")
    print(json.dumps(known["all"][0], indent=1))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_last_layer(benchmark: Any, tmp_path: Path, known: dict[str, Any]) -> None:
    """One block of the last layer as a run generates it: 1024 filters, drawn once, for one chunk of stems."""
    from benchmark_core.heads import STEM as NAME
    from benchmark_core.heads import HeadBlocks
    from benchmark_core.profiling import recording
    from benchmark_core.registry import Registry
    from benchmark_core.resolution import import_target
    from benchmark_core.spool import Spool

    model = Registry(installed=False).model(f"expansion5l:filters={ALL_FILTERS}")
    wide = import_target(model.spec.width.wide)(**model.parameters)
    spool = Spool.create(tmp_path / "spool", 32, [NAME], 32, 16)
    stems = np.abs(np.random.default_rng(0).standard_normal((32, STEM), dtype=np.float32))
    spool.write(0, {NAME: stems}, 0.0)
    at_once = 1024
    blocks = HeadBlocks(spool, wide, ALL_FILTERS)
    drawing = time.process_time()
    wide.head(torch.zeros(1, STEM), 0, at_once)
    drawing = time.process_time() - drawing  # and one image, which is little beside it

    def generate() -> Any:
        with recording() as profile, closing(blocks.blocks("layer5")) as made:
            first, block = next(made)
            assert first == 0
            assert np.isfinite(block).all()
        return profile

    profile = benchmark.pedantic(generate, rounds=1)
    spent = profile.by_stage()
    known["head"] = {
        "draw_s_per_filter": drawing / at_once,
        "s_per_image_and_filter": spent["head"].cpu_s / 32 / at_once,
        "read_bytes_per_s": stems.nbytes / spent["spool read"].cpu_s,
    }
    benchmark.extra_info |= known["head"]
    print(json.dumps(known["head"], indent=1))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_expansion_model_of_some_images(benchmark: Any, tmp_path: Path, known: dict[str, Any]) -> None:
    """``expansion5l`` at 300 filters on a tenth of the images, and what that and the tests before it say of all of it."""
    parts, profile = run(benchmark, imported(tmp_path, SOME), f"expansion5l:filters={FILTERS}")
    print(json.dumps(parts, indent=1))
    if not {"all", "head"} <= known.keys():
        pytest.skip("no extrapolation without the tests before this one")
    figures = extrapolation(profile["stages"], known["all"][1]["stages"], known["head"])
    benchmark.extra_info["extrapolated_cpu_s"] = figures
    print(json.dumps(figures, indent=1))


def extrapolation(some: Mapping[str, Any], whole: Mapping[str, Any], head: Mapping[str, float]) -> Figures:
    """Return seconds of processor time of each part at full size, EXTRAPOLATED; on cores of one's own the clock shows less.

    Processor time, because the clock tells more of other work on the machine.

    Parameters
    ----------
    some
        Stages of 300 filters on :data:`SOME` images: every image is decoded, forwarded and spooled like any other, so these
        stages grow with their number.
    whole
        Stages of a cheap model with as many features on all images: kernel and metric depend on the numbers of features and
        stimuli only, and a kernel's products grow with the number of features.
    head
        Rates of the last layer by blocks: filters are drawn once, blocks of 1024 made for all images.
    """
    images = N_IMAGES / SOME
    few = {name: spent["cpu_s"] for name, spent in some.items()}
    cheap = {name: spent["cpu_s"] for name, spent in whole.items()}
    metric = sum(cheap.get(name, 0.0) for name in PARTS["metric"])
    rest = sum(few.get(name, 0.0) for name in ("plan", "imports", "record", "other"))
    narrow = {
        "decoding": images * few["decoding"],
        "extraction": few["weights"] + images * (few["forward"] + few["spool write"]),
        "kernel": images * few["spool read"] + cheap["kernel"] + cheap["store write"],
        "metric": metric,
        "other": rest,
    }
    stems = 4.0 * STEM * N_IMAGES
    wide = narrow | {
        # 56 times the spool of 300 filters, and trunk as there.
        "extraction": narrow["extraction"] + images * few["spool write"] * (STEM / (FILTERS * PER_FILTER) - 1),
        "kernel": ALL_FILTERS / FILTERS * cheap["kernel"]
        + ALL_FILTERS * (head["draw_s_per_filter"] + N_IMAGES * head["s_per_image_and_filter"])
        + stems * -(-ALL_FILTERS // 1024) / head["read_bytes_per_s"],
    }
    figures = {f"{FILTERS} filters": narrow, f"{ALL_FILTERS} filters": wide}
    return {name: {**parts, "total": sum(parts.values())} for name, parts in figures.items()}
