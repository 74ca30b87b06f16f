"""Stimuli split among devices: chunks are handed out, digits stay. Two replicas on the CPU stand for two GPUs."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmark_core import extraction as room
from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError, ModelError
from benchmark_core.extraction import extract
from benchmark_core.pipeline import Numerics
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.representation import from_spool
from benchmark_core.spool import Spool
from benchmark_core.stimuli import StimulusSet
from benchmark_core.torch_models import HookedModel

SMALL = Preprocessing(size=(8, 8))
N = 29
LAYERS = ("conv", "output")


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> StimulusSet:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.Generator(np.random.Philox(7))
    files = {f"s{i:02d}": folder / f"{i}.png" for i in range(N)}
    for path in files.values():
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)
    return StimulusSet.from_files(files)


class Net(nn.Module):
    """Notes, for all copies of it, which thread was given what; two threads start together."""

    seen: list[tuple[str, bytes]] = []
    modes: list[bool] = []
    start: threading.Barrier | None = None

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 50)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mine = str(threading.get_ident())
        aside = threading.current_thread() is not threading.main_thread()
        if Net.start is not None and aside and mine not in {thread for thread, _ in Net.seen}:
            Net.start.wait(60)
        Net.modes.append(torch.is_inference_mode_enabled())
        Net.seen += [(mine, image.numpy().tobytes()) for image in x]
        result: torch.Tensor = self.head(self.conv(x).relu().flatten(1))
        return result


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHUNK_ROWS", 4)
    Net.seen, Net.modes, Net.start = [], [], None


def run(stimuli: StimulusSet, folder: Path, devices: tuple[str, ...] = (), **options: Any) -> Spool:
    return extract(HookedModel(Net()), stimuli, SMALL, LAYERS, folder, devices=devices, **options)


def kernels(spool: Spool, stimuli: StimulusSet) -> list[np.ndarray]:
    return [from_spool(spool, layer, stimuli.stimulus_ids, key="", backend=Backend()).gram() for layer in LAYERS]


@pytest.mark.parametrize("n_devices", [2, 3])
def test_kernels_are_those_of_one_device_to_the_bit(stimuli: StimulusSet, tmp_path: Path, n_devices: int) -> None:
    one = kernels(run(stimuli, tmp_path / "one", batch_size=2), stimuli)
    Net.seen, Net.start = [], threading.Barrier(n_devices)
    reported: list[int] = []
    spool = run(
        stimuli,
        tmp_path / "two",
        ("cpu",) * n_devices,
        batch_size=2,
        progress=lambda done, of: reported.append(done),
    )
    for several, single in zip(kernels(spool, stimuli), one, strict=True):
        np.testing.assert_array_equal(several, single)
    images = Counter(image for _, image in Net.seen)
    assert len(images) == N
    assert set(images.values()) == {1}  # each stimulus once, on one of them
    assert len({thread for thread, _ in Net.seen}) == 1 + n_devices  # the first stimulus alone tells sizes
    assert all(Net.modes)  # inference mode, in threads too
    assert reported == sorted(reported)
    assert (reported[0], reported[-1]) == (0, N)


def test_what_several_began_one_ends(stimuli: StimulusSet, tmp_path: Path) -> None:
    whole = run(stimuli, tmp_path / "whole", batch_size=3)

    class Stop(Exception):
        pass

    def stop(done: int, of: int) -> None:
        if done > 15:
            raise Stop

    with pytest.raises(Stop):
        run(stimuli, tmp_path / "s", ("cpu", "cpu"), batch_size=3, progress=stop)
    left = Spool.open(tmp_path / "s", N, LAYERS)
    assert left is not None
    assert 0 < len(left.absent()) < left.n_chunks
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if t.name in ("cpu", "spool_0")]
    for devices in (("cpu", "cpu"), ()):
        ended = run(stimuli, tmp_path / "s", devices)
        assert ended.absent() == []
        for mine, other in zip(kernels(ended, stimuli), kernels(whole, stimuli), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_more_devices_than_chunks(stimuli: StimulusSet, tmp_path: Path) -> None:
    few = stimuli.subset(stimuli.stimulus_ids[:3])
    run(few, tmp_path / "s", ("cpu",) * 5, batch_size=2)
    assert len({thread for thread, _ in Net.seen}) == 1  # a single chunk: nothing is copied, no thread is started


@pytest.mark.parametrize("position", [6, 28])
def test_an_error_on_one_device_ends_all(stimuli: StimulusSet, tmp_path: Path, position: int) -> None:
    files = dict(zip(stimuli.stimulus_ids, stimuli.files, strict=True))
    files["s05"] = tmp_path / "broken.png"
    files["s05"].write_bytes(stimuli.files[5].read_bytes()[:-30])
    with pytest.raises(InputError, match="image of stimulus_id 's05' cannot be decoded"):
        run(StimulusSet.from_files(files), tmp_path / "s", ("cpu", "cpu"), batch_size=2)
    bad = SMALL(stimuli.image(position)).tobytes()

    class Fails(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            values = super().forward(x)
            values[[image.numpy().tobytes() == bad for image in x]] = torch.nan
            return values

    with pytest.raises(ModelError, match=rf"layer 'output' gives values .* stimulus_id 's{position:02d}'$"):
        extract(HookedModel(Fails()), stimuli, SMALL, LAYERS, tmp_path / "t", batch_size=2, devices=("cpu", "cpu"))
    assert not [t for t in threading.enumerate() if t.name in ("cpu", "spool_0")]


def test_the_pipeline_hands_its_devices_on(stimuli: StimulusSet, tmp_path: Path) -> None:
    from benchmark_core.pipeline import Pipeline
    from benchmark_core.resolution import Resolved
    from benchmark_core.specs import ModelSpec
    from benchmark_core.store import Store

    spec = ModelSpec(name="net", version=1, load=Net, layers=LAYERS, preprocessing=SMALL, weights="seeded")
    found = {}
    for devices in ((), ("cpu", "cpu")):
        pipeline = Pipeline(Store(tmp_path / str(len(devices))), Numerics(batch_size=2, devices=devices))
        held = pipeline.representations(Resolved(spec, "net", {}), "1", stimuli, LAYERS)
        found[devices] = held["output"]
    (one, of_one), (two, of_two) = found.values()
    assert one.key == two.key  # where it was computed is no part of what it is
    np.testing.assert_array_equal(one.gram(), two.gram())
    assert (of_one["device"], of_two["device"]) == ("cpu", "cpu,cpu")
