"""Keys: what a stored result depends on, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark_core.identifiers import Parameter
from benchmark_core.keys import digest, file_sha256, representation_key, score_key
from benchmark_core.pipeline import Numerics, candidate_layers, layer_keys
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.resolution import resolve
from benchmark_core.specs import ModelSpec
from benchmark_core.stimuli import StimulusSet
from benchmark_core.store import Store

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.dictionaries(st.text(max_size=4), plain, max_size=5), st.randoms())
def test_digest_is_independent_of_the_order_of_keys(document: dict[str, Any], shuffle: Any) -> None:
    items = list(document.items())
    shuffle.shuffle(items)
    assert digest(dict(items)) == digest(document)
    assert len(digest(document)) == 64
    assert digest({**document, "one more": 1}) != digest(document)


def test_digest_tells_types_and_order_of_lists_apart() -> None:
    documents: list[Any] = [1, 1.0, True, "1", None, [1, 2], [2, 1], {"a": 1}, {"a": None}, {}, []]
    assert len({digest(d) for d in documents}) == len(documents)
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": float("nan")})


def test_digest_is_the_same_on_every_machine() -> None:
    canonical = '{"a":[1,2.5,true,null],"b":"\\u00e9"}'
    assert digest({"b": "é", "a": [1, 2.5, True, None]}) == hashlib.sha256(canonical.encode()).hexdigest()


REPRESENTATION: dict[str, Any] = {
    "model": "net",
    "version": "1",
    "parameters": {"a": 1, "b": 2.0},
    "weights": "philox",
    "preprocessing": Preprocessing().as_key(),
    "stimuli": "hash of stimuli",
    "layers": ["one", "two"],
    "policy": "exact",
}
SCORE: dict[str, Any] = {
    "representations": [["r1", "r2"], ["r3"]],
    "target": "t",
    "splits": "s",
    "groups": None,
    "benchmark": "data.V4",
    "benchmark_version": "1",
    "metric": "encoding",
    "metric_version": "1",
    "parameters": {"seed": 1},
    "layer": "auto",
}


@pytest.mark.parametrize(
    ("ingredient", "value"),
    [
        ("model", "other"),
        ("version", "1+abc"),
        ("parameters", {"a": 1}),
        ("parameters", {"a": 2, "b": 2.0}),
        ("weights", "sha256"),
        ("preprocessing", Preprocessing(size=(223, 224)).as_key()),
        ("preprocessing", Preprocessing(shorter_side=256).as_key()),
        ("preprocessing", Preprocessing(interpolation="bicubic").as_key()),
        ("preprocessing", Preprocessing(colour="grey", mean=(0.0,), std=(1.0,)).as_key()),
        ("preprocessing", Preprocessing(mean=(0.0, 0.0, 0.0)).as_key()),
        ("preprocessing", Preprocessing(std=(1.0, 1.0, 1.0)).as_key()),
        ("stimuli", "other stimuli"),
        ("layers", ["one"]),
        ("layers", ["two", "one"]),
        ("policy", "fast"),
    ],
)
def test_each_ingredient_changes_a_representations_key(ingredient: str, value: Any) -> None:
    assert value != REPRESENTATION[ingredient]
    assert representation_key(**REPRESENTATION | {ingredient: value}) != representation_key(**REPRESENTATION)


@pytest.mark.parametrize(
    ("ingredient", "value"),
    [
        ("representations", [["r2", "r1"], ["r3"]]),
        ("representations", [["r1", "r2", "r3"]]),
        ("representations", [["r3"], ["r1", "r2"]]),
        ("target", "other"),
        ("splits", "other"),
        ("groups", "photographs"),
        ("benchmark", "data.IT"),
        ("benchmark_version", "2"),
        ("metric", "rsa"),
        ("metric_version", "2"),
        ("parameters", {"seed": 2}),
        ("layer", "one"),
    ],
)
def test_each_ingredient_changes_a_scores_key(ingredient: str, value: Any) -> None:
    assert score_key(**SCORE | {ingredient: value}) != score_key(**SCORE)


def test_kinds_of_keys_never_meet() -> None:
    assert representation_key(**REPRESENTATION) != score_key(**SCORE)
    parameters = {"b": 2.0, "a": 1}
    assert representation_key(**REPRESENTATION | {"parameters": parameters}) == representation_key(**REPRESENTATION)


def test_keys_are_hashes_of_json_that_never_changes() -> None:
    """Another document would orphan everything that users have stored."""
    document = (
        '{"kind":"representation","layers":["one","two"],"model":"net","parameters":{"a":1,"b":2.0},"policy":"exact",'
        '"preprocessing":{"colour":"rgb","interpolation":"bilinear","mean":[0.485,0.456,0.406],"shorter_side":null,'
        '"size":[224,224],"std":[0.229,0.224,0.225]},"stimuli":"hash of stimuli","version":"1","weights":"philox"}'
    )
    assert representation_key(**REPRESENTATION) == hashlib.sha256(document.encode()).hexdigest()
    document = (
        '{"benchmark":"data.V4","benchmark_version":"1","groups":null,"kind":"score","layer":"auto","metric":"encoding",'
        '"metric_version":"1","parameters":{"seed":1},"representations":[["r1","r2"],["r3"]],"splits":"s","target":"t"}'
    )
    assert score_key(**SCORE) == hashlib.sha256(document.encode()).hexdigest()


def test_hash_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 100_000)
    assert file_sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


# The keys that the pipeline asks for


def keys(tmp_path: Path, identifier: dict[str, Any] | None = None, name: str = "net", **changes: Any) -> dict[str, str]:
    weights = tmp_path / "weights.bin"
    if not weights.exists():
        weights.write_bytes(b"first")
    declared: dict[str, Any] = {
        "name": "net",
        "version": 1,
        "load": "never:imported",
        "layers": ("one", "two"),
        "parameters": (Parameter("width", "int", 4), Parameter("seed", "int", 0)),
        "variants": {"net-wide": {"width": 8}},
        "weights": lambda width, seed: weights,
    }
    model = resolve(ModelSpec(**declared | changes), name, identifier or {})
    stimuli = StimulusSet(("a", "b"), (Path("a.png"), Path("b.png")), ("1", "2"))
    return layer_keys(model, "1", stimuli, candidate_layers(model), "exact", Store(tmp_path / "cache"))


def test_keys_of_layers(tmp_path: Path) -> None:
    first = keys(tmp_path)
    assert list(first) == ["one", "two"]
    assert len(set(first.values())) == 2
    assert keys(tmp_path, {"width": "4"}) == first  # a default
    assert keys(tmp_path, name="net-wide") == keys(tmp_path, {"width": "8"}) != first
    # Which layers were asked for together is not part of a layer's key.
    assert keys(tmp_path, layers=("two",)) == {"two": first["two"]}
    # A further parameter keeps what is stored, as long as it has its default.
    more = (Parameter("width", "int", 4), Parameter("seed", "int", 0), Parameter("depth", "int", 2))
    assert keys(tmp_path, parameters=more, weights=lambda **_: tmp_path / "weights.bin") == first


def test_the_bytes_of_a_weights_file_enter_the_key(tmp_path: Path) -> None:
    first = keys(tmp_path)
    assert keys(tmp_path, weights="a recipe") != first
    (tmp_path / "copy.bin").write_bytes(b"first")
    assert keys(tmp_path, weights=lambda **_: tmp_path / "copy.bin") == first  # wherever it lies
    (tmp_path / "weights.bin").write_bytes(b"other")
    assert keys(tmp_path) != first


def test_only_the_precision_of_the_numerics_enters_keys(tmp_path: Path) -> None:
    """Device, backend and batch size have no way in: layer_keys takes the precision alone."""
    import inspect

    assert set(inspect.signature(layer_keys).parameters) == {
        "model",
        "version",
        "stimuli",
        "layers",
        "precision",
        "store",
    }
    assert set(Numerics.__dataclass_fields__) == {"device", "devices", "backend", "precision", "batch_size"}
    assert set(inspect.signature(representation_key).parameters) == set(REPRESENTATION)
