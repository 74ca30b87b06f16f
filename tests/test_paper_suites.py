"""The suites that stand for the paper's scripts: which replaces which, published scores are cells, and each of them runs.

They run on a dozen of the simulated stimuli, with the widths that the suites themselves have for simulated data and, here,
transformers of two narrow blocks and a first layer of two filters; what is slow of the networks has tests of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark_core.published import ANALYSES, read_published
from benchmark_core.registry import Registry
from benchmark_core.specs import BenchmarkSpec
from benchmark_core.splits import KFold
from benchmark_core.suite_files import load_suite, suite_paths
from benchmark_core.suites import SuiteCell, plan_suite, run_suite, suite_cells
from benchmark_core.variants import demonstration

PUBLISHED = Path(__file__).resolve().parent.parent / "leaderboard" / "published.csv"
REPLACED = {
    "main analyses: engineered models": "paper.main",
    "main analyses: sota": "paper.sota",
    "main analyses: pca": "paper.pca",
    "main analyses: local connectivity": "paper.local-connectivity",
    "main analyses: classification": "paper.classification",
    "supplementary: ablations": "paper.ablations",
    "supplementary: init type": "paper.init",
    "supplementary: non linearity": "paper.nonlinearity",
    "supplementary: sota": "paper.sota",
    "supplementary: variance partitioning": "paper.variance-partitioning",
    "supplementary: noise ceilings": "paper.noise-ceiling",
    "supplementary: percent variance explained": "paper.variance-explained",
    "supplementary: RSA": "paper.rsa",
}
"""The commands of the paper's code, and the suite that does what each does."""
OF_ANALYSIS = {
    "main": "paper.main",
    "init": "paper.init",
    "nonlinearity": "paper.nonlinearity",
    "ablation": "paper.ablations",
    "pca": "paper.pca",
    "shuffled-pixels": "paper.local-connectivity",
}
REGISTRY = Registry(installed=False)


def test_every_command_of_the_paper_has_its_suite() -> None:
    suites = [load_suite(name) for name in suite_paths() if name.startswith("paper.")]
    assert {line: suite.name for suite in suites for line in suite.replaces} == REPLACED
    assert {suite.name for suite in suites} == set(REPLACED.values())


@pytest.mark.parametrize("name", sorted(set(REPLACED.values())))
def test_every_suite_is_for_the_papers_datasets_and_for_those_at_hand(name: str) -> None:
    suite = load_suite(name)
    if name == "paper.classification":
        assert suite.dataset_names == ("places", "scenes15")
        assert set(suite.without) == {"majajhong", "nsd", "cowley2023", "simulated"}
    else:
        assert set(suite.dataset_names) - {"kriegeskorte92"} == {"majajhong", "nsd", "cowley2023", "simulated"}
    assert suite.description
    for dataset in suite.dataset_names:
        notes: list[str] = []
        cells = suite_cells(suite, dataset, registry=REGISTRY, note=notes.append)
        assert {cell.benchmark.partition(".")[0] for cell in cells} == {dataset}
        assert notes == []
        series = [(c.group, tuple(c.axes.items()), c.models, c.benchmark, c.metric, c.layer) for c in cells]
        assert len(set(series)) == len(series)


def published() -> list[Any]:
    return list(read_published(PUBLISHED, lambda text: REGISTRY.model(text).identifier))


@pytest.mark.parametrize("analysis", ANALYSES)
def test_every_published_score_is_a_cell_of_its_suite(analysis: str) -> None:
    scores = [score for score in published() if score.analysis == analysis]
    assert scores
    cells = {
        (cell.models, cell.benchmark, cell.metric, cell.layer)
        for dataset in ("majajhong", "nsd")
        for cell in suite_cells(OF_ANALYSIS[analysis], dataset, registry=REGISTRY)
    }
    absent = [s for s in scores if ((s.model,), s.benchmark, s.metric, "auto") not in cells]
    assert absent == []


def test_the_main_suite_is_the_published_table_and_nothing_else() -> None:
    scores = {(s.model, s.benchmark, s.metric) for s in published() if s.analysis == "main"}
    cells = [c for d in ("majajhong", "nsd") for c in suite_cells("paper.main", d, registry=REGISTRY)]
    assert {(c.models[0], c.benchmark, c.metric) for c in cells} == scores


def test_recorded_scores_of_the_leaderboard_are_cells_of_suites() -> None:
    """Suites for the recordings at hand ask for what the leaderboard has, by the same names."""
    cells = {
        (cell.models, cell.benchmark, cell.metric)
        for name in set(REPLACED.values())
        for dataset in ("cowley2023", "kriegeskorte92", "scenes15")
        if dataset in load_suite(name).dataset_names
        for cell in suite_cells(name, dataset, registry=REGISTRY)
    }
    widths = [f"expansion5l:filters={n}" for n in (3, 30, 300, 30000)] + ["expansion5l"]
    assert {((m,), "cowley2023.V4", "encoding") for m in [*widths, "efficientnet-lite0", "pixels"]} <= cells
    assert (("efficientnet-lite0", "expansion5l:filters=300"), "cowley2023.V4", "variance-partitioning") in cells
    assert (("expansion5l-random:filters=300",), "cowley2023.V4-demo", "encoding") in cells
    assert ((), "cowley2023.V4", "noise-ceiling") in cells
    assert (("pixels",), "kriegeskorte92.hIT", "rsa") in cells
    assert (("expansion5l:filters=30",), "scenes15.test", "classification") in cells


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Return a registry whose simulated benchmarks have 12 stimuli, in a home of its own; narrow networks, offline."""
    from plugins.models._filter_banks import BANKS, curvature_bank

    folder = tmp_path_factory.mktemp("suites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        patch.setenv("BENCH_OFFLINE", "1")
        patch.setenv("TORCH_HOME", str(folder / "torch"))  # no weights of this machine's caches
        patch.setenv("HF_HOME", str(folder / "huggingface"))
        patch.delenv("HF_HUB_CACHE", raising=False)
        patch.setitem(BANKS, "curvature", lambda: curvature_bank()[:2])
        patch.setattr("plugins.models._vision_transformer_networks.TOKEN_WIDTH", 48)
        patch.setattr("plugins.models._vision_transformer_networks.BLOCKS_READ", 2)
        patch.setattr("plugins.models._vision_transformer_networks.ARCHITECTURE", "vit_tiny_patch16_224")
        registry = Registry(installed=False)
        for name in ("simulated.V4", "simulated.V4-shuffled"):
            whole = registry.benchmark(name)
            few = replace(demonstration(whole, 12), name=name, splits=KFold(k=3, seed=0))
            registry.benchmarks.by_name[name] = [few]
        yield registry


NO_WEIGHTS = {"alexnet-trained", "vit-trained", "resnet50-barlowtwins"}


@pytest.mark.parametrize("name", sorted(set(REPLACED.values()) - {"paper.classification"}))
def test_every_suite_runs_on_simulated_data(name: str, small: Registry, tmp_path: Path) -> None:
    cells = plan_suite(suite_cells(name, "simulated", registry=small))
    results = run_suite(name, "simulated", registry=small, records=tmp_path / "records", device="cpu")
    assert [(tuple(r["models"]), r["benchmark"], r["metric"]) for r in results] == [
        (tuple(m.identifier for m in cell.models), cell.benchmark.name, cell.metric.identifier) for cell in cells
    ]
    for result in results:
        missing = bool(NO_WEIGHTS.intersection(result["models"]))
        assert result["status"] == ("missing-data" if missing else "ok"), result["error"]
        assert missing or np.isfinite(result["score"])
    assert len(list((tmp_path / "records").glob("*.json"))) == len(cells)


def test_the_suite_of_classification_runs_on_scenes(small: Registry, tmp_path: Path) -> None:
    """On a few photographs of three made-up categories in either half, at reduced width."""
    random = np.random.Generator(np.random.Philox(0))
    for half, images in (("train", 2), ("test", 5)):
        for category in range(3):
            folder = tmp_path / "scenes" / half / f"scene{category}"
            folder.mkdir(parents=True)
            for number in range(images):
                tone = np.clip(random.normal(80 * category, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(tone).resize((64, 64)).save(folder / f"{number}.png")
    from plugins.benchmarks.scenes15 import import_folder

    import_folder(tmp_path / "scenes", lambda line: None)
    suite = load_suite("paper.classification")
    cells = suite_cells(suite, "scenes15", registry=small)
    assert {cell.metric for cell in cells} == {"classification"}
    reduced = tmp_path / "reduced.toml"
    reduced.write_text(
        suite.path.read_text(encoding="utf-8").replace(
            "filters = [3, 30, 300, 3000]", "filters = [3, 30], filters_2 = 4, filters_3 = 4, filters_4 = 4"
        ),
        encoding="utf-8",
    )
    results = run_suite(reduced, "scenes15", registry=small, records=tmp_path / "records", device="cpu")
    states = {result["models"][0]: result["status"] for result in results}
    assert states.pop("alexnet-trained") == "missing-data"
    assert set(states.values()) == {"ok"}
    assert len(states) == 4


def test_widths_of_a_suite_share_one_forward_pass(small: Registry, tmp_path: Path) -> None:
    """Of a draw that nothing else has made."""
    results = run_suite("paper.pca", "simulated", registry=small, seeds=[7], records=tmp_path / "records", device="cpu")
    layers = {
        r["models"][0]: r["provenance"]["representations"][0]["layers"]["layer5"]
        for r in results
        if r["models"][0].startswith("expansion5l")
    }
    widths = [f"expansion5l:filters={n},filters_2=16,filters_3=16,filters_4=16,seed=7" for n in (3, 30, 300)]
    assert sorted(layers) == sorted(widths)
    assert {tuple(sorted(layer["shared_widths"])) for layer in layers.values()} == {tuple(sorted(widths))}
    assert len({layer["extraction_seconds"] for layer in layers.values()}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(REPLACED.values()) - {"paper.classification"}))
def test_every_suite_runs_on_all_simulated_stimuli(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    results = run_suite(name, "simulated", registry=Registry(installed=False), device="cpu")
    assert {r["status"] for r in results if not NO_WEIGHTS.intersection(r["models"])} == {"ok"}


def a_cell(name: str, dataset: str, **wanted: Any) -> SuiteCell:
    cells = suite_cells(name, dataset, registry=REGISTRY)
    return next(c for c in cells if all(getattr(c, key) == value for key, value in wanted.items()))


def test_cells_know_where_they_stand() -> None:
    cell = a_cell("paper.pca", "majajhong", models=("expansion5l:filters=300",))
    assert (cell.group, dict(cell.axes), cell.width) == ("expansion5l", {"filters": 300, "components": 1}, 300)
    assert cell.parameters["nonlinearity"] == "relu"
    trained = a_cell("paper.main", "nsd", models=("alexnet-trained",))
    assert (trained.reference, trained.width, trained.seed, dict(trained.axes)) == (True, None, None, {})
    pair = a_cell("paper.variance-partitioning", "majajhong")
    assert pair.models == ("expansion5l:filters=30000", "alexnet-trained")
    assert (pair.layer, pair.width, dict(pair.parameters)) == ("layer5 + features.12", None, {})
    local = a_cell("paper.local-connectivity", "nsd", benchmark="nsd.ventral-shuffled")
    assert local.group == "dispersed"
    assert isinstance(local.cell.benchmark, BenchmarkSpec)
