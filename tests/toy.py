"""A small world for tests of the whole program: a plugin file with a model, a benchmark and a metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PLUGIN = """
from pathlib import Path

from benchmark_core import BenchmarkSpec, KFold, MetricSpec, ModelSpec, Parameter, Preprocessing, hookimpl

DATA = Path(__file__).parent / "toy_data"
SMALL = Preprocessing(size=(16, 16), colour="grey", mean=(0.0,), std=(1.0,))


def load_net(width, seed):
    import torch

    generator = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, width, 5, bias=False), torch.nn.ReLU(inplace=True), torch.nn.Conv2d(width, 2 * width, 3), torch.nn.ReLU()
    )
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return net


def load_broken():
    raise RuntimeError("this model\\nnever loads")


def missing_weights():
    from benchmark_core import MissingDataError

    raise MissingDataError("weights of toy-missing are not here: put toy.pth into /nowhere")


def stimuli():
    from benchmark_core import StimulusSet

    return StimulusSet.from_manifest(DATA / "stimuli.csv", DATA / "images")


def target():
    import numpy as np

    from benchmark_core import Responses

    content = np.load(DATA / "responses.npz")
    return Responses(tuple(content["ids"]), content["values"], tuple(content["neuroids"]), tuple(content["subjects"]), "V4")


def absent():
    from benchmark_core import MissingDataError

    raise MissingDataError("toy.absent is not on this machine: run `bench data fetch toy`")


def count(representations, target, splits, offset, groups=None):
    from benchmark_core import Score

    (layers,) = representations
    value = float(len(layers) + offset)
    return Score(value, fields={"n_stimuli": len(target.stimulus_ids), "n_neuroids": target.n_neuroids})


@hookimpl
def register_models():
    parameters = (Parameter("width", "int", 4, minimum=1, maximum=64), Parameter("seed", "int", 0, minimum=0))
    return [
        ModelSpec(name="toy", version=1, load=load_net, layers=("0", "2"), parameters=parameters, preprocessing=SMALL, weights="torch-1"),
        ModelSpec(name="toy-broken", version=1, load=load_broken, preprocessing=SMALL),
        ModelSpec(name="toy-missing", version=1, load=load_broken, preprocessing=SMALL, weights=missing_weights),
    ]


@hookimpl
def register_benchmarks():
    return [
        BenchmarkSpec(name="toy.V4", version=1, stimuli=stimuli, target=target, splits=KFold(k=4)),
        BenchmarkSpec(name="toy.absent", version=1, stimuli=absent, target=target, splits=KFold(k=4)),
        BenchmarkSpec(name="toy.labels", version=1, stimuli=stimuli, target=target, splits=KFold(k=4), target_kind="labels", metric="count"),
    ]


@hookimpl
def register_metrics():
    parameters = (Parameter("offset", "float", 0.0),)
    return [MetricSpec(name="count", version=1, compute=count, parameters=parameters, accepts=("responses", "labels"))]
"""


def make_toy_world(folder: Path, n: int = 40, seed: int = 0) -> Path:
    """Write the plugin file, n images and the responses of two subjects; return the plugin folder.

    The responses follow the mean brightness of the image's quadrants, with noise over 4 repetitions.
    """
    from benchmark_core.stimuli import StimulusSet

    random = np.random.default_rng(seed)
    data = folder / "toy_data"
    images = data / "images"
    images.mkdir(parents=True)
    files, signal = {}, []
    for i in range(n):
        coarse = random.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        path = images / f"{i:03d}.png"
        Image.fromarray(coarse).resize((32, 32), Image.Resampling.NEAREST).save(path)
        files[f"im{i:03d}"] = path
        grey = coarse.mean(axis=2)
        signal.append([grey[:2, :2].mean(), grey[2:, :2].mean(), grey[:2, 2:].mean(), grey[2:, 2:].mean()])
    rates = np.repeat(np.array(signal) / 10, 2, axis=1)
    values = rates[:, None, :] + random.normal(size=(n, 4, rates.shape[1]))
    values[0, 3] = np.nan
    np.savez(
        data / "responses.npz",
        ids=np.array(list(files)),
        values=values,
        neuroids=np.array([f"n{i}" for i in range(8)]),
        subjects=np.array(["A"] * 4 + ["B"] * 4),
    )
    (data / "stimuli.csv").write_text(StimulusSet.from_files(files).to_csv(images), encoding="utf-8")
    (folder / "toy_plugin.py").write_text(PLUGIN, encoding="utf-8")
    return folder
