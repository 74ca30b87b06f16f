"""Pass 1: every stimulus is forwarded once, whatever the batch; failures name the layer and the stimulus."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter, namedtuple
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from benchmark_core import extraction as room
from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError, MissingDataError, ModelError
from benchmark_core.extraction import Precision, check_disk, cut, extract, numeric_policy, probe, wrap
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.replicas import Replica
from benchmark_core.representation import from_spool
from benchmark_core.spool import Spool
from benchmark_core.stimuli import StimulusSet
from benchmark_core.torch_models import HookedModel

SIDE = 8
SMALL = Preprocessing(size=(SIDE, SIDE), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
N = 11


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> StimulusSet:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.Generator(np.random.Philox(7))
    files = {}
    for i in range(N):
        files[f"s{i:02d}"] = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(files[f"s{i:02d}"])
    return StimulusSet.from_files(files)


class Net(nn.Module):
    """Two convolutions and a dense layer; notes every stimulus that it is given, by its pixels."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.conv1, self.relu, self.conv2 = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3)
        self.head = nn.Linear(6 * (SIDE - 4) ** 2, 5)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.seen: list[bytes] = []
        self.batches: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(x))
        self.seen += [image.numpy().tobytes() for image in x]
        output: torch.Tensor = self.head(self.conv2(self.relu(self.conv1(x))).flatten(1))
        return output


LAYERS = ("conv1", "relu", "conv2", "output")


def inputs(stimuli: StimulusSet) -> torch.Tensor:
    return torch.stack([torch.from_numpy(SMALL(stimuli.image(i))) for i in range(len(stimuli))])


def matrix(spool: Spool, layer: str) -> np.ndarray:
    return np.concatenate([block.copy() for _, block in spool.blocks(layer)], axis=1)


def run(model: Any, stimuli: StimulusSet, folder: Path, layers: Sequence[str] = LAYERS, **options: Any) -> Spool:
    wrapped = model if hasattr(model, "features") else HookedModel(model)
    return extract(wrapped, stimuli, SMALL, layers, folder, **options)


class Custom:
    """A model by its own protocol; ``give`` makes its features."""

    def __init__(self, give: Callable[[torch.Tensor], Any]) -> None:
        self.give = give
        self.batches: list[int] = []

    def features(self, images: torch.Tensor, layers: Sequence[str]) -> Mapping[str, torch.Tensor]:
        self.batches.append(len(images))
        result: Mapping[str, torch.Tensor] = self.give(images)
        return result

    def to(self, device: str) -> None:
        pass


# What is extracted


def test_equals_a_plain_forward_pass(stimuli: StimulusSet, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    spool = run(Net(), stimuli, tmp_path / "s", progress=lambda done, of: seen.append((done, of)))
    plain = Net()
    x = inputs(stimuli)
    with torch.no_grad():
        conv1 = plain.conv1(x)
        relu = torch.relu(conv1)
        conv2 = plain.conv2(relu)
        expected = {"conv1": conv1, "relu": relu, "conv2": conv2, "output": plain.head(conv2.flatten(1))}
    assert (expected["conv1"] < 0).any()  # read before the nonlinearity overwrote it
    for layer, values in expected.items():
        np.testing.assert_allclose(matrix(spool, layer), values.flatten(1).numpy(), rtol=1e-5, atol=1e-5)
    assert seen[0] == (0, N)
    assert seen[-1] == (N, N)
    assert seen == sorted(seen)
    assert spool.seconds > 0


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 16])
def test_each_stimulus_is_forwarded_once_for_all_layers(
    stimuli: StimulusSet, tmp_path: Path, batch_size: int | None
) -> None:
    net = Net()
    run(net, stimuli, tmp_path / "s", batch_size=batch_size)
    assert Counter(net.seen) == Counter(x.numpy().tobytes() for x in inputs(stimuli))
    run(net, stimuli, tmp_path / "s", batch_size=batch_size)  # all there
    assert len(net.seen) == N


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 40))
def test_cuts_hold_every_position_once(start: int, length: int, batch_size: int) -> None:
    cuts = cut(range(start, start + length), batch_size)
    assert [i for positions in cuts for i in positions] == list(range(start, start + length))
    assert all(1 <= len(positions) <= batch_size for positions in cuts)
    assert len(cuts) <= -(-length // batch_size) + 1
    if start == 0:
        assert cuts[0] == [0]


def test_no_batch_size_changes_a_representation(stimuli: StimulusSet, tmp_path: Path) -> None:
    kernels = {}
    for batch_size in (1, 2, 3, 5, N - 1, N, N + 1):
        spool = run(Net(), stimuli, tmp_path / str(batch_size), ("conv2",), batch_size=batch_size)
        kernels[batch_size] = from_spool(spool, "conv2", stimuli.stimulus_ids, key="", backend=Backend()).gram()
    scale = np.abs(kernels[1]).max()
    for kernel in kernels.values():
        np.testing.assert_allclose(kernel, kernels[1], rtol=0, atol=1e-6 * scale)


def test_an_interrupted_extraction_goes_on_at_the_chunk(
    stimuli: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CHUNK_ROWS", 4)
    whole = run(Net(), stimuli, tmp_path / "whole", batch_size=2)

    class Stop(Exception):
        pass

    def stop(done: int, of: int) -> None:
        if done == 6:  # in the middle of the second chunk
            raise Stop

    with pytest.raises(Stop):
        run(Net(), stimuli, tmp_path / "s", batch_size=2, progress=stop)
    net, seen = Net(), []
    resumed = run(net, stimuli, tmp_path / "s", progress=lambda done, of: seen.append(done))
    assert seen[0] == 4
    assert len(net.seen) == N - 4
    assert max(net.batches) == 2  # cut where the first run cut, without being told again
    for layer in LAYERS:
        np.testing.assert_array_equal(matrix(resumed, layer), matrix(whole, layer))


def test_global_generators_are_left_alone(stimuli: StimulusSet, tmp_path: Path) -> None:
    net = Net()
    before = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    run(net, stimuli, tmp_path / "s", batch_size=2)  # enough batches for worker processes
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(legacy=False), before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    assert not torch.is_inference_mode_enabled()


def test_the_numeric_policy_is_put_back() -> None:
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    policies: dict[Precision, bool] = {"exact": False, "fast": True}
    for precision, allowed in policies.items():
        with numeric_policy(precision):
            assert [flag.allow_tf32 for flag in flags] == [allowed, allowed]
            assert torch.is_inference_mode_enabled()
        assert [flag.allow_tf32 for flag in flags] == before


# The first forward pass


def test_what_the_first_forward_pass_tells(stimuli: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    Memory = namedtuple("Memory", "available")
    sizes = {"conv1": 4 * 36, "relu": 4 * 36, "conv2": 6 * 16, "output": 5}
    needed = 2 * 4 * sum(sizes.values()) + 4 * sum(sizes.values()) + 4 * 3 * SIDE**2
    for available, batch_size in ((4 * needed * 5, 4), (4 * needed * 8, 8), (10**12, 16), (1, 1)):
        monkeypatch.setattr("psutil.virtual_memory", lambda available=available: Memory(available))
        net = Net()
        plan = probe(Replica(HookedModel(net), "cpu", LAYERS), stimuli, SMALL)
        assert plan.n_features == sizes
        assert plan.batch_size == batch_size
        assert plan.n_values == N * sum(sizes.values())
        assert net.batches == [1]
        assert all(not m._forward_hooks for m in net.modules())
    assert probe(Replica(HookedModel(Net()), "cpu", LAYERS), stimuli, SMALL, 7).batch_size == 7


@pytest.mark.parametrize(("grown", "batch_size"), [(0, 16), (10**8, 16), (10**9, 4), (8 * 10**9, 1)])
def test_memory_that_no_hook_sees_counts(
    stimuli: StimulusSet, monkeypatch: pytest.MonkeyPatch, grown: int, batch_size: int
) -> None:
    Memory = namedtuple("Memory", "available rss")
    monkeypatch.setattr("psutil.virtual_memory", lambda: Memory(2 * 10**10, 0))
    monkeypatch.setattr("psutil.Process.memory_info", lambda self: Memory(0, 3 * 10**9))
    peaks = iter([3 * 10**9, 3 * 10**9 + grown])
    monkeypatch.setattr(room, "peak_rss", lambda: next(peaks))
    assert probe(Replica(HookedModel(Net()), "cpu", LAYERS), stimuli, SMALL).batch_size == batch_size


def test_the_spool_must_fit_on_the_disk(stimuli: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12 - 10**9, 10**9))
    check_disk(tmp_path / "not" / "yet", 10**9)
    with pytest.raises(InputError, match=r"the spool needs 2\.5 GB but .* has 1\.0 GB free; set BENCH_CACHE"):
        check_disk(tmp_path / "not" / "yet", 2_500_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12, 0))
    with pytest.raises(InputError, match="the spool needs"):
        run(Net(), stimuli, tmp_path / "s")
    assert not (tmp_path / "s").exists()


# Memory that runs out


@pytest.mark.parametrize("kind", [torch.cuda.OutOfMemoryError, RuntimeError, MemoryError])
def test_batches_are_halved_when_memory_runs_out(stimuli: StimulusSet, tmp_path: Path, kind: type[Exception]) -> None:
    def give(images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        if len(images) > 2:
            raise kind("CUDA out of memory. Tried to allocate 2 GiB")
        return {"a": images.flatten(1)}

    model = Custom(give)
    spool = run(model, stimuli, tmp_path / "s", ("a",), batch_size=8)
    np.testing.assert_array_equal(matrix(spool, "a"), inputs(stimuli).flatten(1).numpy())
    # The first alone; then 7 and 4 do not fit, 2 do; from then on never more than 2 are tried.
    assert model.batches == [1, 7, 4, 2, 2, 2, 1, 2, 1]


def test_memory_for_one_stimulus_is_needed(stimuli: StimulusSet, tmp_path: Path) -> None:
    def give(images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(ModelError, match="one stimulus does not fit into the memory of cpu"):
        run(Custom(give), stimuli, tmp_path / "s", ("a",))


def test_other_errors_of_a_model_are_its_own(stimuli: StimulusSet, tmp_path: Path) -> None:
    def give(images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(Custom(give), stimuli, tmp_path / "s", ("a",))


# Outputs that cannot be used


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_values_that_are_not_finite_name_layer_and_stimulus(stimuli: StimulusSet, tmp_path: Path, value: float) -> None:
    bad = inputs(stimuli)[6]

    def give(images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        values = images.flatten(1).double()
        values[[bool(torch.equal(image, bad)) for image in images], 5] = value
        return {"good": images, "bad": values}

    with pytest.raises(ModelError, match=r"^layer 'bad' gives values that are not finite for stimulus_id 's06'$"):
        run(Custom(give), stimuli, tmp_path / "s", ("good", "bad"), batch_size=4)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda x: {"a": x.flatten(1)[:1].repeat(3, 1)}, r"layer 'a' has shape \(3, 192\) for a batch of 1"),
        (lambda x: {"a": x.flatten(1)[:1]}, r"layer 'a' has shape \(1, 192\) for a batch of 2; expected \(2, features\)"),
        (lambda x: {"a": torch.tensor(3.0)}, r"layer 'a' has shape \(\) for a batch of 1"),
        (lambda x: {"a": x[:, :0]}, "layer 'a' has no features"),
        (lambda x: {"b": x}, r"features\(\) returned no layer 'a'"),
        (lambda x: x, r"features\(\) returned Tensor, not a mapping"),
        (
            lambda x: {"a": x.flatten(1)[:, : 4 if len(x) == 1 else 5]},
            "layer 'a' gives 5 features from stimulus_id 's01' on and 4 before; a layer needs one size",
        ),
    ],
)  # fmt: skip
def test_wrong_shapes(stimuli: StimulusSet, tmp_path: Path, give: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        run(Custom(give), stimuli, tmp_path / "s", ("a",), batch_size=3)


def test_any_shape_and_kind_of_number_is_flattened(stimuli: StimulusSet, tmp_path: Path) -> None:
    spool = run(
        Custom(lambda x: {"four": x.double(), "one": x.sum(dim=(1, 2, 3)), "array": x.numpy() > 0}),
        stimuli,
        tmp_path / "s",
        ("four", "one", "array"),
        batch_size=4,
    )
    x = inputs(stimuli)
    np.testing.assert_array_equal(matrix(spool, "four"), x.flatten(1).numpy())
    np.testing.assert_allclose(matrix(spool, "one"), x.sum(dim=(1, 2, 3))[:, None].numpy(), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(matrix(spool, "array"), (x > 0).flatten(1).numpy())


def test_layers_that_cannot_be_read(stimuli: StimulusSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model has no layer 'conv3'"):
        run(Net(), stimuli, tmp_path / "s", ("conv3",))
    with pytest.raises(InputError, match="batch size 0 is not allowed"):
        run(Net(), stimuli, tmp_path / "s", batch_size=0)
    assert not (tmp_path / "s").exists()


def test_what_load_may_return() -> None:
    assert isinstance(wrap(nn.ReLU(), "m"), HookedModel)
    custom = Custom(lambda x: {})
    assert wrap(custom, "m") is custom
    for wrong in (None, lambda x: x, object(), {"features": 1}):
        with pytest.raises(
            ModelError, match=r"model 'm': load\(\) returned \w+; expected a torch\.nn\.Module or an object"
        ):
            wrap(wrong, "m")


# Images that cannot be used


def with_image(stimuli: StimulusSet, tmp_path: Path, position: int, content: bytes | None) -> StimulusSet:
    files = dict(zip(stimuli.stimulus_ids, stimuli.files, strict=True))
    path = files[stimuli.stimulus_ids[position]] = tmp_path / "special.jpg"
    path.write_bytes(content or b"to be removed")
    made = StimulusSet.from_files(files)
    if content is None:
        path.unlink()
    return made


def jpeg(size: int = 40) -> bytes:
    import io

    file = io.BytesIO()
    pixels = np.random.Generator(np.random.Philox(1)).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="JPEG")
    return file.getvalue()


@pytest.mark.parametrize("position", [0, 9])  # in the first forward pass, and in a worker process
def test_a_truncated_jpeg_is_one_line(stimuli: StimulusSet, tmp_path: Path, position: int) -> None:
    broken = with_image(stimuli, tmp_path, position, jpeg()[:-500])
    with pytest.raises(
        InputError, match=f"image of stimulus_id 's{position:02d}' cannot be decoded: .*truncated"
    ) as caught:
        run(Net(), broken, tmp_path / "s", batch_size=2)
    assert "\n" not in str(caught.value)
    gone = with_image(stimuli, tmp_path, position, None)
    with pytest.raises(MissingDataError, match=f"image of stimulus_id 's{position:02d}' is missing"):
        run(Net(), gone, tmp_path / "t", batch_size=2)


@pytest.mark.parametrize("position", [0, 9])
def test_an_image_that_preprocessing_refuses_is_named(stimuli: StimulusSet, tmp_path: Path, position: int) -> None:
    import io

    file = io.BytesIO()
    Image.new("F", (8, 8)).save(file, format="TIFF")
    odd = with_image(stimuli, tmp_path, position, file.getvalue())
    before = set(multiprocessing.active_children())
    with pytest.raises(
        InputError, match=f"stimulus_id 's{position:02d}': images of mode 'F' have no agreed range"
    ) as caught:
        run(Net(), odd, tmp_path / "s", batch_size=2)
    assert caught.tb is not None  # which holds on to everything that was there, but to no worker process
    assert set(multiprocessing.active_children()) <= before


def test_a_plugins_own_preprocessing_may_fail(stimuli: StimulusSet, tmp_path: Path) -> None:
    class Fails(Preprocessing):
        def __call__(self, image: Image.Image) -> np.ndarray:
            raise ZeroDivisionError("mine")

    with pytest.raises(ModelError, match=r"preprocessing of stimulus_id 's00' failed \(ZeroDivisionError: mine\)"):
        extract(HookedModel(Net()), stimuli, Fails(), ("output",), tmp_path / "s")
