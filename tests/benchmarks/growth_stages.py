"""What is timed for :mod:`test_growth`: one stage of a run, at a size; each function prepares, and returns the work itself.

Everything runs on one thread, in a process of its own for each curve, sizes from small to large.
"""

from __future__ import annotations

import gc
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

Work = Callable[[], object]
Point = dict[str, float]


def curve(stage: str, sizes: Sequence[int]) -> list[Point]:
    """Measure a stage at every size: seconds of processor and by the clock, and by how much the process grew at most."""
    import torch

    torch.set_num_threads(1)
    prepare: Callable[[int, Path], Work] = globals()[stage]
    points = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(sizes[0], Path(folder) / "warm")()  # imports, and the first calls of libraries
        for size in sizes:
            place = Path(folder) / str(size)
            work = prepare(size, place)
            gc.collect()
            held, times = _resident(), []
            while len(times) < 3 and (not times or times[-1][0] < 1):
                shutil.rmtree(place / "out", ignore_errors=True)
                before = _clocks()
                work()
                times.append(tuple(_clocks() - before))
            cpu, wall = np.min(times, axis=0)
            points.append({"size": size, "cpu_s": cpu, "wall_s": wall, "grown_bytes": float(_peak() - held)})
            del work
            shutil.rmtree(place, ignore_errors=True)
    return points


def extraction_n(n: int, folder: Path, n_layers: int = 4) -> Work:
    """Decode and forward n images of 96 x 96 pixels through 32 narrow convolutions; spool some of them."""
    import torch
    from PIL import Image

    from benchmark_core.extraction import extract, wrap
    from benchmark_core.preprocessing import Preprocessing
    from benchmark_core.stimuli import StimulusSet

    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    files = {}
    for i in range(n):
        files[f"{i:05d}"] = folder / "images" / f"{i:05d}.png"
        Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(files[f"{i:05d}"])
    stimuli = StimulusSet.from_files(files)
    first: list[torch.nn.Module] = [torch.nn.Conv2d(3, 8, 3, stride=3)]
    model = wrap(torch.nn.Sequential(*first, *(torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(31))), "narrow")
    preprocessing = Preprocessing(size=(96, 96))
    layers = [str(i) for i in np.linspace(31, 0, n_layers).astype(int)]
    return lambda: extract(model, stimuli, preprocessing, layers, folder / "out", batch_size=16)


def extraction_layers(n_layers: int, folder: Path) -> Work:
    """Spool 1 to 32 layers of 8192 features for 64 images."""
    return extraction_n(64, folder, n_layers)


def _spool(n: int, p: int, folder: Path) -> Work:
    from benchmark_core.arrays import Backend
    from benchmark_core.representation import from_spool
    from benchmark_core.spool import Spool

    spool = Spool.create(folder / "spool", n, ["layer"], 32, 32)
    random = np.random.default_rng(0)
    for chunk in range(spool.n_chunks):
        spool.write(chunk, {"layer": random.standard_normal((len(spool.rows(chunk)), p), dtype=np.float32)}, 0.0)
    ids = [f"{i:05d}" for i in range(n)]
    return lambda: from_spool(spool, "layer", ids, key="", backend=Backend())


def kernel_p(p: int, folder: Path) -> Work:
    """Reduce the spool of 512 stimuli x P features."""
    return _spool(512, p, folder)


def kernel_n(n: int, folder: Path) -> Work:
    """Reduce the spool of n stimuli x 8192 features."""
    return _spool(n, 8192, folder)


def _representation(n: int) -> object:
    from benchmark_core.representation import Representation

    features = np.random.default_rng(0).standard_normal((n, n + 1))
    return Representation.from_features(features, [f"{i:05d}" for i in range(n)])


def decomposition_n(n: int, folder: Path) -> Work:
    """Decompose the kernel of n training stimuli."""
    from benchmark_core.representation import Representation
    from benchmark_core.spectral import decompose

    representation = _representation(n)
    assert isinstance(representation, Representation)
    return lambda: decompose(representation, representation.stimulus_ids)


def _metric(n: int, m: int) -> Work:
    """``encoding`` with everything in it but the decomposition, which is there."""
    from benchmark_core.assembly import Responses
    from benchmark_core.representation import Representation
    from benchmark_core.splits import Fold, Splits
    from plugins.metrics._encoding import compute

    representation = _representation(n)
    assert isinstance(representation, Representation)
    ids = representation.stimulus_ids
    values = np.random.default_rng(1).standard_normal((n, 4, m))
    target = Responses(ids, values, tuple(f"n{i}" for i in range(m)), ("subject",) * m, "V4")
    train = ids[: 4 * n // 5]
    representation.decomposition(train)
    splits = Splits((Fold(train, ids[len(train) :]),))
    return lambda: compute([{"layer": representation}], target, splits)


def metric_n(n: int, folder: Path) -> Work:
    """Penalties, prediction, 4 repetitions, 1000 resamples: n stimuli, four in five to train, 64 neuroids."""
    return _metric(n, 64)


def metric_neuroids(m: int, folder: Path) -> Work:
    """The same for 500 stimuli and m neuroids."""
    return _metric(500, m)


def _clocks() -> np.ndarray:
    """Return processor time, that of ended worker processes included, and the time of day."""
    times = os.times()
    return np.array([time.process_time() + times.children_user + times.children_system, time.perf_counter()])


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak()


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
