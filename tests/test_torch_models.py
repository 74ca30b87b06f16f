"""Layers of a torch module, read by hooks: what plain forward passes give, and clear errors."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmark_core.errors import InputError, ModelError
from benchmark_core.torch_models import HookedModel, flatten, seeded_globals


def images(n: int = 3) -> torch.Tensor:
    return torch.randn((n, 3, 8, 8), generator=torch.Generator().manual_seed(1))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Sequential(nn.Conv2d(4, 5, 3), nn.Dropout(0.5)), nn.Flatten(), nn.Linear(80, 6)
    )  # fmt: skip


def test_layers_are_what_forward_computes() -> None:
    plain = net().eval()
    with torch.no_grad():
        x0 = plain[0](images())
        x2 = plain[2](torch.relu(x0))
        x4 = plain[4](x2.flatten(1))
    model = HookedModel(net().train())
    assert not model.module.training  # no dropout
    assert not any(p.requires_grad for p in model.module.parameters())
    with torch.inference_mode():
        read = model.features(images(), ["2.0", "0", "output", "4", "2"])
    assert list(read) == ["2.0", "0", "output", "4", "2"]
    # Layer 0 is read before the in-place nonlinearity behind it changes the same memory.
    expected = {"0": x0, "2": x2, "2.0": x2, "4": x4, "output": x4}
    for layer, values in read.items():
        assert values.dtype == torch.float32
        assert values.is_contiguous()
        torch.testing.assert_close(values, expected[layer].flatten(1), rtol=0, atol=0)
    assert (read["0"] < 0).any()
    # No hook stays behind.
    assert all(not m._forward_hooks for m in model.module.modules())


def test_forward_ends_after_the_last_layer() -> None:
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("never reached")

    model = HookedModel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Fails()))
    assert list(model.features(images(), ["1", "0"])) == ["1", "0"]
    assert list(model.features(images(), ["0", "0"])) == ["0"]
    with pytest.raises(AssertionError, match="never reached"):
        model.features(images(), ["0", "output"])
    assert all(not m._forward_hooks for m in model.module.modules())


def test_a_model_that_catches_exceptions_cannot_stop_the_end() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ReLU()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(3):
                self.calls += 1
                try:
                    added: torch.Tensor = self.inner(x) + self.inner(x)
                    return added
                except Exception:  # "try again"
                    continue
            raise RuntimeError("gave up")

    module = Stubborn()
    assert HookedModel(module).features(images(), ["inner"])["inner"].shape == (3, 192)
    assert module.calls == 1


def test_a_module_called_twice_is_read_at_its_first_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            doubled: torch.Tensor = self.same(self.same(x) * 2)
            return doubled

    read = HookedModel(Twice()).features(images(), ["same", "output"])
    torch.testing.assert_close(read["same"], images().flatten(1))
    torch.testing.assert_close(read["output"], 2 * images().flatten(1))


def test_one_module_under_two_names() -> None:
    shared = nn.ReLU()
    model = HookedModel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(shared), shared))
    read = model.features(images(), ["1.0", "2", "1"])
    torch.testing.assert_close(read["1.0"], read["2"])


def test_a_layer_that_is_never_reached() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.ReLU(), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            used: torch.Tensor = self.used(x)
            return used

    with pytest.raises(ModelError, match="layer 'spare' was never reached in forward"):
        HookedModel(Unused()).features(images(), ["used", "spare"])


def test_unknown_layers_suggest_known_ones() -> None:
    model = HookedModel(nn.Sequential(nn.ModuleDict({"layer1": nn.ReLU(), "layer2": nn.ReLU()})))
    with pytest.raises(InputError, match=r"the model has no layer '0\.layer3'\. Did you mean 0\.layer"):
        model.features(images(), ["0.layer3"])
    with pytest.raises(InputError, match=r"no layer 'q'\. It has 0, 0\.layer1, 0\.layer2, output\."):
        model.check_layers(["output", "q"])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ((torch.zeros(2, 3),), "layer 'a' returns tuple, not a tensor; choose a module inside it"),
        ({"x": torch.zeros(2)}, "layer 'a' returns dict"),
        (None, "layer 'a' returns NoneType"),
        (torch.tensor(1.0), "layer 'a' returns a single number"),
    ],
)
def test_outputs_that_are_no_tensors(output: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        flatten(output, "a")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_any_kind_of_number_becomes_float32(dtype: torch.dtype) -> None:
    output = torch.tensor([[[0, 1], [1, 1]]], dtype=dtype).transpose(1, 2)
    values = flatten(output, "a")
    assert values.dtype == torch.float32
    assert values.tolist() == [[0, 1, 1, 1]]


def test_flattening_copies() -> None:
    output = torch.zeros(2, 3)
    values = flatten(output, "a")
    output += 1
    assert values.sum() == 0
    assert flatten(torch.zeros(4), "a").shape == (4, 1)
    assert flatten(torch.zeros(4, 0, 2), "a").shape == (4, 0)


def test_seeded_globals() -> None:
    def draw() -> tuple[float, float, float]:
        return torch.rand(()).item(), float(np.random.rand()), random.random()  # noqa: NPY002

    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    first = draw()
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    with seeded_globals():
        inside = draw()
    assert draw() == first  # as if nothing had happened in between
    with seeded_globals():
        assert draw() == inside
    with seeded_globals(1):
        assert draw() != inside
    with pytest.raises(ZeroDivisionError), seeded_globals():
        raise ZeroDivisionError
