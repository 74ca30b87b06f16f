"""More stimuli than a kernel may be held for: layers become components of the training stimuli, and scores stay."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from miniatures.places import made_up

from benchmark_core import Width, randomised_pca, run
from benchmark_core.pipeline import Pipeline
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation
from benchmark_core.trees import add_tree

PLUGIN = """
from benchmark_core import ModelSpec, Parameter, Preprocessing, Width, hookimpl


class Net:
    # Features of unit u: pixels of the image times weights that only u determines.
    features_per_unit = 3

    def __init__(self, units):
        self.units = units

    def stem(self, images):
        return images.flatten(1)

    def head(self, stem, first, last):
        import torch

        columns = []
        for unit in range(first, last):
            generator = torch.Generator().manual_seed(unit)
            columns.append(stem @ torch.randn(stem.shape[1], 3, generator=generator) / 8)
        return torch.relu(torch.cat(columns, dim=1))

    def features(self, images, layers):
        return {layer: self.head(self.stem(images), 0, self.units) for layer in layers}

    def to(self, device):
        return self


@hookimpl
def register_models():
    small = Preprocessing(size=(8, 8), colour="grey", mean=(0.5,), std=(0.25,))
    units = Parameter("units", "int", 4, minimum=1, maximum=100)
    width = Width(parameter="units", layer="output", wide=Net, is_wide=lambda units: units > 20)
    return [ModelSpec(name="net", version=1, load=Net, parameters=(units,), preprocessing=small, width=width)]
"""


@pytest.fixture
def plugins(tmp_path: Path, home: Path) -> Path:
    """Write the model, and a tree of 12 training and 15 test images."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "net.py").write_text(PLUGIN)
    for split, n in (("train", 4), ("test", 5)):
        for label, category in enumerate(("coast", "forest", "street")):
            (tmp_path / "tree" / split / category).mkdir(parents=True)
            for i in range(n):
                (tmp_path / "tree" / split / category / f"{i}.jpg").write_bytes(made_up(label, 50 * n + i))
    add_tree("birds", tmp_path / "tree")
    return folder


MODELS = ("net:units=2", "net:units=7", "net:units=30")


def scores(plugins: Path, models: tuple[str, ...] = MODELS, **options: Any) -> dict[str, dict[str, Any]]:
    found = run(models, "birds.test", plugins=[plugins], **options)
    assert [r["error"] for r in found] == [None] * len(models)
    return {r["model"]: r for r in found}


def stored(tmp_path: Path) -> set[Path]:
    return set((tmp_path / "cache" / "kernels").rglob("*.arrays"))


def test_scores_are_those_of_the_kernel(plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = scores(plugins, records=tmp_path / "kernels")
    before = stored(tmp_path)
    monkeypatch.setattr(randomised_pca, "LARGEST_KERNEL", 20)
    components = scores(plugins, records=tmp_path / "components")
    new = stored(tmp_path) - before
    assert len(new) == 3
    assert not list((tmp_path / "cache" / "spools").glob("*")), "spools are gone when all is reduced"
    for name, result in components.items():
        one = kernels[name]
        assert result["score"] == one["score"]
        assert result["details"]["components_used"] == one["details"]["components_used"]
        assert (result["key"], result["n_features"]) == (one["key"], one["n_features"])
    alone = scores(plugins, MODELS[1:2], records=tmp_path / "again")
    assert stored(tmp_path) - before == new, "found in the store"
    assert alone[MODELS[1]]["score"] == components[MODELS[1]]["score"]


def test_models_together_and_alone_give_the_same_digits(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(randomised_pca, "LARGEST_KERNEL", 20)
    metric = "classification:components=3"
    scores(plugins, metric=metric)
    together = {p.name: p.read_bytes() for p in stored(tmp_path)}
    for path in stored(tmp_path):
        path.unlink()
    for model in MODELS:
        scores(plugins, (model,), metric=metric, force=True)
    alone = stored(tmp_path)
    assert {p.name for p in alone} == set(together)
    for path in alone:
        features = held(path)
        assert features.shape == (27, 3)
        again = tmp_path / "again.arrays"
        again.write_bytes(together[path.name])
        assert np.allclose(features, held(again), rtol=0, atol=1e-6 * np.abs(features).max())


def held(path: Path) -> np.ndarray:
    from benchmark_core.arrays import Backend

    found = Representation.load(path, Backend())
    assert found is not None
    assert found[0].features is not None
    return found[0].features


def test_no_kernel_of_many_stimuli_is_made(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randomised_pca, "LARGEST_KERNEL", 20)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a kernel was asked for")

    monkeypatch.setattr("benchmark_core.representation.prefixes_from_spool", never)
    scores(plugins)


def test_a_kernel_that_no_memory_holds_is_refused_in_one_line(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=5000, available=2**30))
    small, wide = (run(model, "birds.test", plugins=[plugins])[0] for model in (MODELS[0], MODELS[2]))
    assert small["status"] == "ok", "six features need no kernel"
    assert wide["status"] == "failed"
    assert "the inner products of 27 stimuli take 5.8e-06 GB and this machine has 5e-06 GB" in wide["error"]
    monkeypatch.setattr(randomised_pca, "LARGEST_KERNEL", 20)
    assert scores(plugins, MODELS[2:])[MODELS[2]]["status"] == "ok"


def test_a_damaged_chunk_is_extracted_again(plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randomised_pca, "LARGEST_KERNEL", 20)
    expected = scores(plugins, MODELS[:1], records=tmp_path / "first")[MODELS[0]]["score"]
    for path in stored(tmp_path):
        path.unlink()
    extract, spoilt = Pipeline.extract, []

    def spoiling(self: Pipeline, *args: Any, **options: Any) -> Any:
        spool = extract(self, *args, **options)
        if not spoilt:
            (chunk,) = list(spool.folder.glob("*.chunk"))[:1]
            content = bytearray(chunk.read_bytes())
            content[-1] ^= 1
            chunk.write_bytes(bytes(content))
            spoilt.append(chunk)
        return spool

    monkeypatch.setattr(Pipeline, "extract", spoiling)
    with pytest.warns(UserWarning, match="is damaged"):
        again = scores(plugins, MODELS[:1], records=tmp_path / "second")
    assert spoilt
    assert again[MODELS[0]]["score"] == expected


def test_a_plugin_model_declares_its_width(plugins: Path) -> None:
    assert isinstance(Registry([plugins]).model("net:units=7").spec.width, Width)
