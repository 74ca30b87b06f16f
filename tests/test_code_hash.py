"""What enters the hash of a module's code and weights: everything that changes its outputs, and nothing else."""

from __future__ import annotations

import copy
import importlib.util
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import transforms

from benchmark_core.code_hash import code_hash
from benchmark_core.code_origin import is_library_file, library_name
from benchmark_core.errors import InputError
from benchmark_core.weights_hash import weights_hash

NETS = '''
import functools

import torch
import torch.nn.functional as F
from torch import nn

SCALE = 2.0
KINDS = {"a", "b", "c", "d", "e"}
LOW, HIGH = 0, 9


def halve(x):
    return x / SCALE


def above(least):
    return lambda x: F.threshold(x, least, 0.0)


class Block(nn.Module):
    GAIN = 3

    def __init__(self, stride=2):
        super().__init__()
        self.stride, self.mode, self.sizes = stride, "valid", (1, 2)
        self.table = {"b": [1, 2.5], "a": None}
        self.names = {"red", "green", "blue", "grey"}
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.rectify = above(0.1)
        self.register_buffer("shift", torch.ones(1), persistent=False)
        self.after = functools.partial(torch.mul, other=2)

    @torch.no_grad()
    def forward(self, x):
        """Convolve."""
        x = self.rectify(halve(self.conv(x))[:, :, :: self.stride])  # every other row
        if self.mode in {"valid", "same", "full"}:
            x = x * self.GAIN + len(KINDS)
        return self.after(x) + self.shift

    @property
    def wide(self):
        return super().__repr__()


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(Block(), nn.ReLU(), nn.Flatten())


def build():
    torch.manual_seed(0)
    net = Net()
    net.register_forward_hook(lambda module, inputs, output: output + LOW)
    return net
'''


def load(source: str, folder: Path, name: str = "nets") -> ModuleType:
    """Write a module to a file and import it anew."""
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), module.__dict__)  # no cache of bytecode
    return module


def build(folder: Path, *changes: tuple[str, str]) -> nn.Module:
    """Build the network from its source, with words replaced."""
    source = NETS
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    net = load(source, folder).build()
    assert isinstance(net, nn.Module)
    return net


def hashes(net: nn.Module) -> tuple[str, str]:
    return code_hash(net, "net", weights=False), weights_hash(net)


def test_another_process_gives_the_same_hashes(tmp_path: Path) -> None:
    here = hashes(build(tmp_path))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from nets import build\n"
        "from benchmark_core.code_hash import code_hash; from benchmark_core.weights_hash import weights_hash\n"
        "net = build().train(); print(code_hash(net, 'net', weights=False), weights_hash(net))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, env=environment
    )
    assert tuple(done.stdout.split()) == here


@pytest.mark.parametrize(
    "change",
    [
        ("# every other row", "# rows"),
        ("SCALE = 2.0\n", "SCALE = 2.0\n\n\nUNUSED = 1\n\n"),
        ("LOW, HIGH = 0, 9", "LOW, HIGH = 0, 10"),
        ('{"a", "b", "c", "d", "e"}', '{"e", "d", "c", "b", "a"}'),
    ],
)
def test_comments_layout_and_what_is_not_used_change_nothing(tmp_path: Path, change: tuple[str, str]) -> None:
    assert hashes(build(tmp_path, change)) == hashes(build(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        ("x * self.GAIN", "x + self.GAIN"),  # a line of forward
        ("return x / SCALE", "return x / SCALE / 2"),  # a function that forward calls
        ("SCALE = 2.0", "SCALE = 2.5"),  # a global that this function reads
        ("GAIN = 3", "GAIN = 4"),  # an attribute of the class
        ("above(0.1)", "above(0.2)"),  # a value in a closure
        ("stride=2", "stride=1"),  # attributes of the instance
        ('"valid", (1, 2)', '"same", (1, 2)'),
        ("(1, 2)", "(2, 1)"),
        ("[1, 2.5]", "[1, 2.25]"),
        ('"blue", "grey"', '"blue", "gray"'),
        ("other=2", "other=3"),
        ('{"valid", "same", "full"}', '{"valid", "same"}'),  # a set among a function's constants
        ("output + LOW", "output - LOW"),  # a hook
        ("LOW, HIGH = 0", "LOW, HIGH = 1"),  # what the hook reads
        ("nn.ReLU(), nn.Flatten()", "nn.GELU(), nn.Flatten()"),  # a library's module
        ("nn.ReLU(), nn.Flatten()", "nn.Flatten(), nn.ReLU()"),  # the order of modules
        ("@torch.no_grad()", "@torch.inference_mode()"),
        ("super().__repr__()", "super().__str__()"),
        ('{"a", "b", "c", "d", "e"}', '{"a", "b", "c", "d"}'),
    ],
)
def test_whatever_changes_the_outputs_changes_the_hash_of_the_code(tmp_path: Path, change: tuple[str, str]) -> None:
    code, weights = hashes(build(tmp_path, change))
    plain_code, plain_weights = hashes(build(tmp_path))
    assert code != plain_code
    assert weights == plain_weights


def _change_a_weight(net: Any) -> None:
    net[0].conv.weight.data[3, 2, 1, 0] += 1e-7 + 1e-3


def _change_a_buffer(net: Any) -> None:
    net[0].shift.zero_()


def _halve_the_precision(net: Any) -> None:
    net.half()


def _reshape(net: Any) -> None:
    net[0].conv.weight.data = net[0].conv.weight.data.reshape(4, 27, 1, 1)


@pytest.mark.parametrize("change", [_change_a_weight, _change_a_buffer, _halve_the_precision, _reshape])
def test_values_dtypes_and_shapes_change_the_hash_of_the_weights(tmp_path: Path, change: Callable[[Any], None]) -> None:
    net = build(tmp_path)
    code, weights = hashes(net)
    change(net)
    assert weights_hash(net) != weights
    assert code_hash(net, "net", weights=False) == code
    assert code_hash(net, "net") != code


def test_what_leaves_the_outputs_alone_leaves_the_hashes_alone(tmp_path: Path) -> None:
    net = build(tmp_path)
    before = hashes(net)
    net.eval().requires_grad_(False)
    net(torch.zeros(1, 3, 8, 8))
    net.register_full_backward_hook(lambda *_: None)
    net[0].lock = threading.Lock()
    del net[0].lock
    assert hashes(net) == before
    assert hashes(copy.deepcopy(net)) == before


def test_an_attribute_a_hook_and_a_patched_forward_of_one_instance() -> None:
    def net() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    plain = hashes(net())
    assert hashes(net()) == plain
    seen = {plain[0]}
    for change in (
        lambda n: setattr(n[1], "p", 0.25),
        lambda n: setattr(n[1], "note", torch.ones(2)),
        lambda n: setattr(n[1], "note", torch.zeros(2)),
        lambda n: setattr(n[0], "forward", lambda x: x),
        lambda n: setattr(n[0], "forward", lambda x: x + 1),
        lambda n: n[0].register_forward_pre_hook(lambda m, inputs: (inputs[0] * 2,)),
        lambda n: n[0].register_forward_hook(lambda m, inputs, output: output * 2),
        lambda n: n[0].register_forward_hook(lambda m, args, kwargs, output: output * 2, with_kwargs=True),
        lambda n: nn.utils.parametrizations.weight_norm(n[0]),
    ):
        changed = net()
        change(changed)
        found = code_hash(changed, "net", weights=False)
        assert found not in seen
        seen.add(found)


def test_a_module_that_is_no_child_counts_with_its_weights() -> None:
    def net(place: str, weight: float) -> nn.Module:
        module, hidden = nn.Sequential(nn.ReLU()), nn.Linear(1, 1, bias=False)
        hidden.weight.data[:] = weight
        if place == "list":
            module.others = [hidden]
        else:
            module[0].register_forward_hook(lambda m, inputs, output: hidden(output))
        return module

    for place in ("list", "closure"):
        assert hashes(net(place, 1.0)) == hashes(net(place, 1.0))
        assert hashes(net(place, 1.0))[0] != hashes(net(place, 2.0))[0]


def test_long_chains_of_functions() -> None:
    def chained(last: str) -> str:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec("".join(f"def f{i}(x): return f{i + 1}(x)\n" for i in range(1500)) + last, space)
        return code_hash(space["f0"], "f0")

    assert chained("def f1500(x): return x") != chained("def f1500(x): return -x")


def test_code_without_a_source_file(tmp_path: Path) -> None:
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(NETS, cell)
    assert hashes(cell["build"]()) == hashes(build(tmp_path))


def test_a_users_own_module_of_functions_counts_where_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)

    def function(body: str, use: str) -> str:
        monkeypatch.delitem(sys.modules, "lab_shapes", raising=False)
        shapes = load(body, tmp_path, "lab_shapes")
        monkeypatch.setitem(sys.modules, "lab_shapes", shapes)
        space: dict[str, Any] = {"shapes": shapes, "__name__": "__main__"}
        exec(use, space)
        return code_hash(space["f"], "f")

    for use in ("def f(x): return shapes.scale(x)", "def f(x):\n  from lab_shapes import scale\n  return scale(x)"):
        plain = function("def scale(x): return x\ndef other(x): return x", use)
        assert function("def scale(x): return x\ndef other(x): return x * 3", use) == plain
        assert function("def scale(x): return x * 2\ndef other(x): return x", use) != plain


def test_a_module_that_is_not_imported_yet_counts_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lab_late").mkdir()
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(x):\n  from lab_late.shapes import scale\n  return scale(x)", space)
    found = set()
    for text in ("raise SystemExit('it ran')", "def scale(x): return x", "def scale(x): return 2 * x"):
        (tmp_path / "lab_late" / "shapes.py").write_text(text, encoding="utf-8")
        found.add(code_hash(space["f"], "f"))
    assert len(found) == 3
    assert "lab_late" not in sys.modules


def test_transforms_of_a_library() -> None:
    def hashed(size: int, factor: float) -> str:
        steps = [transforms.Resize(size), transforms.ToTensor(), transforms.Lambda(lambda x: x * factor)]
        return code_hash(transforms.Compose(steps), "transform")

    assert hashed(8, 2) == hashed(8, 2)
    assert len({hashed(8, 2), hashed(9, 2), hashed(8, 3)}) == 3


def test_a_traced_graph() -> None:
    def traced(function: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
        class Plain(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return function(x)

        return torch.fx.symbolic_trace(Plain())

    assert hashes(traced(torch.relu)) == hashes(traced(torch.relu))
    assert hashes(traced(torch.relu)) != hashes(traced(torch.tanh))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64, torch.bool, torch.int8])
def test_tensors_of_any_dtype(dtype: torch.dtype) -> None:
    one = torch.zeros(2, 3, dtype=dtype)
    other = one.clone()
    assert code_hash(one, "t") == code_hash(other, "t")
    assert code_hash(one.T, "t") == code_hash(other.T.contiguous(), "t")
    other[1, 2] = 1
    assert code_hash(one, "t") != code_hash(other, "t")
    assert code_hash(one, "t") != code_hash(one.reshape(3, 2), "t")


def test_tensors_without_dimensions_or_values_and_sparse_ones() -> None:
    values = [torch.tensor(1.0), torch.tensor([1.0]), torch.zeros(0, 2), torch.zeros(0, 3), torch.eye(2).to_sparse()]
    assert len({code_hash(v, "t") for v in values}) == len(values)


def test_values_that_look_alike() -> None:
    values: list[Any] = [
        1,
        1.0,
        True,
        "1",
        b"1",
        None,
        (1,),
        [1],
        {1},
        {1: 1},
        0.0,
        -0.0,
        math.inf,
        (1, (2,)),
        (1, 2),
        "",
        [],
    ]
    assert len({code_hash(v, "v") for v in values}) == len(values)
    assert code_hash(math.nan, "v") == code_hash(float("nan"), "v")


def test_what_refers_to_itself() -> None:
    def loop(tail: int) -> list[Any]:
        values: list[Any] = [1, tail]
        values.append(values)
        return values

    assert code_hash(loop(2), "loop") == code_hash(loop(2), "loop")
    assert code_hash(loop(2), "loop") != code_hash(loop(3), "loop")


def test_what_cannot_be_read_is_named() -> None:
    net = nn.Sequential(nn.ReLU())
    net[0].source = (i for i in range(3))
    with pytest.raises(
        InputError, match=r"^module net cannot be given a key: module net\.0\.source is a generator, which"
    ):
        code_hash(net, "module net")
    with pytest.raises(InputError, match=r"is a TorchScript module.*score the module that it was made from"):
        code_hash(torch.jit.script(nn.ReLU()), "module net")
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(InputError, match="nested too deeply"):
        code_hash(deep, "list")


def test_whose_code_is_whose() -> None:
    assert str(library_name("torch.nn.modules.conv")).startswith("torch==")
    assert "+" not in str(library_name("torch"))
    assert str(library_name("json")).startswith("python==3.")
    assert library_name("__main__") is None
    assert library_name("benchmark_core.errors") is None
    assert library_name("no_such_package_at_all") is None
    assert is_library_file(str(torch.__file__))
    assert not is_library_file(__file__)
    assert not is_library_file("<ipython-input-1>")
