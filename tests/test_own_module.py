"""A torch module scored without a plugin: the score a plugin gets, its record, and the module left as it was."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from toy import make_toy_world

from benchmark_core import BenchError, InputError, MissingDataError, ModelError, Preprocessing, run, score
from benchmark_core.leaderboard import leaderboard
from benchmark_core.own_module import borrowed, check_module, identify, input_dtype, name_of
from benchmark_core.own_preprocessing import as_preprocessing
from benchmark_core.records import Score, read_records
from benchmark_core.registry import Registry

SMALL = {"size": 16, "colour": "grey", "mean": 0, "std": 1}
QUICK: dict[str, Any] = {"metric": "count", "preprocessing": SMALL, "device": "cpu"}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the toy plugin: 40 images, two subjects."""
    return make_toy_world(tmp_path_factory.mktemp("toys"))


@pytest.fixture
def toys(plugins: Path, home: Path) -> Registry:
    """Return a registry with the toys, as a user's own ``registry=``."""
    return Registry([plugins], installed=False)


def net(width: int = 4, seed: int = 0) -> nn.Sequential:
    """Return the very network that the toy plugin registers."""
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(1, width, 5, bias=False), nn.ReLU(inplace=True), nn.Conv2d(width, 2 * width, 3), nn.ReLU()
    )
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layers


class Odd(nn.Module):
    """Does what it is told after a convolution."""

    def __init__(self, then: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.spare = nn.Conv2d(1, 2, 3), nn.ReLU()
        self.then = then

    def forward(self, x: torch.Tensor) -> Any:
        return self.then(self.conv(x))


def test_a_module_gets_the_score_of_the_same_model_as_a_plugin(toys: Registry, home: Path) -> None:
    options: dict[str, Any] = {"metric": "encoding:n_bootstrap=200", "registry": toys, "device": "cpu"}
    (plugin,) = run("toy", "toy.V4", **options)
    assert plugin["status"] == "ok", plugin["error"]
    own = score(net(), "toy.V4", layers=["0", "2"], preprocessing=SMALL, **options)
    assert isinstance(own, Score)
    assert own.value == plugin["score"]
    assert own.fields["r_neuroid"] == plugin["r_neuroid"]
    assert own.record["layer"] == plugin["layer"]
    assert own.record["requested_layer"] == "auto"
    assert own.record["model"].startswith("own/Sequential:module=@")
    rows = leaderboard(read_records(home / "records"))
    assert {row["model"]: row["score"] for row in rows} == dict.fromkeys(("toy", own.record["model"]), own.value)


def test_what_is_recorded_is_not_computed_again(toys: Registry, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = score(net(), "toy.V4", registry=toys, **QUICK)
    assert first.record["layer"] == "output"
    monkeypatch.setattr("benchmark_core.runner.Runner._score", lambda *a: pytest.fail("computed again"))
    monkeypatch.setattr("benchmark_core.own_module.try_out", lambda *a: pytest.fail("run again"))
    second = score(net(), "toy.V4", registry=toys, **QUICK)
    assert (first.record["cached"], second.record["cached"]) == (False, True)
    assert second.record["key"] == first.record["key"]
    assert "own/Sequential" not in toys.models.by_name


def test_every_input_of_a_score_is_in_its_key(toys: Registry, home: Path) -> None:
    hooked = net()
    hooked[3].register_forward_hook(lambda module, inputs, output: output + 1)
    keys = [
        score(module, "toy.V4", registry=toys, **QUICK | options).record["key"]
        for module, options in (
            (net(), {}),
            (net(), {"name": "mine"}),
            (net(seed=1), {"name": "mine"}),
            (net(), {"layers": "2"}),
            (net(), {"layers": ["0", "2"]}),
            (net(), {"preprocessing": SMALL | {"mean": 0.5}}),
            (hooked, {}),
        )
    ]
    assert len(set(keys)) == len(keys)
    records = list(read_records(home / "records"))
    assert len(records) == len(keys)
    named = [r["model"] for r in records if r["model"].startswith("own/mine:")]
    assert len(set(named)) == 2  # two modules under one name are two rows


def state(module: nn.Module) -> list[Any]:
    parameters = [
        (n, p.data_ptr(), p.clone(), p.requires_grad, p.device, p.dtype, p.grad) for n, p in module.named_parameters()
    ]
    return [
        [(name, part.training, len(part._forward_hooks)) for name, part in module.named_modules()],
        [(n, ptr, grad_wanted, device, dtype, grad) for n, ptr, _, grad_wanted, device, dtype, grad in parameters],
        [values.tolist() for _, _, values, *_ in parameters],
        [(n, b.tolist()) for n, b in module.named_buffers()],
    ]


class Counting(nn.Module):
    """Counts its calls, keeps its last output, and may hold something that has no copy."""

    def __init__(self, lock: bool) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, 2, 3), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(1))
        self.lock = threading.Lock() if lock else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        self.last = self.drop(self.conv(x))
        return self.last


@pytest.mark.parametrize("lock", [False, True])
def test_the_module_is_left_as_it_was(toys: Registry, lock: bool) -> None:
    module = Counting(lock).train()
    module.drop.eval()
    assert module.conv.bias is not None
    module.conv.bias.requires_grad_(False)
    before = state(module)
    result = score(module, "toy.V4", registry=toys, **QUICK | {"layers": ["conv", "output"]})
    assert result.value == 2
    assert state(module) == before
    module(torch.zeros(1, 1, 8, 8)).sum().backward()  # it can be trained on
    assert module.conv.weight.grad is not None
    if not lock:
        with borrowed(module) as lent:
            assert isinstance(lent, Counting)
            assert lent.conv.weight.data_ptr() == module.conv.weight.data_ptr()


def test_a_module_is_put_back_after_an_error(toys: Registry) -> None:
    module = Counting(True).train()
    before = state(module)
    with pytest.raises(ModelError, match="the module fails on an input of shape"):
        score(module, "toy.V4", registry=toys, metric="count")
    assert state(module) == before


def test_a_parametrised_module_with_tensors_that_are_no_leaves() -> None:
    module = nn.Linear(2, 2)
    module.twice = module.weight * 2
    with borrowed(module) as lent:
        assert lent is not module
        assert torch.equal(lent.twice, module.twice)


def test_modules_in_half_or_double_precision(toys: Registry) -> None:
    assert score(net().double(), "toy.V4", registry=toys, **QUICK).value == 1
    assert input_dtype(net().bfloat16()) == torch.bfloat16
    assert input_dtype(nn.ReLU()) == torch.float32


def test_a_function_as_preprocessing(toys: Registry) -> None:
    size = 16

    def grey(image: Image.Image) -> torch.Tensor:
        return transforms.functional.to_tensor(image.convert("L").resize((size, size)))

    by_function = score(net(), "toy.V4", registry=toys, **QUICK | {"preprocessing": grey})
    recorded = by_function.record["provenance"]["representations"][0]["preprocessing"]
    assert recorded["function"] == "grey"
    size = 12
    assert (
        score(net(), "toy.V4", registry=toys, **QUICK | {"preprocessing": grey}).record["key"]
        != by_function.record["key"]
    )


def test_forms_of_preprocessing() -> None:
    paper = Preprocessing()
    assert as_preprocessing(None) == as_preprocessing("paper") == as_preprocessing({}) == paper
    assert as_preprocessing(paper) is paper
    assert as_preprocessing({"size": 64, "mean": 0.5, "std": (1, 2, 3)}) == Preprocessing(
        size=(64, 64), mean=(0.5, 0.5, 0.5), std=(1.0, 2.0, 3.0)
    )
    image = Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
    own = as_preprocessing(transforms.Compose([transforms.Resize(8), transforms.ToTensor()]))
    expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR), dtype=np.float32).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(own(image), expected, rtol=1e-6)
    assert own(image.convert("L")).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sise": 8}, r"preprocessing has no setting 'sise'\. Did you mean size"),
        ({"size": "big"}, "size is one or two whole numbers"),
        ({"size": (8, 8, 8)}, r"size \(8, 8, 8\) is not \(height, width\)"),
        ("papr", "preprocessing 'papr' is not known; give a benchmark_core.Preprocessing"),
        (3, "preprocessing int is not known"),
        (transforms.ToTensor, "preprocessing ToTensor is a class; give an instance"),
    ],
)
def test_unknown_preprocessing(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_preprocessing(given)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda image: {"pixels": 1}, r"preprocessing <lambda> returns dict; expected a tensor or array"),
        (lambda image: torch.zeros(1, 3, 8, 8), r"returns shape \(1, 3, 8, 8\); expected"),
        (lambda image: torch.rand(1, 16, 16), "gives other inputs for the same image each time"),
        (lambda image: image.no_such_thing, r"preprocessing fails on an image of \(32, 32\) pixels \(AttributeError"),
    ],
)
def test_preprocessing_that_fails(toys: Registry, home: Path, function: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        score(net(), "toy.V4", registry=toys, **QUICK | {"preprocessing": function})
    assert "\n" not in str(raised.value)
    assert not (home / "records").exists()


def test_inputs_of_several_shapes() -> None:
    own = as_preprocessing(transforms.ToTensor())
    own(Image.new("RGB", (8, 8)))
    with pytest.raises(InputError, match=r"gives shape \(3, 9, 8\) here and \(3, 8, 8\) for an image before; let it"):
        own(Image.new("RGB", (8, 9)))
    with pytest.raises(InputError, match="images of mode 'F' have no agreed range"):
        own(Image.new("F", (8, 8)))


def noisy(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.dropout(x)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (net, {"layers": ["0", "22"]}, r"the model has no layer '22'\. (Did you mean 2|It has)"),
        (net, {"layers": ["0", "0"]}, "layers is a list of module paths, each named once"),
        (net, {"layers": []}, "layers is a list of module paths"),
        (net, {"name": "my net"}, "'my net' cannot be a module's name"),
        (
            net,
            {"preprocessing": None},
            r"the module fails on an input of shape \(2, 3, 224, 224\) \(RuntimeError: .*expected input\[2, 3, 224, 224\] to have 1 channels.*preprocessing=",
        ),
        (net, {"preprocessing": SMALL | {"size": 4}}, r"the module fails on an input of shape \(2, 1, 4, 4\)"),
        (lambda: Odd(lambda x: torch.log(-x.abs() - 1)), {}, "layer 'output' gives values that are not finite"),
        (lambda: Odd(noisy), {}, "layer 'output' gives other values for the same image each time"),
        (lambda: Odd(lambda x: x - x.mean(0)), {}, "layer 'output' depends on the other images of the batch"),
        (lambda: Odd(lambda x: x.flatten(0, 1)), {}, "layer 'output' gives 4 rows for a batch of 2 images"),
        (lambda: Odd(lambda x: (x,)), {}, "layer 'output' returns tuple, not a tensor; choose a module inside it"),
        (lambda: Odd(torch.sum), {}, "layer 'output' returns a single number for a whole batch"),
        (lambda: Odd(torch.relu), {"layers": ["conv", "spare"]}, "layer 'spare' was never reached in forward"),
        (lambda: nn.Conv2d, {}, r"Conv2d is a class; give an instance, e\.g\. Conv2d\(\)"),
        (lambda: 3, {}, "int is neither an identifier nor a torch.nn.Module"),
        (lambda: nn.Conv2d(1, 2, 3, device="meta"), {}, "'weight' is on the meta device and has no values"),
        (lambda: nn.Sequential(nn.LazyConv2d(2, 3)), {}, r"'0\.weight' is not initialised yet \(a lazy module\)"),
    ],
)
def test_bad_modules_are_one_clear_line_and_no_record(
    toys: Registry, home: Path, module: Callable[[], Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((InputError, ModelError), match=message) as raised:
        score(module(), "toy.V4", registry=toys, **QUICK | options)
    assert "\n" not in str(raised.value)
    assert not (home / "records").exists()


def test_what_only_a_later_stimulus_shows_is_recorded_as_failed(toys: Registry, home: Path) -> None:
    stimuli = toys.benchmark("toy.V4").stimuli()
    seen = as_preprocessing(SMALL)(stimuli.image(2)).mean()

    def third(x: torch.Tensor) -> torch.Tensor:
        return torch.where((x.mean((1, 2, 3), keepdim=True) - float(seen)).abs() < 1e-6, torch.nan, x)

    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return third(x)

    with pytest.raises(BenchError, match=r"layer 'output' gives values that are not finite for stimulus_id 'im002'$"):
        score(Net(), "toy.V4", registry=toys, **QUICK)
    (record,) = read_records(home / "records")
    assert record["status"] == "failed"
    assert record["model"].startswith("own/Net:module=@")


def test_other_slips(toys: Registry) -> None:
    with pytest.raises(InputError, match=r"unknown benchmark 'toy\.v4'\. Did you mean toy\.V4"):
        score(net(), "toy.v4", registry=toys, **QUICK)
    with pytest.raises(InputError, match="benchmark is list; name one"):
        score(net(), ["toy.V4"], registry=toys, **QUICK)
    with pytest.raises(InputError, match="stands for 3 benchmarks; name one"):
        score(net(), "toy.*", registry=toys, **QUICK)
    with pytest.raises(MissingDataError, match="bench data fetch toy"):
        score(net(), "toy.absent", registry=toys, **QUICK)
    with pytest.raises(InputError, match="layers= is for a torch module of your own; 'toy' is an identifier"):
        score("toy", "toy.V4", registry=toys, layers=["0"])
    with pytest.raises(InputError, match="unknown precision"):
        score(net(), "toy.V4", registry=toys, **QUICK, precision="half")


def test_names_under_own_belong_to_modules(toys: Registry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'own/net' names a module that was scored from Python"):
        toys.model("own/net:module=@0123456789ab")
    plugin = "from benchmark_core import ModelSpec, hookimpl\n\n@hookimpl\ndef register_models():\n    return [ModelSpec(name='own/net', version=1, load=print)]\n"
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "own_net.py").write_text(plugin, encoding="utf-8")
    registry = Registry([tmp_path / "taken"], built_in=False, installed=False)
    assert "own/net" not in registry.models.by_name
    (problem,) = registry.problems
    assert "own/... is kept for modules scored from Python; give 'own/net' another name" in problem.message


def test_the_example_of_the_guide(
    plugins: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).resolve().parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- test: own module -->\n```python\n(.*?)```", guide, re.DOTALL)
    assert found
    assert '"simulated.V4"' in found.group(1)
    monkeypatch.setenv("BENCH_PLUGINS", str(plugins))
    exec(found.group(1).replace('"simulated.V4"', '"toy.V4"'), {"__name__": "__main__"})
    (record,) = read_records(home / "records")
    assert record["model"].startswith("own/edges:module=@")
    table, scored = capsys.readouterr().out.strip().rsplit("\n", 1)
    assert re.search(r"^first +Conv2d +16 x 29 x 29 ", table, re.MULTILINE)
    assert scored.split() == [str(record[k]) for k in ("score", "ci_low", "ci_high", "layer")]


def test_wrappers_stand_for_the_module_inside() -> None:
    module = net()
    assert check_module(nn.DataParallel(module)) is module


@pytest.mark.slow  # torch.compile takes seconds to import
def test_a_compiled_module_stands_for_the_module_inside() -> None:
    module = net()
    compiled = torch.compile(module)
    assert isinstance(compiled, nn.Module)
    assert check_module(compiled) is module


def test_names_of_modules() -> None:
    assert name_of(net()) == "Sequential"
    assert name_of(type("_Größe<1>", (nn.Module,), {})()) == "Gre1"
    assert name_of(type("_", (nn.Module,), {})()) == "module"
    identity = identify(net(), "mine", Preprocessing())
    assert identity.identifier == f"own/mine:module={identity.module}"
    assert identify(copy.deepcopy(net()), "mine", Preprocessing()) == identity
