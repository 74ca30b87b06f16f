"""A model on one device: shapes, memory order, copies beside computing, memory that runs out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmark_core.errors import ModelError
from benchmark_core.extraction import numeric_policy, wrap
from benchmark_core.pipeline import candidate_layers
from benchmark_core.registry import Registry
from benchmark_core.replicas import Batch, ChunkOutputs, Replica, _finite_rows
from benchmark_core.resolution import import_target
from benchmark_core.torch_models import HookedModel, is_convolutional, seeded_globals
from plugins.models._expansion_network import WideExpansion5L


def images(n: int = 2, side: int = 8) -> torch.Tensor:
    return torch.randn((n, 3, side, side), generator=torch.Generator().manual_seed(n))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(80, 6))


class Custom:
    """A model by its own protocol."""

    def __init__(self, give: Any) -> None:
        self.give = give

    def features(self, images: torch.Tensor, layers: Sequence[str]) -> Mapping[str, torch.Tensor]:
        result: Mapping[str, torch.Tensor] = self.give(images)
        return result

    def to(self, device: str) -> None:
        pass


# Memory order

MODELS = (
    pytest.param("alexnet-untrained", marks=pytest.mark.slow),
    pytest.param("efficientnet-lite0", marks=pytest.mark.slow),
    pytest.param("vit-untrained", marks=pytest.mark.slow),
    "expansion5l:filters_2=5,filters_3=4,filters_4=6,filters=3",
    "expansion5l-norelu:filters_2=5,filters_3=4,filters_4=6,filters=3,shuffle_5=true",
    "torchvision/resnet18:weights=none,pool=avg2",
    "timm/vit_tiny_patch16_224:weights=none,class_token=false",
    "timm/convnext_atto:weights=none",
)


@pytest.mark.parametrize("identifier", MODELS)
def test_channels_last_changes_no_feature(identifier: str) -> None:
    """Same values in the same order (C, H, W), though maps lie otherwise in memory."""
    model = Registry.default().model(identifier)
    layers = candidate_layers(model)
    x = images(2, 224)
    found = []
    for channels_last in (False, True):
        with seeded_globals():
            wrapped = wrap(import_target(model.spec.load)(**model.parameters), identifier)
        replica = Replica(wrapped, "cpu", layers, fits=2, channels_last=channels_last)
        with numeric_policy("exact"):
            found.append(replica.forward(x))
        assert replica.format is (torch.channels_last if channels_last else torch.contiguous_format)  # no way back
    for layer in layers:
        usual, last = (features[layer] for features in found)
        size = float(usual.square().mean().sqrt())
        torch.testing.assert_close(last, usual, rtol=1e-4, atol=1e-4 * size)


def test_channels_last_reaches_input_and_weights() -> None:
    seen: list[bool] = []
    module = net()
    module[0].register_forward_hook(
        lambda m, x, y: seen.extend(t.is_contiguous(memory_format=torch.channels_last) for t in (x[0], m.weight, y))
    )
    plain = HookedModel(net()).features(images(), ["0", "2", "output"])
    replica = Replica(HookedModel(module), "cpu", ["0", "2", "output"], fits=2, channels_last=True)
    with numeric_policy("fast"):
        given = replica.forward(images())
    assert seen == [True, True, True]
    for layer, values in plain.items():
        assert given[layer].is_contiguous()
        torch.testing.assert_close(given[layer], values)


def test_a_module_that_needs_channels_first_gets_them() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.calls = nn.Conv2d(3, 4, 3), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.conv(x).view(len(x), -1)  # fails where channels are last

    module = Views()
    replica = Replica(HookedModel(module), "cpu", ["output"], fits=2, channels_last=True)
    with numeric_policy("fast"):
        first = replica.forward(images())["output"]
        assert module.calls == 2
        assert replica.format is torch.contiguous_format
        assert module.conv.weight.is_contiguous()
        torch.testing.assert_close(replica.forward(images())["output"], first)
    assert module.calls == 3  # known from then on
    torch.testing.assert_close(first, module.conv(images()).flatten(1))


def test_what_is_convolutional() -> None:
    assert is_convolutional(net())
    assert not is_convolutional(nn.Sequential(nn.Linear(3, 4), nn.Conv1d(2, 2, 1)))
    assert Replica(HookedModel(net()), "cpu", ["0"], "fast").format is torch.contiguous_format  # CPUs stay as they are


# A device that computes by itself, made up


class Stream:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


class FakeCuda:
    """Says what is asked of it; memory is what is noted with :meth:`use`."""

    def __init__(self, total: int = 10**9) -> None:
        self.log: list[str] = []
        self.streams: list[Stream] = []
        self.current = Stream(self.log, "computing")
        self.total, self.held, self.most = total, 1000, 0
        self.log_lock = threading.Lock()

    def Stream(self, device: str) -> Stream:
        self.streams.append(Stream(self.log, f"copies {len(self.streams)}"))
        return self.streams[-1]

    def stream(self, stream: Stream) -> Any:
        fake = self

        class Use:
            def __enter__(self) -> None:
                fake.log.append(f"on {stream.name}")

            def __exit__(self, *_: object) -> None:
                fake.log.append("off")

        return Use()

    def current_stream(self, device: str) -> Stream:
        return self.current

    def Event(self) -> Any:
        fake = self

        class Event:
            def record(self, stream: Stream) -> None:
                fake.log.append(f"event on {stream.name}")

            def synchronize(self) -> None:
                fake.log.append("wait for event")

        return Event()

    def use(self, size: int) -> None:
        if self.held + size > self.total:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.most = max(self.most, self.held + size)

    def memory_allocated(self, device: str) -> int:
        return self.held

    def memory_reserved(self, device: str) -> int:
        return self.held + 500

    def max_memory_allocated(self, device: str) -> int:
        return self.most

    def reset_peak_memory_stats(self, device: str) -> None:
        self.most = self.held

    def mem_get_info(self, device: str) -> tuple[int, int]:
        return self.total - self.held - 500, self.total

    def synchronize(self, device: str) -> None:
        self.log.append("synchronize")

    def empty_cache(self) -> None:
        self.log.append("empty")


def on_fake_gpu(model: Any, layers: Sequence[str], fake: FakeCuda, **options: Any) -> Replica:
    """Return a replica that takes the CPU for a GPU."""
    replica = Replica(model, "cpu", layers, **options)
    replica.is_gpu, replica._library = True, fake
    replica._inward, replica._outward = fake.Stream("cpu"), fake.Stream("cpu")
    return replica


def test_copies_wait_for_what_they_need_and_no_more() -> None:
    fake = FakeCuda()
    replica = on_fake_gpu(HookedModel(net()), ["output"], fake, fits=2)
    batches = iter([Batch(0, [0, 1], images(2)), Batch(0, [2], images(1)), Batch(1, [3], None)])
    chunk = ChunkOutputs(0, ["a", "b", "c"])
    with numeric_policy("exact"):
        sent = replica.sent_ahead(batches)
        first = next(sent)
        # The second batch is on its way before anything is computed.
        assert fake.log == ["on copies 0", "off", "computing waits for copies 0"] * 2
        fake.log.clear()
        assert first.images is not None
        given = replica.forward(first.images)
        assert fake.log == []  # computing waits for nobody
        arrival = replica.fetch(given, chunk)
        assert fake.log == ["copies 1 waits for computing", "on copies 1", "event on copies 1", "off"]
        assert not chunk.is_complete
        second = next(sent)
        assert second.images is not None
        replica.fetch(replica.forward(second.images), chunk)
        assert next(sent).images is None
        assert next(sent, None) is None
    assert chunk.is_complete
    arrival.synchronize()
    chunk.wait()
    chunk.check()
    with torch.no_grad():
        expected = torch.cat([net()(images(2)), net()(images(1))])
    torch.testing.assert_close(chunk.values["output"], expected)


def test_peaks_are_measured_and_memory_that_runs_out_is_told() -> None:
    fake = FakeCuda(total=100_000)

    def give(x: torch.Tensor) -> Mapping[str, torch.Tensor]:
        fake.use(5000 + 10_000 * len(x))
        return {"a": x.flatten(1)}

    replica = on_fake_gpu(Custom(give), ["a"], fake)
    besides = 2 * 4 * 3 * 64  # outputs and inputs of the next batch
    assert replica.peak(images(1)) == 15_000 + besides
    assert replica.peak(images(4)) == 45_000 + 4 * besides
    assert replica.peak(images(10)) is None
    assert replica.free_memory() == 100_000 - 1000

    def other(x: torch.Tensor) -> Mapping[str, torch.Tensor]:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        on_fake_gpu(Custom(other), ["a"], fake).peak(images(1))


def test_memory_is_given_back_before_half_a_batch_is_tried() -> None:
    fake = FakeCuda(total=30_000)

    def give(x: torch.Tensor) -> Mapping[str, torch.Tensor]:
        fake.use(10_000 * len(x))
        return {"a": x.flatten(1)}

    replica = on_fake_gpu(Custom(give), ["a"], fake, fits=4)
    x = images(7)
    torch.testing.assert_close(replica.forward(x)["a"], x.flatten(1))
    assert replica.fits == 2
    assert fake.log == ["synchronize", "empty"]
    with pytest.raises(ModelError, match="one stimulus does not fit into the memory of cpu"):
        on_fake_gpu(Custom(lambda x: fake.use(10**6)), ["a"], fake).forward(x)


# Copies of a model


def test_a_copy_computes_the_same() -> None:
    replica = Replica(HookedModel(net()), "cpu", ["0", "output"], "fast", fits=3, channels_last=True)
    with numeric_policy("fast"):
        first = replica.forward(images())
        twin = replica.copy_to("cpu")
        again = twin.forward(images())
    assert (twin.fits, twin.precision, twin.format) == (3, "fast", torch.channels_last)
    assert isinstance(twin.model, HookedModel)
    assert isinstance(replica.model, HookedModel)
    assert twin.model.module is not replica.model.module
    for layer in first:
        assert torch.equal(first[layer], again[layer])
    (weight, *_), (other, *_) = replica.model.module.parameters(), twin.model.module.parameters()
    assert weight.data_ptr() != other.data_ptr()
    assert not other.is_inference()


def test_a_wide_model_is_copied_with_the_weights_it_has_made() -> None:
    from plugins.models.expansion import PARAMETERS

    parameters: dict[str, Any] = {p.name: p.default for p in PARAMETERS}
    wide = WideExpansion5L(**{**parameters, "filters_2": 3, "filters_3": 3, "filters_4": 4, "filters": 50})

    class Stem:
        def __init__(self, model: Any) -> None:
            self.model = model

        def features(self, x: torch.Tensor, layers: Sequence[str]) -> Mapping[str, torch.Tensor]:
            return {"stem": self.model.stem(x)}

        def to(self, device: str) -> Any:
            self.model.to(device)
            return self

    replica = Replica(Stem(wide), "cpu", ["stem"])
    with numeric_policy("exact"):
        first = replica.forward(images(1, 224))
        twin = replica.copy_to("cpu")
        copied: Any = twin.model
        assert copied.model._network is not None
        assert torch.equal(twin.forward(images(1, 224))["stem"], first["stem"])


def test_a_model_that_cannot_be_copied() -> None:
    model: Any = Custom(lambda x: {"a": x})
    model.lock = threading.Lock()
    with pytest.raises(
        ModelError, match=r"the model cannot be copied to cuda:1 \(TypeError: .*\); name a single device"
    ):
        Replica(model, "cpu", ["a"]).copy_to("cuda:1")


# Outputs of a chunk


def test_values_that_are_not_finite_are_named_when_all_are_there() -> None:
    replica = Replica(Custom(lambda x: {}), "cpu", ["a", "b"])
    chunk = ChunkOutputs(3, [f"s{i}" for i in range(6)])
    values = np.zeros((6, 5), dtype=np.float32)
    values[[1, 4], [2, 0]] = np.nan, np.inf
    for rows in (slice(0, 2), slice(2, 6)):
        replica.fetch({"a": torch.zeros(6, 2)[rows], "b": torch.from_numpy(values)[rows]}, chunk)
    chunk.wait()
    np.testing.assert_array_equal(chunk.values["b"].numpy(), values)
    with pytest.raises(ModelError, match=r"^layer 'b' gives values that are not finite for stimulus_id 's1', 's4'$"):
        chunk.check()


@pytest.mark.parametrize("place", [0, 5, -1])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_row_is_finite_if_all_of_it_is(place: int, value: float) -> None:
    """The largest numbers are; one that is not, at either end of a row or within, is found, whatever stands beside it."""
    values = torch.full((4, 37), torch.finfo(torch.float32).max)
    values[1] *= -1
    values[2, place] = value
    assert _finite_rows(values).tolist() == [True, True, False, True]
    values[2, 20] = float("nan")
    assert _finite_rows(values).tolist() == [True, True, False, True]
    assert _finite_rows(torch.empty(3, 0)).tolist() == [True] * 3
