"""Pass 1 of the expansion model on a device: the trunk alone, with decoding and the spool, and the last layer by blocks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_timing import product_rate, rated, row, seconds, synchronize
from PIL import Image

from benchmark_core.decoding import decoded_batches
from benchmark_core.extraction import Precision, extract, numeric_policy, wrap
from benchmark_core.heads import STEM, HeadBlocks, StemReader
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.replicas import Replica
from benchmark_core.stimuli import StimulusSet
from plugins.models._expansion_network import Expansion5L, ExpansionLayer, WideExpansion5L
from plugins.models.expansion import PARAMETERS

SIDE = 224
NARROW = {"filters_2": 4, "filters_3": 4, "filters_4": 4}
"""Widths at which all of this takes milliseconds."""


def parameters(filters: int, **widths: int) -> dict[str, Any]:
    """Return all parameters of ``expansion5l``."""
    return {p.name: p.default for p in PARAMETERS} | {"filters": filters} | widths


def operations(layers: Sequence[ExpansionLayer], side: int = SIDE) -> float:
    """Return additions and multiplications of convolutions, for an image, done directly."""
    total = 0.0
    for layer in layers:
        side += 2 * layer.padding - layer.weight.shape[-1] + 1
        total += 2.0 * layer.weight.numel() * side**2
        side = (side - layer.pool) // layer.stride + 1
    return total


def made_up_images(folder: Path, n: int) -> StimulusSet:
    """Write n images of 256 x 256 pixels, like MajajHong's."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.Generator(np.random.Philox(5))
    files = {f"{i:05d}": folder / f"{i:05d}.png" for i in range(n)}
    for path in files.values():
        coarse = Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8))
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(path, compress_level=1)
    return StimulusSet.from_files(files)


def trunk(device: str, batch: int = 32, rate_size: int = 8192, side: int = SIDE, **widths: int) -> list[dict[str, Any]]:
    """Time layers 1 to 4: both policies, both memory orders; and bfloat16, which no policy uses, for comparison."""
    rows = []
    network = Expansion5L(**parameters(2, **widths)).to(device)
    images = torch.rand(batch, 3, side, side, device=device)
    work = operations(network.trunk, side)
    kind = device.partition(":")[0]
    cases: list[tuple[str, Precision, bool, bool]] = [
        ("exact, channels first", "exact", False, False),
        ("exact, channels last", "exact", True, False),
        ("fast (TF32), channels first", "fast", False, False),
        ("fast (TF32), channels last", "fast", True, False),
        ("bfloat16 (not offered), channels last", "fast", True, True),
    ]
    for name, precision, channels_last, half in cases:
        order = torch.channels_last if channels_last else torch.contiguous_format
        network.to(memory_format=order)
        given = images.contiguous(memory_format=order)
        context: Any = torch.autocast(kind, dtype=torch.bfloat16) if half else nullcontext()
        with numeric_policy(precision), context:
            taken = seconds(device, lambda given=given: network.stem(given)) / batch
        rate = product_rate(device, torch.bfloat16 if half else torch.float32, precision == "fast", rate_size)
        rows.append(
            row(
                f"expansion5l trunk, {name}",
                f"an image, batch {batch}: {1 / taken:.3g} images/s, {work / taken / 1e12:.3g} TFLOP/s",
                taken,
                device,
                limit=rated(rate),
                share=work / taken / rate,
                images_per_s=1 / taken,
                tflops=work / taken / 1e12,
                product_tflops=rate / 1e12,
            )
        )
    return rows


def pass_1(
    device: str, precision: Precision, filters: int, n: int, folder: Path, rate_size: int = 8192, **widths: int
) -> list[dict[str, Any]]:
    """Time pass 1 as a run does it, from files on disk to the spool, weights drawn beforehand.

    Of a model whose last layer is wider than its input (30 000 filters) that input is spooled, and the last layer is
    timed by itself, all of it for these images. Times of decoding alone, without any model, stand beside.
    """
    stimuli, given = made_up_images(folder / "images", n), parameters(filters, **widths)
    channels = given["filters_4"]
    wide = 36 * filters > channels * 121
    model: Any
    if wide:
        model = StemReader(WideExpansion5L(**given))
        model.to(device)
        layers, name = [STEM], "input of layer 5"
    else:
        network = Expansion5L(**given)
        model, layers, name = wrap(network, "expansion5l").to(device), ["layer5"], "layer 5"
    preprocessing = Preprocessing()
    with numeric_policy(precision):  # builds and warms up
        Replica(model, device, layers, precision).forward(torch.rand(1, 3, SIDE, SIDE).to(device))
    trunk_of = model.model._network if wide else network
    work = operations(trunk_of.trunk if wide else [*trunk_of.trunk, trunk_of.layer5])
    batches = [list(range(first, min(first + 32, n))) for first in range(0, n, 32)]
    decoding = seconds(
        "cpu", lambda: list(decoded_batches(stimuli, preprocessing, batches, device)), rounds=1, warm_up=False
    )
    synchronize(device)
    started = time.perf_counter()
    spool = extract(model, stimuli, preprocessing, layers, folder / "spool", device=device, precision=precision)
    taken = time.perf_counter() - started
    rate = product_rate(device, torch.float32, precision == "fast", rate_size)
    size = f"{n} images of 256 x 256 (png), batch {spool.batch_size}"
    what = f"expansion5l:filters={filters}, {precision}"
    rows = [
        row(
            f"{what}: decoding alone",
            f"{size}: {n / decoding:.3g} images/s",
            decoding,
            device,
            images_per_s=n / decoding,
        ),
        row(
            f"{what}: decoding, trunk and spool of the {name}",
            f"{size}: {n / taken:.3g} images/s",
            taken,
            device,
            limit=rated(rate),
            share=n * work / taken / rate,
            images_per_s=n / taken,
            batch_size=spool.batch_size,
            spool_gb_per_s=4 * n * spool.n_features(layers[0]) / taken / 1e9,
        ),
    ]
    if wide:
        rows.append(last_layer(device, precision, filters, spool, given, rate))
    spool.delete()
    return rows


def last_layer(
    device: str, precision: Precision, filters: int, spool: Any, given: dict[str, Any], rate: float
) -> dict[str, Any]:
    """Time the last layer by blocks from the spool of its input: drawing its weights on the CPU included."""
    blocks = HeadBlocks(spool, WideExpansion5L(**given), filters, device, precision)
    blocks.model.to(device)
    started = time.perf_counter()
    n_features = sum(block.shape[1] for _, block in blocks.blocks("layer5"))
    synchronize(device)
    taken = time.perf_counter() - started
    assert n_features == 36 * filters
    work = 2.0 * filters * given["filters_4"] * 9 * 81 * spool.n
    return row(
        f"expansion5l:filters={filters}, {precision}: layer 5 by blocks, weights drawn",
        f"{spool.n} images, {n_features} features",
        taken,
        device,
        limit=rated(rate),
        share=work / taken / rate,
    )
