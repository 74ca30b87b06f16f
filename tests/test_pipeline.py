"""Both passes together: what is stored is not computed again, and no kill -9 changes a digit."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark_core import extraction
from benchmark_core import spool as spool_room
from benchmark_core.errors import BenchError, MissingDataError, ModelError
from benchmark_core.pipeline import (
    Numerics,
    Pipeline,
    candidate_layers,
    layer_keys,
    preprocessing_of,
    weights_of,
)
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.provenance import peak_rss
from benchmark_core.registry import Registry
from benchmark_core.resolution import Resolved, resolve
from benchmark_core.specs import ModelSpec
from benchmark_core.spool import Spool
from benchmark_core.stimuli import StimulusSet
from benchmark_core.store import CorruptFileWarning, Store, read_arrays

FORK = multiprocessing.get_context("fork")
N, LAYERS = 22, ("conv", "deep")

PLUGIN = '''
import os
from pathlib import Path

from benchmark_core import ModelSpec, Preprocessing, hookimpl

LOG = Path(__file__).with_suffix(".log")


def note(line):
    with LOG.open("a") as log:
        log.write(line + "\\n")


def load():
    import torch

    class Net(torch.nn.Module):
        """Drawn by the framework's default initialisation, without a seed of its own."""

        def __init__(self):
            super().__init__()
            self.conv, self.deep = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3)

        def forward(self, x):
            note(f"forward {len(x)}")
            return self.deep(torch.relu(self.conv(x)))

    note("load")
    return Net()


@hookimpl
def register_models():
    yield ModelSpec(
        name="toy",
        version=1,
        load=load,
        layers=("conv", "deep"),
        preprocessing=Preprocessing(size=(7, 7), mean=(0.5,) * 3, std=(0.5,) * 3),
    )
'''


class World:
    """A plugin, a stimulus set and a cache in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "plugins").mkdir(parents=True)
        (folder / "plugins" / "toy.py").write_text(PLUGIN)
        self.store = Store(folder / "cache")
        rng = np.random.Generator(np.random.Philox(7))
        files = {}
        for i in range(N):
            files[f"s{i:02d}"] = folder / f"{i}.png"
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(files[f"s{i:02d}"])
        self.stimuli = StimulusSet.from_files(files)
        self.registry = Registry([folder / "plugins"], built_in=False, installed=False)
        self.model = self.registry.model("toy")
        self.version = self.registry.version(self.model.spec)

    def pipeline(self, progress: Callable[[str, int, int], None] | None = None, **numerics: Any) -> Pipeline:
        pipeline = Pipeline(self.store, Numerics(**{"batch_size": 3, **numerics}))
        pipeline.progress = progress or pipeline.progress
        return pipeline

    def ask(
        self, pipeline: Pipeline | None = None, layers: tuple[str, ...] = LAYERS, **numerics: Any
    ) -> dict[str, Any]:
        pipeline = pipeline or self.pipeline(**numerics)
        return pipeline.representations(self.model, self.version, self.stimuli, layers)

    def kernels(self) -> dict[str, Path]:
        keys = layer_keys(self.model, self.version, self.stimuli, LAYERS, "exact", self.store)
        return {layer: self.store.kernel_path(key) for layer, key in keys.items()}

    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        found = {layer: read_arrays(path) for layer, path in self.kernels().items()}
        return {layer: content[0] for layer, content in found.items() if content is not None}

    def log(self) -> list[str]:
        path = self.folder / "plugins" / "toy.log"
        return path.read_text().splitlines() if path.exists() else []

    def forwarded(self) -> int:
        """How many stimuli were forwarded so far, by all processes."""
        return sum(int(line.split()[1]) for line in self.log() if line.startswith("forward"))

    def spools(self) -> list[Path]:
        return list((self.store.root / "spools").glob("*"))


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CHUNK_ROWS", 5)  # with batches of 3: chunks of 6
    monkeypatch.setattr(spool_room, "BLOCK", 16)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


# The store spares work


def test_first_call_computes_and_second_reads(world: World) -> None:
    seen: list[str] = []
    first = world.ask(world.pipeline(lambda what, done, of: seen.append(f"{what} {done}/{of}")))
    assert list(first) == list(LAYERS)
    assert world.forwarded() == N
    assert world.log().count("load") == 1
    assert world.spools() == []  # deleted when the last kernel was written
    assert seen[0] == f"toy: activations 0/{N}"
    assert f"toy: activations {N}/{N}" in seen
    assert seen[-1] == "toy deep: kernel 72/72"
    second = world.ask()
    assert world.forwarded() == N
    assert world.log().count("load") == 1
    for layer in LAYERS:
        for name in ("features", "kernel", "row_sums", "mean_products"):
            np.testing.assert_array_equal(getattr(second[layer][0], name), getattr(first[layer][0], name))
        assert second[layer][0].stimulus_ids == world.stimuli.stimulus_ids
        assert second[layer][1] == first[layer][1]
    provenance = second["conv"][1]
    assert provenance["extracted_layers"] == list(LAYERS)
    assert provenance["batch_size"] == 3
    assert provenance["device"] == "cpu"
    assert provenance["spool_bytes"] == 4 * N * (100 + 72)
    assert provenance["extraction_seconds"] > 0
    assert provenance["peak_rss_bytes"] > 10**6


def test_representations_are_those_of_a_plain_forward_pass(world: World) -> None:
    found = world.ask()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = world.model.spec.load()
    inputs = np.stack([preprocessing_of(world.model)(world.stimuli.image(i)) for i in range(N)])
    with torch.no_grad():
        conv = net.conv(torch.from_numpy(inputs))
        values = {"conv": conv, "deep": net.deep(torch.relu(conv))}
    for layer, output in values.items():
        x = output.flatten(1).double().numpy()
        gram = x @ x.T
        np.testing.assert_allclose(found[layer][0].gram(centred=False), gram, rtol=0, atol=1e-5 * gram.max())


def test_a_pipeline_keeps_its_last_model_and_representations(world: World) -> None:
    pipeline = world.pipeline()
    first = world.ask(pipeline)
    for path in world.kernels().values():
        path.unlink()
    assert world.ask(pipeline)["conv"][0] is first["conv"][0]  # not even read again
    few = world.stimuli.subset(world.stimuli.stimulus_ids[:5])
    pipeline.representations(world.model, world.version, few, LAYERS)
    assert world.log().count("load") == 1
    assert world.forwarded() == N + 5


def test_only_the_layers_that_are_missing_are_extracted(world: World) -> None:
    world.ask(layers=("deep",))
    assert world.forwarded() == N
    found = world.ask()
    assert world.forwarded() == 2 * N
    assert found["deep"][1]["extracted_layers"] == ["deep"]
    assert found["conv"][1]["extracted_layers"] == ["conv"]
    world.ask(layers=("conv",))
    world.ask(layers=("deep", "conv"))
    assert world.forwarded() == 2 * N
    assert world.spools() == []


def test_another_precision_or_version_is_another_representation(world: World) -> None:
    world.ask()
    world.ask(precision="fast")
    assert world.forwarded() == 2 * N
    world.ask(batch_size=4)
    world.ask(backend="torch")
    assert world.forwarded() == 2 * N
    world.version = "2"
    world.ask()
    assert world.forwarded() == 3 * N


def test_fast_spools_half_the_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "CHUNK_ROWS", N)
    exact, fast = world.ask(), world.ask(precision="fast")
    for layer in LAYERS:
        whole, half = (found[layer][0].gram() for found in (exact, fast))
        assert np.abs(half - whole).max() < 1e-4 * np.abs(whole).max()
        assert np.abs(half - whole).max() > 1e-6 * np.abs(whole).max()  # more than products alone
        assert 0.5 < fast[layer][1]["spool_bytes"] / exact[layer][1]["spool_bytes"] < 0.55


def test_unseeded_weights_are_the_same_in_every_run(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    torch.manual_seed(1)
    world.ask()
    torch.manual_seed(2)
    before = torch.get_rng_state(), random.getstate()
    other.ask()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    same(world, other)


def same(one: World, other: World) -> None:
    first, second = one.arrays(), other.arrays()
    assert sorted(first) == sorted(second) == sorted(LAYERS)
    for layer, arrays in first.items():
        assert sorted(arrays) == sorted(second[layer])
        for name, values in arrays.items():
            np.testing.assert_array_equal(second[layer][name], values)


# Damage


def test_a_damaged_kernel_is_computed_again(world: World) -> None:
    before = {layer: dict(arrays) for layer, arrays in (world.ask(), world.arrays())[1].items()}
    path = world.kernels()["deep"]
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    with pytest.warns(CorruptFileWarning, match=r"is damaged \(its checksum does not match\)"):
        found = world.ask()
    assert world.forwarded() == 2 * N
    assert found["deep"][1]["extracted_layers"] == ["deep"]
    assert path.with_name(path.name + ".bad").exists()
    for layer, arrays in world.arrays().items():
        for name, values in arrays.items():
            np.testing.assert_array_equal(values, before[layer][name])


def damage_chunk(world: World, name: str = "000001.chunk") -> None:
    (spool,) = world.spools()
    content = bytearray((spool / name).read_bytes())
    content[-2:] = b"\xba\xad"  # in the last block of the last layer
    # In its place, not half written meanwhile: blocks are read ahead.
    with (spool / name).open("r+b") as chunk:
        chunk.seek(len(content) - 2)
        chunk.write(content[-2:])


def test_a_chunk_damaged_between_the_passes_is_extracted_again(world: World, tmp_path: Path) -> None:
    done: list[str] = []

    def progress(what: str, at: int, of: int) -> None:
        if what == "toy conv: kernel" and not done:
            done.append(what)
            damage_chunk(world)

    with pytest.warns(CorruptFileWarning, match="a piece does not match its checksum"):
        world.ask(world.pipeline(progress))
    assert done
    assert world.forwarded() == N + 6  # one chunk
    assert world.spools() == []
    fresh = World(tmp_path / "fresh")
    fresh.ask()
    same(world, fresh)


def test_a_disk_that_keeps_failing_is_an_error(world: World) -> None:
    def progress(what: str, at: int, of: int) -> None:
        if what == "toy conv: kernel" or (what == "toy deep: kernel" and at == 16):
            damage_chunk(world)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorruptFileWarning)
        with pytest.raises(BenchError, match="keeps failing its checksums; check the disk it is on"):
            world.ask(world.pipeline(progress))
    assert list(world.arrays()) == ["conv"]  # what is whole stays, and was reduced once
    world.ask()
    assert sorted(world.arrays()) == sorted(LAYERS)


# kill -9


def killed(world: World, where: str) -> None:
    """Compute until the named place, and there kill -9 this very process."""
    torch.set_num_threads(1)

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(what: str, done: int, of: int) -> None:
        if f"{what} {done}" == where:
            die()

    replace = os.replace

    def replace_or_die(source: Path, target: Path) -> None:
        last = where == "rename last kernel" and target == world.kernels()["deep"]
        if last or where == f"rename {Path(target).name}":
            die()
        replace(source, target)

    patch = pytest.MonkeyPatch()
    patch.setattr(os, "replace", replace_or_die)
    if where == "delete":
        patch.setattr(Spool, "delete", die)
    world.ask(world.pipeline(progress))


def in_another_process(target: Callable[..., None], *args: Any) -> int | None:
    process = FORK.Process(target=target, args=args)
    process.start()
    process.join()
    return process.exitcode


def finished(world: World) -> None:
    torch.set_num_threads(1)
    world.ask()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> World:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "CHUNK_ROWS", 5)
        patch.setattr(spool_room, "BLOCK", 16)
        world = World(tmp_path_factory.mktemp("uninterrupted") / "world")
        assert in_another_process(finished, world) == 0
    assert world.forwarded() == N
    return world


@pytest.mark.parametrize(
    ("where", "chunks", "again"),
    [
        ("toy: activations 1", 0, N),  # nothing is written yet
        ("toy: activations 9", 1, N - 6),  # in the middle of the second chunk
        ("rename 000002.chunk", 2, N - 12),  # the third is written, but not yet renamed
        (f"toy: activations {N}", 3, N - 18),
        ("toy conv: kernel 48", 4, 0),  # in the middle of pass 2
        ("toy deep: kernel 16", 4, 0),  # in the second layer
        ("rename last kernel", 4, 0),
        ("delete", 4, 0),  # both kernels are written, the spool still there
    ],
)
def test_a_kill_changes_no_digit(world: World, uninterrupted: World, where: str, chunks: int, again: int) -> None:
    assert in_another_process(killed, world, where) == -signal.SIGKILL
    (spool,) = world.spools()
    assert len(list(spool.glob("*.chunk"))) == chunks
    before = world.forwarded()
    assert in_another_process(finished, world) == 0
    assert world.forwarded() - before == again  # pass 1 went on at the chunk
    same(world, uninterrupted)
    assert world.spools() == []


def test_of_several_processes_one_computes(world: World, uninterrupted: World) -> None:
    processes = [FORK.Process(target=finished, args=(world,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert world.forwarded() == N
    same(world, uninterrupted)


# What a spec may say, and what not


def spec(**changes: Any) -> Resolved:
    declared: dict[str, Any] = {"name": "m", "version": 1, "load": dict}
    return resolve(ModelSpec(**declared | changes), "m", {})


def test_layers_preprocessing_and_weights_may_be_functions(tmp_path: Path) -> None:
    small = Preprocessing(size=(9, 9))
    model = spec(layers=lambda: ["a", "b"], preprocessing=lambda: small, weights=lambda: "recipe 1")
    assert candidate_layers(model) == ("a", "b")
    assert preprocessing_of(model) is small
    assert weights_of(model, Store(tmp_path)) == "recipe 1"
    assert candidate_layers(spec()) == ("output",)
    assert preprocessing_of(spec()) == Preprocessing()
    (tmp_path / "w.pth").write_bytes(b"abc")
    assert weights_of(spec(weights=lambda: tmp_path / "w.pth"), Store(tmp_path)).startswith("ba7816bf")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"layers": ()}, ModelError, "model 'm' declares no layers"),
        ({"layers": ("a", "b", "a")}, ModelError, "model 'm' declares a layer twice"),
        ({"preprocessing": lambda: 3}, ModelError, "model 'm': preprocessing is int, not Preprocessing"),
        ({"weights": lambda: Path("nowhere.pth")}, MissingDataError, r"weights of m are missing: nowhere\.pth"),
    ],
)
def test_what_a_spec_may_not_say(
    tmp_path: Path, changes: Mapping[str, Any], kind: type[Exception], message: str
) -> None:
    model = spec(**changes)
    with pytest.raises(kind, match=message):
        candidate_layers(model), preprocessing_of(model), weights_of(model, Store(tmp_path))


def test_a_load_that_fails_leaves_nothing_behind(world: World) -> None:
    world.model = resolve(ModelSpec(name="m", version=1, load=lambda: 3, layers=LAYERS), "m", {})
    with pytest.raises(ModelError, match=r"model 'm': load\(\) returned int"):
        world.ask()
    assert world.spools() == []
    assert world.arrays() == {}
    assert peak_rss() > 10**6
