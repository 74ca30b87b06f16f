"""What ``check_model`` says of a module: layers and sizes against plain forward passes, and every kind of trouble."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from benchmark_core import InputError, ModelCheck, ModelError, check_model

SMALL = {"size": 12}


class Branches(nn.Module):
    """Every kind of layer that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.same = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.spare = nn.Linear(2, 2)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.noise = nn.Identity()
        self.batch = nn.BatchNorm2d(4, track_running_stats=False)
        self.mixed = nn.Identity()
        self.log = nn.Softplus()
        self.total = nn.Identity()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.same(self.same(self.conv(x)) - 0.1)
        self.pool(x)
        self.noise(nn.functional.dropout(x))
        self.batch(x)
        self.mixed(x.flatten(0, 1))
        self.log(-x.mean() * torch.inf * torch.ones(len(x), 2) * 0)
        self.total(x.sum())
        normed: torch.Tensor = self.norm(x)
        return normed


def test_layers_shapes_and_sizes_are_those_of_a_forward_pass() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(400, 5)).train()
    rng = torch.get_rng_state()
    check = check_model(net, SMALL)
    assert torch.equal(torch.get_rng_state(), rng)
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(not m._forward_hooks for m in net.modules())
    assert isinstance(check, ModelCheck)
    assert check.readable == ("0", "1", "2", "3", "output")
    x = torch.zeros(1, 3, 12, 12)
    for name, part in net.named_children():
        x = part(x)
        layer = check[name]
        assert (layer.shape, layer.n_features, layer.kind) == (tuple(x.shape[1:]), x.numel(), type(part).__name__)
    assert check["output"].shape == (5,)
    assert check["0"].mb_per_stimulus == 4 * 400 / 1e6
    assert check["0"].spool_bytes(640) == 640 * 400 * 4
    assert check["0"].kernel_bytes(640) == 640 * 400 * 8  # narrower than the stimuli are many: the features
    assert check["0"].kernel_bytes(320) == 320 * 320 * 8  # else inner products
    assert check.n_parameters == sum(p.numel() for p in net.parameters())
    assert check.weights_bytes == 4 * check.n_parameters
    assert (check.deterministic, check.independent, check.finite) == (True, True, True)
    assert check.input_shape == (3, 12, 12)
    assert check.problems == ()


def test_every_kind_of_trouble_is_named() -> None:
    check = check_model(Branches(), SMALL)
    assert check.readable == ("conv", "same", "norm", "output")
    assert check["same"].calls == 2
    assert check.unreadable == {
        "spare": "is never reached in forward",
        "pool": "returns tuple, not a tensor; choose a module inside it",
        "noise": "gives other values for the same image each time",
        "batch": "depends on the other images of the batch",
        "mixed": "has shape (8, 10, 10) for a batch of 2: its first dimension is not the batch",
        "log": "gives values that are not finite",
        "total": "returns a single number for a whole batch",
    }
    assert (check.deterministic, check.independent, check.finite) == (False, False, False)
    shown = str(check)
    assert repr(check) == shown
    assert "deterministic: NO, independent of the batch: NO, finite: NO" in shown
    assert "called more than once, the first call is read: same" in shown
    assert "cannot be read, is never reached in forward: spare" in shown


def test_the_table_and_its_html() -> None:
    check = check_model(nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU()), None)
    lines = str(check).splitlines()
    (row,) = [line.split() for line in lines if line.startswith("0 ")]
    assert row[:7] == ["0", "Conv2d", "8", "x", "220", "x", "220"]
    assert row[7:] == ["387200", "1.549", "991", "MB", "4.96", "GB", "3.28", "MB", "81.9", "MB"]
    assert "input 3 x 224 x 224" in lines[0]
    assert check.identifier is not None
    assert any(check.identifier in line for line in lines)
    shown = check._repr_html_()
    assert shown.count("<tr>") == 4
    assert "<td" in shown
    assert "387200" in shown


def test_names_are_escaped_in_html() -> None:
    net = nn.Sequential()
    net.add_module("<b>", nn.ReLU())
    assert "<b>" not in check_model(net, SMALL)._repr_html_()
    assert "&lt;b&gt;" in check_model(net, SMALL)._repr_html_()


def test_inputs_of_ones_own() -> None:
    check = check_model(nn.Linear(7, 2).half(), batch=torch.zeros(3, 7))
    assert check.input_shape == (7,)
    assert check["output"].shape == (2,)
    assert check.dtype == "float16"
    assert check_model(nn.ReLU(), SMALL, batch=5).dtype == "float32"
    for batch in (1, 0, -1, torch.zeros(1, 7)):
        with pytest.raises(InputError, match="batch is a number of images of at least 2, or a tensor"):
            check_model(nn.Linear(7, 2), batch=batch)


def test_a_module_that_cannot_be_keyed_is_still_checked() -> None:
    net = nn.Sequential(nn.ReLU())
    net.source = (i for i in range(3))
    net.lock = threading.Lock()  # nor copied
    check = check_model(net.train(), SMALL)
    assert net.training
    assert check.identifier is None
    assert check.readable == ("0", "output")
    assert "problem: module Sequential cannot be given a key: module Sequential.source is a generator" in str(check)


@pytest.mark.parametrize(
    ("module", "options", "error", "message"),
    [
        (
            nn.Conv2d(1, 2, 3),
            {},
            ModelError,
            r"fails on an input of shape \(2, 3, 12, 12\) \(RuntimeError: .* 1 channels",
        ),
        (nn.BatchNorm1d(3), {}, ModelError, r"fails on an input of shape \(2, 3, 12, 12\) \(ValueError: expected 2D"),
        (nn.Flatten, {}, InputError, "Flatten is a class"),
        (nn.Linear(2, 2, device="meta"), {}, InputError, "meta device"),
        (nn.LazyLinear(2), {}, InputError, "not initialised yet"),
        ("alexnet", {}, InputError, "str is neither an identifier nor a torch.nn.Module"),
        (nn.ReLU(), {"preprocessing": {"crop": 3}}, InputError, "preprocessing has no setting 'crop'"),
    ],
)
def test_bad_input(module: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        check_model(module, **{"preprocessing": SMALL} | options)
    assert "\n" not in str(raised.value)
