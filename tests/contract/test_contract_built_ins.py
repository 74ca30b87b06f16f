"""Every built-in model, benchmark and metric passes the contract; sizes are made small by parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark_core.registry import Registry

NARROW = "filters=4,filters_2=6,filters_3=6,filters_4=6"
MODELS = {
    "alexnet-trained": "",
    "alexnet-untrained": "seed=1",
    "efficientnet-lite0": "",
    "expansion5l": f"{NARROW},bank=gabor,nonlinearity=zscore,init=orthogonal",
    "expansion5l-256": f"{NARROW}",  # narrower than its name says
    "expansion5l-linear": f"{NARROW},init=xavier_normal",
    "expansion5l-lrp": NARROW,
    "expansion5l-norelu": f"{NARROW},nonlinearity=gelu",
    "expansion5l-nospatial": NARROW,
    "expansion5l-random": f"{NARROW},filters_1=6",
    "fully-connected": "features=8",
    "pixels": "",
    "resnet50-barlowtwins": "",
    "vit-custom": "D=24",
    "vit-trained": "",
    "vit-untrained": "seed=1",
}
ZOOS = ("timm/test_vit:weights=none,pool=avg", "torchvision/squeezenet1_1:weights=none,seed=2")
TRAINED = {"alexnet-trained", "efficientnet-lite0", "resnet50-barlowtwins", "vit-trained"}

REGISTRY = Registry(installed=False)


def drawn_quickly(filters, shape, *, seed, layer, init="kaiming_uniform", first=0, last=None, out=None):
    """Stand in for ``draw_filters``, of which other tests tell: few numbers, repeated. Unit by unit just the same."""
    fan = math.prod(shape)
    few = np.random.Generator(np.random.Philox([seed, layer])).standard_normal((64, min(fan, 1000))) / fan**0.5
    rows = np.arange(first, filters if last is None else last) % 64
    drawn = np.resize(few, (64, fan)).astype(np.float32)[rows].reshape(len(rows), *shape)
    if out is None:
        return drawn
    out[...] = drawn
    return out


@pytest.fixture
def quick_draws(monkeypatch) -> None:
    """Let architectures that no parameter makes small draw few weights, and the transformers be the smallest kind."""
    from plugins.models import _default_weights, _dense_layer, _vision_transformer_networks

    monkeypatch.setattr(_default_weights, "draw_filters", drawn_quickly)
    monkeypatch.setattr(_dense_layer, "draw_filters", drawn_quickly)
    monkeypatch.setattr(_vision_transformer_networks, "ARCHITECTURE", "vit_tiny_patch16_224")
    monkeypatch.setattr(_vision_transformer_networks, "TOKEN_WIDTH", 192)


def test_every_built_in_model_is_among_those_checked() -> None:
    assert set(REGISTRY.models.names()) == set(MODELS)
    assert {family.prefix for family in REGISTRY.families} == {name.partition("/")[0] for name in ZOOS}


def check_model(check, name: str, identifier: str) -> None:
    results = check(REGISTRY, "model", identifier)
    failed = {c: r.reason for c, r in results.items() if r.status == "fail"}
    assert failed == {}
    if name in TRAINED and results["load"].status == "missing":
        assert results["shapes"].status == results["cost"].status == "missing"
        assert "http" in results["load"].reason or "pip install" in results["load"].reason
        return
    skipped = {c for c, r in results.items() if r.status != "pass"}
    assert skipped <= {"width"}
    if name.startswith(("expansion5l-random", "expansion5l-nospatial", "fully-connected")):
        assert skipped == set()


@pytest.mark.parametrize("name", MODELS)
def test_models(check, module_home, quick_draws, name) -> None:
    check_model(check, name, f"{name}:{MODELS[name]}".rstrip(":"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet-untrained", "fully-connected", "vit-custom", "vit-untrained"])
def test_models_at_full_size(check, module_home, name) -> None:
    check_model(check, name, f"{name}:{MODELS[name]}")


@pytest.mark.parametrize("identifier", ZOOS)
def test_models_of_zoos(check, module_home, identifier) -> None:
    check_model(check, identifier, identifier)


@pytest.mark.parametrize("name", REGISTRY.metrics.names())
def test_metrics(check, name) -> None:
    quick = {"n_bootstrap": 100, "components": 12, "folds": 3}
    given = ",".join(f"{p.name}={quick[p.name]}" for p in REGISTRY.metric(name).spec.parameters if p.name in quick)
    results = check(REGISTRY, "metric", f"{name}:{given}".rstrip(":"))
    assert {c: r.reason for c, r in results.items() if r.status == "fail"} == {}
    passed = {c for c, r in results.items() if r.status == "pass"}
    assert {"spec", "import", "compute", "score", "determinism", "inputs", "global-rng", "network"} <= passed


@pytest.mark.parametrize("name", REGISTRY.benchmarks.names())
def test_benchmarks(check, module_home, name) -> None:
    results = check(REGISTRY, "benchmark", name)
    assert {c: r.reason for c, r in results.items() if r.status == "fail"} == {}
    if name.startswith("simulated."):
        assert {r.status for r in results.values()} == {"pass"}
    else:  # recordings are not here: BENCH_HOME is empty
        assert results["data"].status == results["splits"].status == results["hash"].status == "missing"
        assert results["spec"].status == results["import"].status == results["network"].status == "pass"
