"""Twelve layers of a vision transformer, from images to scores, against one forward pass and one fit for each.

ViT-B/16 at its real width and depth (151 296 features a layer), untrained, in both ways the same weights. Fewer stimuli than
MajajHong's 3200, because each costs the published way twelve forward passes; neuroids, subjects and repetitions are
MajajHong's. Three minutes on 2 idle cores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from baselines import paper, paper_extraction
from PIL import Image
from timing import Stopwatch, row

from benchmark_core.arrays import Backend
from benchmark_core.assembly import Responses
from benchmark_core.extraction import extract, wrap
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.representation import from_spool
from benchmark_core.resolution import import_target
from benchmark_core.ridge import PENALTIES
from benchmark_core.splits import Fold, Splits
from benchmark_core.stimuli import StimulusSet
from plugins.metrics._encoding import compute
from plugins.models.vision_transformer import BLOCKS, register_models

N, N_TRAIN, REPETITIONS = 80, 64, 46
REGIONS = {"V4": 88, "IT": 168}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return images of smooth noise, 256 x 256 as MajajHong's."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.Generator(np.random.Philox(0))
    found = [folder / f"{i:03d}.png" for i in range(N)]
    for path in found:
        small = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC).save(path)
    return found


def load() -> torch.nn.Module:
    spec = next(spec for spec in register_models() if spec.name == "vit-untrained")
    module: torch.nn.Module = import_target(spec.load)(seed=0)
    return module.eval()


def responses(ids: tuple[str, ...]) -> dict[str, Responses]:
    """Return single trials of two subjects in each region."""
    random = np.random.default_rng(1)
    found = {}
    for region, m in REGIONS.items():
        trials = random.standard_normal((N, 1, m)) + 3 * random.standard_normal((N, REPETITIONS, m)) + 5
        found[region] = Responses(
            ids,
            trials,
            tuple(f"{region}{i}" for i in range(m)),
            tuple("Chabo" if i < m // 2 else "Tito" for i in range(m)),
            region,
        )
    return found


def test_twelve_layers_from_images_to_scores(benchmark: Any, paths: list[Path], tmp_path: Path) -> None:
    """Every layer's score in both regions and subjects; the published way takes the layers in turns with ours."""
    stimuli = StimulusSet.from_files({path.stem: path for path in paths})
    ids = stimuli.stimulus_ids
    splits, train, test = Splits((Fold(ids[:N_TRAIN], ids[N_TRAIN:]),)), np.arange(N_TRAIN), np.arange(N_TRAIN, N)
    targets = responses(ids)
    averages = [target.of_subject(s).averages() for target in targets.values() for s in target.subject_names]
    module, watch = load(), Stopwatch()
    kernels: dict[str, Any] = {}

    def published(layer: str) -> None:
        x = watch("paper", lambda: paper_extraction.features_of_layer(module, layer, paths))
        for y in averages:
            watch("paper", lambda y=y: paper.encode(x, y, train, test, PENALTIES))
        if layer in kernels:  # the same features
            centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
            np.testing.assert_allclose(centred @ centred.T, kernels[layer], rtol=0, atol=1e-2 * kernels[layer].max())

    def ours() -> None:
        model = wrap(module, "vit-untrained")
        spool = watch(
            "ours", lambda: extract(model, stimuli, Preprocessing(), BLOCKS, tmp_path / "spool", batch_size=None)
        )
        for layer in BLOCKS:
            made = watch("ours", lambda layer=layer: from_spool(spool, layer, ids, key="", backend=Backend()))
            kernels[layer] = made.kernel
            for target in targets.values():
                watch("ours", lambda made=made, target=target: compute([{"layer": made}], target, splits))
        watch("ours", spool.delete)

    for layer in BLOCKS[:6]:
        published(layer)
    benchmark.pedantic(ours, rounds=1, iterations=1)
    for layer in BLOCKS[6:]:
        published(layer)
    spent = watch.spent
    size = f"{N} images, ViT-B/16, {len(BLOCKS)} x {197 * 768} features"
    benchmark.extra_info["rows"] = [
        row("12 layers from images to scores, both regions", size, spent["ours"], "paper", spent["paper"])
    ]


def test_extraction_against_a_loop_of_hooks(benchmark: Any, paths: list[Path], tmp_path: Path) -> None:
    """Twelve layers in one pass, ours into a spool with checksums, against a plain loop that keeps all in memory."""
    stimuli = StimulusSet.from_files({path.stem: path for path in paths[:32]})
    module, watch = load(), Stopwatch()

    def ours() -> None:
        model = wrap(module, "vit-untrained")
        watch("ours", lambda: extract(model, stimuli, Preprocessing(), BLOCKS, tmp_path / "spool")).delete()

    def plain() -> None:
        watch("loop", lambda: paper_extraction.hook_loop(module, BLOCKS, paths[:32]))

    plain()
    watch.laps.clear()
    benchmark.pedantic(ours, setup=plain, rounds=2)
    benchmark.extra_info["rows"] = [
        row(
            "extraction of 12 layers in one pass",
            "2 x 32 images, ViT-B/16",
            watch.spent["ours"],
            "loop of hooks",
            watch.spent["loop"],
        )
    ]
