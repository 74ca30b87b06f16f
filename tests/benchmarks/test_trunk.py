"""Layers of ``expansion5l`` at their full widths on the CPU: by transforms and unrolled, against torch's convolutions.

``.venv/bin/python -m pytest tests/benchmarks/test_trunk.py -o addopts='' --benchmark-json=FILE`` writes the ratios to
``extra_info``, and a row of the table that ``make bench`` prints. Three minutes on 2 cores, six with batches of 16 (marked slow); 2.6 GB. Both ways are timed in turns;
minima over rounds.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from timing import row
from torch import Tensor

from plugins.models import _expansion_network as network
from plugins.models._transformed_convolution import choose

ROUNDS = 2
LAYERS = {
    "layer1": ((108, 1, 15, 15), 224, 2, 2),
    "layer2": ((1000, 108, 7, 7), 111, 2, 2),
    "layer3": ((3000, 1000, 5, 5), 52, 2, 2),
    "layer4": ((5000, 3000, 3, 3), 24, 2, 2),
    "layer5": ((3000, 5000, 3, 3), 11, 4, 1),
}
"""Shape of the weights, side of the input, and side and stride of the pooling; layer 1 has three groups of channels."""


def uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Draw float32 numbers."""
    generator = np.random.Generator(np.random.Philox(0))
    drawn = generator.random(shape, dtype=np.float32)
    return torch.from_numpy(drawn * np.float32(high - low) + np.float32(low))


def spent(compute: Callable[[], Any]) -> tuple[float, float]:
    """Return seconds by the clock and of processor time, all threads together."""
    before = time.perf_counter(), time.process_time()
    compute()
    return time.perf_counter() - before[0], time.process_time() - before[1]


def product_rate() -> float:
    """Return operations a second in a large float32 matrix product, the limit of all that is timed here."""
    a = torch.ones(2048, 2048)
    return 2 * 2048**3 / min(spent(lambda: torch.mm(a, a))[0] for _ in range(3))


@pytest.mark.parametrize("images", [8, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(benchmark: Any, monkeypatch: pytest.MonkeyPatch, name: str, images: int) -> None:
    """One layer with its nonlinearity and pooling."""
    shape, side, pool, stride = LAYERS[name]
    bound = (6 / np.prod(shape[1:])) ** 0.5
    groups, padding = (3, 6) if name == "layer1" else (1, 0)
    layer = network.ExpansionLayer(
        uniform(shape, -bound, bound), "relu", padding=padding, groups=groups, pool=pool, stride=stride
    )
    x = uniform((images, groups * shape[1], side, side), 0, 1)
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "direct": []}
    outputs: dict[str, Tensor] = {}

    def run(way: str) -> None:
        with torch.inference_mode(), monkeypatch.context() as patch:
            if way == "direct":
                patch.setattr(network.ExpansionLayer, "_is_plain", lambda *_: False)
            times[way].append(spent(lambda: outputs.update({way: layer(x)})))

    choose.cache_clear()
    threads = torch.get_num_threads()
    measuring = spent(lambda: choose(shape, side, side, pool == stride, threads))[0] if groups == 1 else 0.0
    rate = product_rate()
    benchmark.pedantic(run, args=("ours",), setup=lambda: run("direct"), rounds=ROUNDS)
    ours, direct = (np.min(times[way], axis=0) for way in ("ours", "direct"))
    chosen = choose(shape, side, side, pool == stride, threads) if groups == 1 else None
    operations = 2 * float(np.prod(shape)) * (side + 2 * padding - shape[2] + 1) ** 2
    off = (outputs["ours"] - outputs["direct"]).double()
    size = outputs["direct"].double()
    benchmark.extra_info |= {
        "transform": chosen.name if chosen else "none",
        "ratio": round(float(direct[0] / ours[0]), 2),
        "ratio_cpu": round(float(direct[1] / ours[1]), 2),
        "ours_s_per_image": round(float(ours[0]) / images, 3),
        "direct_s_per_image": round(float(direct[0]) / images, 3),
        "direct_share_of_product_rate": round(operations * images / float(direct[0]) / rate, 2),
        "measuring_s": round(measuring, 2),
        "largest_difference_to_rms": float(off.abs().max() / size.square().mean().sqrt()),
        "largest_difference_to_largest": float(off.abs().max() / size.abs().max()),
        "threads": threads,
        "rows": [row(f"expansion5l, {name}", f"{images} images", ours, "torch's convolution", direct)],
    }
    assert float(off.abs().max()) < 1e-5 * float(size.abs().max())


def test_trunk(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers 1 to 4, as a run of ``expansion5l`` forwards them, 8 images."""
    model, x = network.Expansion5L(filters=2), uniform((8, 3, 224, 224), -2, 2)
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "direct": []}
    outputs: dict[str, Tensor] = {}

    def run(way: str) -> None:
        with torch.inference_mode(), monkeypatch.context() as patch:
            if way == "direct":
                patch.setattr(network.ExpansionLayer, "_is_plain", lambda *_: False)
            times[way].append(spent(lambda: outputs.update({way: model.stem(x)})))

    run("ours")  # measures which way is faster
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    benchmark.pedantic(run, args=("ours",), setup=lambda: run("direct"), rounds=ROUNDS)
    ours, direct = (np.min(times[way], axis=0) for way in ("ours", "direct"))
    off, size = (outputs["ours"] - outputs["direct"]).double(), outputs["direct"].double()
    benchmark.extra_info |= {
        "ratio": round(float(direct[0] / ours[0]), 2),
        "ratio_cpu": round(float(direct[1] / ours[1]), 2),
        "ours_images_per_s": round(8 / float(ours[0]), 2),
        "direct_images_per_s": round(8 / float(direct[0]), 2),
        "peak_rss_gb": round(peak / 1e9, 2),  # of this process, which has done everything before this test
        "largest_difference_to_rms": float(off.abs().max() / size.square().mean().sqrt()),
        "largest_difference_to_largest": float(off.abs().max() / size.abs().max()),
        "threads": torch.get_num_threads(),
        "rows": [row("expansion5l, layers 1 to 4", "8 images", ours, "torch's convolutions", direct)],
    }
    assert float(off.abs().max()) < 1e-5 * float(size.abs().max())
