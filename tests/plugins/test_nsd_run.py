"""NSD from import to score: subjects with stimuli of their own, one forward pass of the shared ones, one score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures.nsd import World
from miniatures.nsd_plugin import FORWARDED, WORLD

from benchmark_core import dataset_checks, run
from benchmark_core.cells import cell_key, make_plan
from benchmark_core.errors import InputError
from benchmark_core.pipeline import Numerics
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from benchmark_core.runner import Runner
from benchmark_core.specs import BenchmarkSpec
from benchmark_core.store import Store, read_arrays
from plugins.benchmarks import nsd
from plugins.benchmarks._nsd_import import import_published, import_release
from plugins.benchmarks.nsd import RELEASE


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a place where both layouts are imported."""
    folder = tmp_path_factory.mktemp("nsd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        import_release(WORLD.write_release(folder / "release"), lambda line: None, WORLD.scanning)
        import_published(WORLD.write_published(folder / "published", ceilings=True), lambda line: None)
        yield folder


@pytest.fixture
def registry() -> Registry:
    return Registry(built_in=False, installed=False, modules=["miniatures.nsd_plugin", "plugins.metrics.encoding"])


def score(
    registry: Registry,
    folder: Path,
    models: list[str],
    benchmarks: list[str],
    metric: str | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    FORWARDED.clear()
    cells, _ = make_plan(registry, models, benchmarks, metric)
    runner = Runner(registry, Numerics("cpu", "numpy", batch_size=8), folder / "records", **options)
    return list(runner.run(cells))


N_SHARED, N_OWN = 17, 23 + 23 + 21
"""Images that all three subjects saw, and the others of each (one of the others is common to two subjects)."""


def test_shared_images_are_forwarded_once(world: Path, registry: Registry, tmp_path: Path) -> None:
    (result,) = score(registry, tmp_path, ["net"], ["nsd.early-release"])
    assert result["status"] == "ok", result["error"]
    assert sum(FORWARDED) == N_SHARED + N_OWN
    assert set(result["subjects"]) == set(WORLD.subjects)
    assert result["n_stimuli"] == N_SHARED
    assert result["n_neuroids"] == 3 * (WORLD.atlas == 1).sum()
    assert result["n_features"] == 60
    spools = world / "cache" / "spools"
    assert not spools.exists() or not list(spools.iterdir())
    (again,) = score(registry, tmp_path, ["net"], ["nsd.early-release"])
    assert again["cached"]
    (ventral,) = score(registry, tmp_path, ["net"], ["nsd.ventral-release"])  # the same images
    assert ventral["status"] == "ok"
    assert FORWARDED == []
    json.dumps(result, allow_nan=False)


def test_the_score_is_the_mean_of_subjects_with_common_resamples(
    world: Path, registry: Registry, tmp_path: Path
) -> None:
    (result,) = score(registry, tmp_path, ["net"], ["nsd.early-release"])
    (alone,) = score(registry, tmp_path, ["net"], ["nsd.one"])
    for name in ("score", "r_neuroid", "r_pattern", "ceiling"):
        of_subjects = [values[name] for values in result["subjects"].values()]
        assert result[name] == pytest.approx(np.mean(of_subjects), rel=1e-12)
    assert result["ceiling"] is not None
    ours, theirs = result["subjects"]["subj02"], alone["subjects"]["subj02"]
    for name in ("score", "ci_low", "r_neuroid", "r_pattern", "ceiling", "alpha"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6)  # rows of the kernel lie in another order
    assert "r" not in ours  # thousands of voxels: kept with the predictions
    kept = read_arrays(Store(world / "cache").predictions_path(result["key"]))
    assert kept is not None
    np.testing.assert_allclose(kept[0]["subj02/r"], np.array(theirs["r"], dtype=float), rtol=1e-6)
    ids = kept[1]["stimulus_ids"]["subj02"]
    assert [ids[i] for i in kept[0]["subj02/stimulus"]] == [f"image{n:05d}" for n in WORLD.shared]
    # Errors of subjects that were tested on the same images are not independent.
    errors = [values["standard_error"] for values in result["subjects"].values()]
    assert result["details"]["standard_error"] <= np.mean(errors) + 1e-12


def test_kernels_have_the_key_and_the_numbers_of_the_subjects_own_stimulus_set(
    world: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (joined,) = score(registry, tmp_path, ["net:width=50"], ["nsd.early-release"])
    origins = joined["provenance"]["representations"][0]["subjects"]
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "other"))
    (alone,) = score(registry, tmp_path, ["net:width=50"], ["nsd.one"])
    key = alone["provenance"]["representations"][0]["layers"]["output"]["key"]
    assert origins["subj02"]["output"]["key"] == key
    assert len({origins[s]["output"]["key"] for s in WORLD.subjects}) == 3
    runner = Runner(registry, Numerics("cpu", "numpy"), tmp_path)
    backend = runner.pipeline().numerics.array_backend()
    one, other = (
        Representation.load(Store(folder).kernel_path(key), backend) for folder in (world / "cache", tmp_path / "other")
    )
    assert one is not None
    assert other is not None
    assert one[0].stimulus_ids == other[0].stimulus_ids == nsd.stimuli(RELEASE, "subj02").stimulus_ids
    # Batches are cut at other places, and float32 products depend on that.
    scale = float(np.abs(other[0].gram()).max())
    np.testing.assert_allclose(one[0].gram(), other[0].gram(), rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(one[0].row_sums, other[0].row_sums, rtol=1e-5)


def test_widths_share_the_pass_for_every_subject(world: Path, registry: Registry, tmp_path: Path) -> None:
    results = score(registry, tmp_path, ["wide:width=5", "wide:width=40", "wide"], ["nsd.early-release"])
    assert [r["status"] for r in results] == ["ok"] * 3, [r["error"] for r in results]
    assert sum(FORWARDED) == N_SHARED + N_OWN
    (plain,) = score(registry, tmp_path, ["net:width=40"], ["nsd.early-release"])
    assert results[1]["score"] == pytest.approx(plain["score"], rel=1e-6)


def test_a_layer_generated_from_its_input_shares_it_too(world: Path, registry: Registry, tmp_path: Path) -> None:
    results = score(registry, tmp_path, ["halves:width=40", "halves:width=50"], ["nsd.early-release"])
    assert [r["status"] for r in results] == ["ok"] * 2, [r["error"] for r in results]
    assert sum(FORWARDED) == N_SHARED + N_OWN
    (plain,) = score(registry, tmp_path, ["net:width=50"], ["nsd.early-release"])
    assert results[1]["score"] == pytest.approx(plain["score"], rel=1e-6)
    assert not list((world / "cache" / "spools").iterdir())


def test_a_run_that_was_stopped_goes_on_with_the_next_subject(
    world: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Runner._score_part

    def stop(self: Runner, cell: Any, name: str, *rest: Any) -> Any:
        if name == "subj03":
            raise KeyboardInterrupt
        return compute(self, cell, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "_score_part", stop)
        with pytest.raises(KeyboardInterrupt):
            score(registry, tmp_path, ["net:width=30"], ["nsd.early-release"])
    spools = world / "cache" / "spools"
    assert len(list(spools.iterdir())) == 1  # that of the shared images
    (result,) = score(registry, tmp_path, ["net:width=30"], ["nsd.early-release"])
    assert result["status"] == "ok"
    assert sum(FORWARDED) == 21  # the third subject's own images
    assert list(spools.iterdir()) == []


def test_keys_need_manifests_alone_and_see_every_subject(
    world: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,), _ = make_plan(registry, ["net"], ["nsd.early-release"])
    (shuffled,), _ = make_plan(registry, ["net"], ["nsd.early-release-shuffled"])
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("benchmark_core.datasets.load_dataset", lambda *a: pytest.fail("opened a data file"))
        keys = {cell_key(c, registry, "exact", store) for c in (cell, shuffled)}
        assert len(keys) == 2
        patch.setattr(nsd, "responses_hash", lambda *a: pytest.fail("not this one"))
    subjects = dict(cell.benchmark.subjects)
    del subjects["subj03"]
    object.__setattr__(cell.benchmark, "subjects", subjects)
    assert cell_key(cell, registry, "exact", store) not in keys


def test_shuffled_pixels(world: Path, registry: Registry, tmp_path: Path) -> None:
    (result,) = score(registry, tmp_path, ["net"], ["nsd.early-release-shuffled"])
    assert result["status"] == "ok", result["error"]
    assert sum(FORWARDED) == N_SHARED + N_OWN


def test_averages_have_no_ceiling_and_report_that_of_the_files(world: Path, registry: Registry, tmp_path: Path) -> None:
    (result,) = score(registry, tmp_path, ["net"], ["nsd.early"])
    assert result["status"] == "ok", result["error"]
    assert result["ceiling"] is None
    given = [np.nanmean(nsd.responses(nsd.PUBLISHED, subject, "early").reliability) for subject in WORLD.subjects]
    assert result["details"]["ceiling_given"] == pytest.approx(np.mean(given), rel=1e-9)
    (release,) = score(registry, tmp_path, ["net"], ["nsd.early-release"])
    assert result["r_neuroid"] == pytest.approx(
        release["r_neuroid"], abs=1e-4
    )  # the same averages, to single precision
    assert result["score"] != pytest.approx(release["score"], abs=1e-3)  # one is divided by reliabilities


@pytest.mark.real
def test_photographs_from_import_to_score(
    home: Path, tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real photographs with simulated betas, the built-in benchmark, all eight subjects, through the public function."""
    photographs = sorted((real_data / "scenes15" / "train").glob("*/*.jpg"))
    real = World(sessions=(3, 3, 3, 3, 3, 3, 3, 2), n_own=22, n_shared=18, size=64, photographs=photographs)
    assert real.n_images == 194 <= len(photographs)
    import_release(real.write_release(tmp_path / "release"), lambda line: None, real.scanning)
    assert dataset_checks.verify(RELEASE) == []
    (result,) = run("pixels", "nsd.ventral-release")
    assert result["status"] == "ok", result["error"]
    assert len(result["subjects"]) == 8
    # Betas follow the brightness of quadrants, which a linear map of pixels finds.
    assert result["score"] > 0.3
    assert result["ci_low"] < result["score"] < result["ci_high"]
    assert 0 < result["ceiling"] < 1
    (shuffled,) = run("pixels", "nsd.ventral-release-shuffled")
    assert shuffled["score"] == pytest.approx(result["score"], abs=0.25)  # pixels in another order, and at another size


def test_a_metric_that_knows_nothing_of_subjects(world: Path, registry: Registry, tmp_path: Path) -> None:
    (result,) = score(registry, tmp_path, ["net"], ["nsd.early-release"], metric="count")
    assert result["score"] == np.mean([40, 40, 38])
    assert result["subjects"]["subj03"] == {"score": 38.0}
    assert (result["n_stimuli"], result["n_neuroids"]) == (N_SHARED, 3 * (WORLD.atlas == 1).sum())
    assert result["ci_low"] is None
    assert "no interval: count does not combine subjects who saw different stimuli" in result["warnings"]
    assert "subj02: counted" in result["warnings"]


def test_a_subject_that_was_not_imported(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (result,) = score(registry, tmp_path, ["net"], ["nsd.early-release"])
    assert result["status"] == "missing-data"
    assert "nsd-release/subj01 is not on this machine" in result["error"]
    assert "bench data import nsd-release --from DIR" in result["error"]


def test_a_benchmark_has_stimuli_or_subjects() -> None:
    one = nsd.benchmark(RELEASE, "early")
    with pytest.raises(InputError, match="saw different stimuli"):
        one.stimuli()
    with pytest.raises(InputError, match="has no stimuli"):
        BenchmarkSpec(name="a.b", version=1)
    part = one.subjects["subj01"]
    with pytest.raises(InputError, match="has subjects, each with its own stimuli"):
        BenchmarkSpec(name="a.b", version=1, subjects=one.subjects, stimuli=part.stimuli)


def test_the_built_in_benchmarks() -> None:
    found = {spec.name: spec for spec in nsd.register_benchmarks()}
    regions, variants = ("early", "midventral", "ventral"), ("", "-shuffled", "-release", "-release-shuffled")
    assert set(found) == {f"nsd.{region}{variant}" for region in regions for variant in variants}
    assert all(len(spec.subjects) == 8 for spec in found.values())
