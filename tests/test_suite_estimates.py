"""What is left of a suite, and how long it may take: by hand from recorded times and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from benchmark_core.cells import make_plan
from benchmark_core.registry import Registry
from benchmark_core.resolution import import_target
from benchmark_core.suite_estimates import ASSUMED_RATE, DECODING, Experience, estimate
from benchmark_core.suite_states import CellState, State

REGISTRY = Registry(installed=False)
NARROW = "filters_2=4,filters_3=5,filters_4=6"


def record(
    model: str, extraction: float, kernel: float, metric: float = 0.5, n: int = 100, key: str = "k", **changes: Any
) -> dict[str, Any]:
    layer = {
        "key": key,
        "extracted_layers": ["layer5"],
        "extraction_seconds": extraction,
        "kernel_seconds": kernel,
        "device": "cpu",
        "peak_rss_bytes": int(1e9 * extraction),
    }
    provenance = {"metric_seconds": metric, "representations": [{"model": model, "layers": {"layer5": layer}}]}
    frame = {"key": key, "status": "ok", "models": [model], "metric": "encoding", "n_stimuli": n}
    return {**frame, "provenance": provenance, **changes}


def states(models: Sequence[str], n: int = 100, state: State = "compute") -> list[CellState]:
    cells, _ = make_plan(REGISTRY, models, ["simulated.V4"], "encoding")
    absent = {m.identifier: ("",) for cell in cells for m in cell.models} if state == "compute" else {}
    return [CellState(cell, state, "key", {"": n}, absent) for cell in cells]


def flops(model: str, **changes: Any) -> float:
    resolved = REGISTRY.model(model)
    assert resolved.spec.flops is not None
    return float(resolved.spec.flops(**{**resolved.parameters, **changes}))


def test_recorded_times_of_the_same_model_grow_with_the_stimuli() -> None:
    experience = Experience.of([record("pixels", 10.0, 2.0, 0.5)], REGISTRY)
    found = estimate(states(["pixels"], 200), experience)
    assert found.seconds == pytest.approx(2 * (10 + 2) + 8 * 0.5)
    assert found.recorded_seconds == found.seconds
    assert (found.cells[0].basis, found.n_unknown, found.devices) == ("recorded", 0, ("cpu",))
    assert found.peak_rss_bytes == int(1e10)
    fewer = estimate(states(["pixels"], 50), experience)
    assert fewer.seconds == pytest.approx(6 + 0.5), "metrics of fewer stimuli are taken as they are"


def test_one_stem_is_paid_for_once() -> None:
    """Of widths the widest pays, of a width that was recorded at another one in proportion; other heads pay theirs."""
    experience = Experience.of([record("expansion5l:filters=30", 100.0, 3.0)], REGISTRY)
    widths = estimate(
        states(["expansion5l:filters=3", "expansion5l:filters=30", "expansion5l:filters=300"]), experience
    )
    passes = [cell.seconds - 0.5 for cell in widths.cells if cell.seconds is not None]
    assert passes == pytest.approx([100 + 0.3, 0.9 * 3, 0.9 * 30])
    heads = estimate(states(["expansion5l:filters=30", "expansion5l-norelu:filters=30"]), experience)
    assert heads.cells[0].seconds == pytest.approx(103.5)
    assert heads.cells[1].basis == "operations"
    rate = flops("expansion5l", filters=0) * 100 / 100.0
    assert heads.rate == pytest.approx(rate)
    head = flops("expansion5l:filters=30") - flops("expansion5l:filters=30", filters=0)
    assert heads.cells[1].seconds == pytest.approx(100 * head / rate + 0.5)
    linear = estimate(states(["expansion5l-linear:filters=30"]), experience)
    assert linear.cells[0].basis == "operations", "another trunk is another pass"


def test_operations_at_an_assumed_rate_where_nothing_is_recorded() -> None:
    ceiling = record("pixels", 1.0, 1.0)
    ceiling["provenance"]["representations"] = []  # the metric's time alone
    found = estimate(states(["vit-untrained"], 10), Experience.of([ceiling], REGISTRY))
    assert (found.rate, found.rate_is_recorded) == (ASSUMED_RATE, False)
    assert found.seconds == pytest.approx(10 * (flops("vit-untrained") / ASSUMED_RATE + DECODING) + 0.5)
    assert found.recorded_seconds == pytest.approx(0.5)
    assert found.peak_rss_bytes is None


def test_what_nothing_is_known_of_is_counted() -> None:
    found = estimate(states(["pixels", "alexnet-untrained"], 10), Experience())
    assert [cell.basis for cell in found.cells] == ["unknown", "unknown"]
    assert [cell.seconds for cell in found.cells] == [None, None]
    assert found.n_unknown == 2
    assert found.seconds == pytest.approx(10 * (flops("alexnet-untrained") / ASSUMED_RATE + DECODING))


def test_recorded_cells_and_those_that_lack_data_cost_nothing() -> None:
    experience = Experience.of([record("pixels", 10.0, 2.0)], REGISTRY)
    assert estimate(states(["pixels"], state="recorded"), experience).seconds == 0
    assert estimate(states(["pixels"], state="missing"), experience).seconds == 0
    assert estimate(states(["pixels"], state="kernels"), experience).seconds == pytest.approx(0.5)


def test_records_of_unknown_models_and_without_scores_are_left_out() -> None:
    records = [
        record("no-such-model", 10.0, 2.0),
        record("pixels", 10.0, 2.0, status="failed", key="a"),
        record("pixels", 20.0, 4.0, n=50, key="b"),
        record("pixels", 20.0, 4.0, n=100, key="b"),  # the same pass, of which all stimuli are counted
        record("pixels", 20.0, 4.0, n=None, key="c"),
    ]
    experience = Experience.of(records, REGISTRY)
    near = experience.alike(REGISTRY.model("pixels"))
    assert near is not None
    assert (near.n_stimuli, near.seconds) == (100, 20.0)


@pytest.mark.slow  # torch's counter takes seconds to import
@pytest.mark.parametrize(
    "model",
    [
        f"expansion5l:filters=7,{NARROW}",
        f"expansion5l-random:filters=7,filters_1=3,{NARROW}",
        f"expansion5l-lrp:filters=7,{NARROW}",
    ],
)
def test_operations_are_those_that_torch_counts(model: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    resolved = REGISTRY.model(model)
    network = import_target(resolved.spec.load)(**resolved.parameters).to("meta")  # counts, and computes nothing
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 224, 224, device="meta"))
    assert flops(model) == counter.get_total_flops()


@pytest.mark.slow
def test_operations_of_other_networks_are_those_that_torch_counts() -> None:
    import timm
    import torch
    import torchvision
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        networks = {
            "alexnet-untrained": torchvision.models.alexnet().features,
            "vit-untrained": timm.create_model("vit_base_patch16_224", num_classes=0),
            "resnet50-barlowtwins": torchvision.models.resnet50(),
            "efficientnet-lite0": timm.create_model("tf_efficientnet_lite0", num_classes=0),
        }
        images = torch.zeros(1, 3, 224, 224)
    for model, network in networks.items():
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network.eval()(images)
        assert flops(model) == pytest.approx(counter.get_total_flops(), rel=0.06), model
    dense = 150528 * 108 + 108 * 1000 + 1000 * 3000 + 3000 * 5000
    assert flops("fully-connected:features=108") == 2 * (dense + 5000 * 108)
    assert flops("vit-custom:D=12", D=0) == pytest.approx(flops("vit-untrained") * 11 / 12, rel=0.01)
