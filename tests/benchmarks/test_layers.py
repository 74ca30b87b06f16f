"""Reading all layers of a network in one pass, against a run for its last layer alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timing import row

from benchmark_core.arrays import Backend
from benchmark_core.extraction import extract, wrap
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.representation import from_spool
from benchmark_core.resolution import import_target
from benchmark_core.stimuli import StimulusSet
from plugins.models.vision_transformer import BLOCKS, register_models

N_STIMULI = 8
ROUNDS = 3


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> StimulusSet:
    folder = tmp_path_factory.mktemp("images")
    random = np.random.Generator(np.random.Philox(0))
    files = {f"{i:02d}": folder / f"{i:02d}.png" for i in range(N_STIMULI)}
    for path in files.values():
        Image.fromarray(random.integers(0, 256, (224, 224, 3), dtype=np.uint8)).save(path)
    return StimulusSet.from_files(files)


def test_twelve_blocks_in_one_pass(benchmark: Any, stimuli: StimulusSet, tmp_path: Path) -> None:
    """``vit-untrained``: both passes, for twelve blocks and for the last, in turns (``ratio`` should be 1.3 at most).

    Minima over rounds; ``ratio_cpu`` compares processor time, which other work on the machine disturbs less.
    """
    spec = next(spec for spec in register_models() if spec.name == "vit-untrained")
    model, backend = wrap(import_target(spec.load)(seed=0), spec.name), Backend("numpy", "cpu")
    spent: dict[int, list[tuple[float, float]]] = {1: [], len(BLOCKS): []}

    def run(layers: tuple[str, ...]) -> None:
        before = time.perf_counter(), time.process_time()
        spool = extract(model, stimuli, Preprocessing(), layers, tmp_path / "spool", batch_size=N_STIMULI)
        for layer in layers:
            made = from_spool(spool, layer, stimuli.stimulus_ids, key="", backend=backend)
            assert made.n_features == 197 * 768
        spool.delete()
        spent[len(layers)].append((time.perf_counter() - before[0], time.process_time() - before[1]))

    benchmark.pedantic(run, args=(BLOCKS,), setup=lambda: run(BLOCKS[-1:]), rounds=ROUNDS)
    one, twelve = (np.min(spent[n], axis=0) for n in (1, len(BLOCKS)))
    benchmark.extra_info |= {
        "ratio": round(float(twelve[0] / one[0]), 3),
        "ratio_cpu": round(float(twelve[1] / one[1]), 3),
        "last_block_s": round(float(one[0]), 3),
        "twelve_blocks_s": round(float(twelve[0]), 3),
        "threads": torch.get_num_threads(),
        "stimuli": N_STIMULI,
        "rows": [
            row("vit-untrained, 12 blocks in one pass", f"{N_STIMULI} images", twelve, "the last block alone", one)
        ],
    }
