"""Published scores have identifiers here: every line of the table, and every model in it can be built."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.identifiers import split_identifier
from benchmark_core.published import ANALYSES, COLUMNS, identify, read_published
from benchmark_core.registry import Registry
from benchmark_core.resolution import Resolved, import_target
from benchmark_core.torch_models import HookedModel

TABLE = Path(__file__).resolve().parent.parent / "leaderboard" / "published.csv"
with TABLE.open(newline="", encoding="utf-8") as handle:
    ROWS = [row for row in csv.DictReader(handle) if row["analysis"] in ANALYSES]
REGISTRY = Registry(installed=False)


def name(text: str) -> str:
    return REGISTRY.model(text).identifier


def features(model: Resolved) -> int | None:
    """Features by the formulas of the paper, of models that have a width."""
    values: Mapping[str, Any] = model.parameters
    if model.spec.name == "expansion5l":
        return int(values["filters"]) * (1 if values["layer_5"] == "dense" else 36)
    return {"fully-connected": values.get("features"), "vit-custom": 196 * int(values.get("D") or 0)}.get(
        model.spec.name
    )


def test_the_table_is_whole() -> None:
    counts = Counter(row["analysis"] for row in ROWS)
    assert counts == {"main": 104, "init": 45, "nonlinearity": 8, "ablation": 20, "pca": 36, "shuffled-pixels": 9}


@pytest.mark.parametrize("analysis", ANALYSES)
def test_every_line_has_one_canonical_identifier(analysis: str) -> None:
    """Different lines are different scores here; features are as many as published, initialisation and all as stated."""
    seen = set()
    for row in (row for row in ROWS if row["analysis"] == analysis):
        identifiers = identify(row, name)
        model = REGISTRY.model(identifiers[0])
        assert model.identifier == identifiers[0]
        assert identifiers not in seen
        seen.add(identifiers)
        assert features(model) == (int(row["n_features"]) if row["n_features"] else None)
        if row["model"].startswith("expansion5l"):
            stated = {key: model.parameters[key] for key in ("init", "nonlinearity")}
            assert stated == {key: row[key] for key in ("init", "nonlinearity")}
        else:
            assert split_identifier(model.identifier)[0] == row["model"]
        assert identifiers[1] == row["benchmark"]
        metric, options = split_identifier(identifiers[2])
        assert metric == "encoding"
        assert options.pop("selection") == "paper"
        components = {"components": row["n_components"], "standardise": "true"}
        assert options == (components if row["n_components"] else {})


@pytest.mark.parametrize(
    ("given", "model", "metric"),
    [
        ({"model": "expansion5l", "width": "3000"}, "expansion5l", "encoding:selection=paper"),
        ({"model": "expansion5l", "width": "30"}, "expansion5l:filters=30", "encoding:selection=paper"),
        ({"model": "expansion5l", "width": "3", "n_components": "10"}, "expansion5l:filters=3", "encoding:components=10,selection=paper,standardise=true"),
        ({"model": "expansion5l-linear", "width": "3", "nonlinearity": "none"}, "expansion5l-linear:filters=3", "encoding:selection=paper"),
        ({"model": "expansion5l", "width": "300", "init": "orthogonal"}, "expansion5l:filters=300,init=orthogonal", "encoding:selection=paper"),
        ({"model": "expansion5l", "width": "30000", "nonlinearity": "gelu"}, "expansion5l:filters=30000,nonlinearity=gelu", "encoding:selection=paper"),
        ({"model": "expansion5l-lrp", "width": "30"}, "expansion5l-lrp:filters=30", "encoding:selection=paper"),
        ({"model": "fully-connected", "width": "10800"}, "fully-connected", "encoding:selection=paper"),
        ({"model": "vit-custom", "width": "600"}, "vit-custom:D=600", "encoding:selection=paper"),
        ({"model": "alexnet-trained"}, "alexnet-trained", "encoding:selection=paper"),
    ],
)  # fmt: skip
def test_identifiers(given: dict[str, str], model: str, metric: str) -> None:
    row = dict.fromkeys(COLUMNS, "") | {"analysis": "main", "benchmark": "nsd.early", "init": "kaiming_uniform", "nonlinearity": "relu"}  # fmt: skip
    assert identify(row | given, name) == (model, "nsd.early", metric)


NARROW: dict[str, dict[str, Any]] = {
    "expansion5l": {"filters_2": 4, "filters_3": 4, "filters_4": 4, "filters": 2},
    "fully-connected": {"features": 5},
    "vit-custom": {"D": 12},
}
WIDTHS = ("filters", "features", "D")
# One of each: models that differ in their width only are the same at reduced width.
DISTINCT: dict[Any, Resolved] = {}
for one in (REGISTRY.model(identify(line, name)[0]) for line in ROWS):
    DISTINCT.setdefault((one.spec.name, *sorted((k, v) for k, v in one.given.items() if k not in WIDTHS)), one)


def narrowed(model: Resolved) -> dict[str, Any]:
    """Return a model's parameters at reduced width."""
    parameters = {**model.parameters, **NARROW.get(model.spec.name, {})}
    return parameters | ({"filters_1": 4} if parameters.get("filters_1") else {})


@pytest.fixture
def weightless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Resolved], dict[str, Any]]:
    """Return a function that puts a file of zeros where weights are trained; untrained ones are zeros, too.

    What weights are drawn is the business of other tests, and takes most of the time.
    """

    def zeros(filters: int, shape: tuple[int, ...], **_: Any) -> np.ndarray:
        return np.zeros((filters, *shape), dtype=np.float32)

    monkeypatch.setattr("plugins.models._default_weights.draw_filters", zeros)

    def parameters(model: Resolved) -> dict[str, Any]:
        found = narrowed(model)
        if "weights" in found:
            import timm
            import torchvision

            build = {
                "alexnet-trained": torchvision.models.alexnet,
                "resnet50-barlowtwins": torchvision.models.resnet50,
                "vit-trained": lambda: timm.create_model("vit_base_patch16_224"),
            }[model.identifier]
            with torch.device("meta"):
                expected = build().state_dict()
            found["weights"] = str(tmp_path / "zeros.pth")
            torch.save(
                {k: torch.zeros((), dtype=t.dtype).expand(t.shape) for k, t in expected.items()}, found["weights"]
            )
        return found

    return parameters


@pytest.mark.parametrize("model", DISTINCT.values(), ids=lambda model: model.identifier)
def test_every_model_can_be_built(model: Resolved, weightless: Callable[[Resolved], dict[str, Any]]) -> None:
    """At reduced width: its layers are there, and what has a width has the features that the formula gives."""
    parameters = weightless(model)
    built = HookedModel(import_target(model.spec.load)(**parameters))
    layers = model.spec.layers(**parameters) if callable(model.spec.layers) else model.spec.layers
    built.check_layers(layers)
    if model.spec.name in NARROW:
        (layer,) = layers
        with torch.inference_mode():
            outputs = built.features(torch.zeros(1, 3, 224, 224), layers)
        of_width = {"expansion5l": 2 * (1 if parameters.get("layer_5") == "dense" else 36), "fully-connected": 5}
        assert outputs[layer].shape[1] == of_width.get(model.spec.name, 196 * 12)


def test_every_kind_of_model_is_among_them() -> None:
    names = {split_identifier(model.identifier)[0] for model in DISTINCT.values()}
    assert names == {row["model"] for row in ROWS}
    inits = {model.parameters["init"] for model in DISTINCT.values() if model.spec.name == "expansion5l"}
    kinds = {model.parameters["nonlinearity"] for model in DISTINCT.values() if model.spec.name == "expansion5l"}
    assert inits == {row["init"] for row in ROWS}
    assert kinds == {row["nonlinearity"] for row in ROWS}


def test_scores_are_read() -> None:
    scores = list(read_published(TABLE, name))
    assert len(scores) == len(ROWS)
    first = next(s for s in scores if (s.model, s.benchmark, s.analysis) == ("alexnet-trained", "majajhong.IT", "main"))
    assert (first.r_pattern, first.ci_low, first.ci_high, first.n_features) == (0.5979, 0.5872, 0.6084, None)
    assert first.metric == "encoding:selection=paper"
    assert all(0 < s.r_pattern < 1 and s.ci_low < s.r_pattern < s.ci_high for s in scores if s.ci_low and s.ci_high)


HEAD = ",".join(COLUMNS) + "\n"
LINE = "main,majajhong.IT,expansion5l,3,108,,kaiming_uniform,relu,0.3,0.2,0.4\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column analysis, benchmark"),
        ("a,b\n1,2\n", "has no column analysis, benchmark"),
        (HEAD + LINE + "main,majajhong.IT\n", "line 3: wrong number of columns"),
        (HEAD + LINE.replace(",3,", ",three,"), "line 2: width 'three' is not a whole number"),
        (HEAD + LINE.replace("0.3", "high"), "line 2: score 'high' is not a number"),
        (HEAD + LINE.replace("0.3", "nan"), "line 2: score 'nan' is not a number"),
        (HEAD + LINE.replace("expansion5l", "expansion6l"), "line 2: unknown model"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        list(read_published(path, name))
    assert str(path) in str(caught.value)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="not there"):
        list(read_published(tmp_path / "scores.csv"))
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read the table"):
        list(read_published(path))
    with pytest.raises(InputError, match="scores of the analysis 'noise-ceiling' have no model"):
        identify(dict.fromkeys(COLUMNS, "") | {"analysis": "noise-ceiling"})
