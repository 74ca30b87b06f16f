"""Several widths of one model cost one pass, and no score depends on which widths were asked for together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy import make_toy_world

from benchmark_core import run
from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError
from benchmark_core.registry import Registry
from benchmark_core.representation import Representation, prefixes_from_spool
from benchmark_core.spool import Spool
from benchmark_core.widths import differ_in_width_only

PLUGIN = """
from benchmark_core import ModelSpec, Parameter, Preprocessing, Width, hookimpl


def load(filters, init, seed):
    import numpy as np
    import torch

    with open(LOG, "a") as log:
        log.write(f"load {filters}\\n")

    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            rows = [np.random.Generator(np.random.Philox(key=seed * 2**32 + f)).normal(size=256) for f in range(filters)]
            self.weight = torch.nn.Parameter(torch.tensor(np.array(rows), dtype=torch.float32))

        def forward(self, x):
            with open(LOG, "a") as log:
                log.write(f"forward {len(x)}\\n")
            x = x.flatten(1)
            both = torch.stack([x @ self.weight.T, (1 - x) @ self.weight.T], dim=2)  # two features a filter
            return torch.relu(both).flatten(1)

    return Wide()


@hookimpl
def register_models():
    parameters = (
        Parameter("filters", "int", 300, minimum=1),
        Parameter("init", "str", "normal", choices=("normal", "orthogonal")),
        Parameter("seed", "int", 0, minimum=0),
    )
    width = Width(parameter="filters", layer="output", shared=lambda filters, init, seed: init == "normal")
    small = Preprocessing(size=(16, 16), colour="grey", mean=(0.0,), std=(1.0,))
    return [ModelSpec(name="wide", version=1, load=load, parameters=parameters, width=width, preprocessing=small)]
"""
WIDTHS = ("wide:filters=5", "wide:filters=40", "wide")


@pytest.fixture
def world(tmp_path: Path, home: Path) -> Path:
    """Return a plugin folder with the toy world and a model that can be widened."""
    folder = make_toy_world(tmp_path / "toys")
    (folder / "wide.py").write_text(f"LOG = {str(tmp_path / 'log')!r}\n{PLUGIN}")
    return folder


def test_one_pass_for_all_widths(world: Path, tmp_path: Path) -> None:
    results = run(WIDTHS, "toy.V4", plugins=[world])
    assert [r["status"] for r in results] == ["ok"] * 3
    assert [r["n_features"] for r in results] == [10, 80, 600]
    log = (tmp_path / "log").read_text().split("\n")
    assert [line for line in log if "load" in line] == ["load 300"]
    assert sum(int(line.split()[1]) for line in log if "forward" in line) == 40


@pytest.mark.parametrize("together", [WIDTHS[:2], WIDTHS[1:], WIDTHS[::-1], WIDTHS])
def test_no_score_depends_on_what_was_asked_for_together(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: tuple[str, ...]
) -> None:
    alone = {}
    for model in together:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / f"cache of {model}"))
        (result,) = run(model, "toy.V4", plugins=[world], records=tmp_path / f"records of {model}")
        alone[model] = result
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "common cache"))
    for result in run(together, "toy.V4", plugins=[world]):
        expected = alone[result["model"]]
        assert result["key"] == expected["key"]
        assert result["score"] == pytest.approx(expected["score"], abs=1e-6)
        assert result["provenance"]["representations"][0]["layers"]["output"]["shared_widths"]


def test_what_is_stored_or_recorded_is_not_computed_again(world: Path, tmp_path: Path) -> None:
    run(WIDTHS[:2], "toy.V4", plugins=[world])
    (tmp_path / "log").unlink()
    run(WIDTHS, "toy.V4", plugins=[world])
    log = (tmp_path / "log").read_text()
    assert "load 300" in log
    assert "load 40" not in log
    (tmp_path / "log").unlink()
    run(WIDTHS, "toy.V4", plugins=[world])
    assert not (tmp_path / "log").exists()


def test_weights_that_depend_on_all_filters_are_not_shared(world: Path, tmp_path: Path) -> None:
    models = [f"{m}{',' if ':' in m else ':'}init=orthogonal" for m in WIDTHS]
    run(models, "toy.V4", plugins=[world])
    assert sorted(line for line in (tmp_path / "log").read_text().splitlines() if "load" in line) == [
        "load 300",
        "load 40",
        "load 5",
    ]


def test_what_differs_in_width_only(world: Path) -> None:
    registry = Registry([world])
    base = registry.model("wide")
    assert differ_in_width_only(base, registry.model("wide:filters=7"))
    assert not differ_in_width_only(base, base)
    assert not differ_in_width_only(base, registry.model("wide:filters=7,seed=1"))
    assert not differ_in_width_only(base, registry.model("toy"))


def test_width_must_be_a_parameter() -> None:
    from benchmark_core import ModelSpec, Width

    with pytest.raises(InputError, match="'filters' is not one of its int parameters"):
        ModelSpec(name="m", version=1, load=lambda: None, width=Width(parameter="filters", layer="output"))


@pytest.mark.parametrize("backend", [Backend("numpy"), Backend("torch")], ids=["numpy", "torch"])
def test_prefixes_equal_narrow_layers_reduced_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    monkeypatch.setattr("benchmark_core.spool.BLOCK", 16)
    random = np.random.default_rng(0)
    features = (random.normal(size=(24, 100)) + 50).astype(np.float32)
    ids = [f"{i:02d}" for i in range(24)]
    spool = Spool.create(tmp_path / "spool", 24, ["layer"], 8, 8)
    for chunk in range(3):
        spool.write(chunk, {"layer": features[chunk * 8 : chunk * 8 + 8]}, 0.0)
    widths = (3, 16, 20, 24, 25, 32, 99, 100)
    together = list(prefixes_from_spool(spool, "layer", ids, keys={w: str(w) for w in widths}, backend=backend))
    assert [r.n_features for r in together] == list(widths)
    for width, representation in zip(widths, together, strict=True):
        (alone,) = prefixes_from_spool(spool, "layer", ids, keys={width: "k"}, backend=backend)
        direct = Representation.from_features(features[:, :width], ids)
        for name in ("features", "kernel", "row_sums", "mean_products"):
            mine, other, expected = (getattr(r, name) for r in (representation, alone, direct))
            assert (mine is None) == (other is None) == (expected is None)
            if mine is not None:
                np.testing.assert_array_equal(mine, other)
                np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
        assert representation.key == str(width)
