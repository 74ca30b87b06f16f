"""Identifiers that are unknown, misspelt or ill-formed: status 2, one line, nothing written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bench_command import Bench, Tree

RUN_ON = ("--benchmark", "toy.V4")

MODELS = {
    "no-such-model": ("unknown model 'no-such-model'", "bench list models"),
    "toy-pixel": ("unknown model 'toy-pixel'", "Did you mean toy-pixels"),
    "": ("'' is not an identifier", "NAME:key=value"),
    "toy pixels": ("is not an identifier",),
    "../toy": ("is not an identifier",),
    "zzz*": ("no model matches 'zzz*'", "bench list models"),
    "toy-pixels:": ("names no parameter", "toy-pixels:key=value"),
    "toy-pixels:scale": ("'scale' in", "expected key=value"),
    "toy-pixels:=1": ("'=1' in", "expected key=value"),
    "toy-pixels:scale=": ("'scale=' in", "expected key=value"),
    "toy-pixels:scale=1,,rows=2": ("expected key=value",),
    "toy-pixels:scale=1,scale=2": ("names the parameter 'scale' twice",),
    "toy-pixels:sclae=1": ("no parameter 'sclae'", "Did you mean scale?"),
    "pixels:size=3": ("pixels has no parameter 'size'", "it has none"),
    "toy-pixels:scale=abc": ("scale=abc is not allowed", "a number from 0.5 to 2"),
    "toy-pixels:scale=3": ("scale=3 is not allowed", "a number from 0.5 to 2"),
    "toy-pixels:scale=nan": ("scale=nan is not allowed",),
    "toy-pixels:scale=1e999": ("scale=1e999 is not allowed",),
    "toy-pixels:rows=1.5": ("rows=1.5 is not allowed", "a whole number of at least 1"),
    "toy-pixels:rows=0": ("rows=0 is not allowed", "a whole number of at least 1"),
    "toy-pixels:rows=²": ("rows=² is not allowed",),
    "toy-pixels:mode=odd": ("mode=odd is not allowed", "one of plain, fancy"),
    "toy-pixels:flip=1": ("flip=1 is not allowed", "true or false"),
    "toy-*:scale=1": ("no parameter 'scale'",),
    "expansion5l:filters=abc": ("filters=abc is not allowed", "a whole number"),
}

BENCHMARKS = {
    "toy.V5": ("unknown benchmark 'toy.V5'", "Did you mean toy.V4"),
    "nowhere.IT": ("unknown benchmark 'nowhere.IT'",),
    "": ("unknown benchmark ''",),
    "toy.X*": ("no benchmark matches 'toy.X*'", "bench list benchmarks"),
    "toy.V4:k=3": ("unknown benchmark 'toy.V4:k=3'", "Did you mean toy.V4"),
    "toy.V4-labels": ("encoding:n_bootstrap=100 cannot score toy.V4-labels", "it accepts responses, not labels"),
}

METRICS = {
    "encodin": ("unknown metric 'encodin'", "Did you mean encoding?"),
    "": ("'' is not an identifier",),
    "encoding:seed=-1": ("seed=-1 is not allowed",),
    "encoding:n_bootstrap=10": ("n_bootstrap=10 is not allowed", "from 100 to"),
    "encoding:alpha=1": ("no parameter 'alpha'", "alpha_per_target"),
    "encoding:selection=best": ("one of loo, paper",),
    "toy-pair": ("toy-pair compares 2 to 3 models, not 1",),
}


@pytest.mark.parametrize("model", MODELS)
def test_model(bench: Bench, part: Path, tree: Tree, model: str) -> None:
    before = tree()
    bench("run", "--model", model, *RUN_ON).fails(2, "error: ", *MODELS[model])
    assert tree() == before


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark(bench: Bench, part: Path, tree: Tree, name: str) -> None:
    before = tree()
    bench("run", "--model", "toy-pixels", "--benchmark", name).fails(2, "error: ", *BENCHMARKS[name])
    assert tree() == before


@pytest.mark.parametrize("metric", METRICS)
def test_metric(bench: Bench, part: Path, tree: Tree, metric: str) -> None:
    before = tree()
    bench("run", "--model", "toy-pixels", *RUN_ON, "--metric", metric).fails(2, "error: ", *METRICS[metric])
    assert tree() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "nonsense"], ["cannot list 'nonsense'", "models, benchmarks and metrics"]),
        (["list", "model"], ["Did you mean models?"]),
        (["list", "models", "zzz*"], ["nothing matches 'zzz*'", "bench list"]),
        (["info", "nonsense"], ["no model, benchmark or metric is named 'nonsense'"]),
        (["info", ""], ["'' is not an identifier"]),
        (["info", "toy.V4:k=3"], ["benchmarks have no parameters", "toy.V4"]),
        (["info", "toy-pixels:rows=x"], ["rows=x is not allowed"]),
        (["data", "fetch", "cowley2032"], ["unknown dataset 'cowley2032'", "Did you mean cowley2023?"]),
        (["data", "import", "nothing", "--from", "."], ["unknown dataset 'nothing'", "toy"]),
        (["data", "verify", "nothing"], ["unknown dataset 'nothing'"]),
        (["data", "fetch", "toy"], ["'toy' cannot be downloaded", "bench data import toy --from DIR"]),
        (["data", "import", "simulated", "--from", "."], ["'simulated' cannot be imported", "built when it is first"]),
        (["cache", "prune", "--max-size", "abc"], ["'abc' is not a size", "500MB"]),
        (["cache", "prune", "--max-size", "-5GB"], ["'-5GB' is not a size"]),
        (["cache", "prune", "--max-size", "nan"], ["'nan' is not a size"]),
    ],
    ids=" ".join,
)
def test_other_commands(bench: Bench, tree: Tree, arguments: list[str], words: list[str]) -> None:
    before = tree()
    bench(*arguments).fails(2, "error: ", *words)
    assert {path for path in tree() if path != "cache"} == set(before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["No such command 'nonsense'"]),
        (["runn"], ["No such command 'runn'", "run"]),
        (["data", "nonsense"], ["No such command 'nonsense'"]),
        (["run", "--model"], ["--model", "requires an argument"]),
        (["run", "--no-such-option"], ["No such option", "--no-such-option"]),
        (["info"], ["Missing argument 'IDENTIFIER'"]),
        (["info", "pixels", "more"], ["unexpected extra argument"]),
        (["data", "import", "cowley2023"], ["Missing option '--from'"]),
        (["data", "fetch"], ["Missing argument 'NAME'"]),
    ],
    ids=" ".join,
)
def test_usage(bench: Bench, tree: Tree, arguments: list[str], words: list[str]) -> None:
    bench(*arguments).refused(*words)
    assert tree() == {}


@pytest.mark.parametrize("arguments", [[], ["--model", "toy-pixels"], ["--benchmark", "toy.V4"]], ids=" ".join)
def test_a_run_needs_models_and_benchmarks(bench: Bench, tree: Tree, arguments: list[str]) -> None:
    done = bench("run", *arguments)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert re.search("at least one (model|benchmark)", done.stderr)
    assert tree() == {}


def test_a_pair_that_cannot_go_together_is_skipped_when_it_comes_from_a_glob(bench: Bench, part: Path) -> None:
    done = bench("run", "-m", "toy-pixels", "-b", "toy.V4-lab*", "--json").fails(0, "skipped", "not labels")
    assert done.results == []


def test_all_layers_are_fine(bench: Bench, part: Path) -> None:
    done = bench("run", "-m", "toy-layers", "-b", "toy.V4", "--layer", "all", "--json")
    assert (done.status, done.stderr) == (0, "")
    assert [(r["layer"], r["status"]) for r in done.results] == [("0", "ok"), ("output", "ok")]


@pytest.mark.parametrize(
    ("layer", "hint"), [("outputt", "Did you mean output?"), ("", "Did you mean"), ("2", "It has 0, 1")]
)
def test_unknown_layer(bench: Bench, part: Path, layer: str, hint: str) -> None:
    done = bench("run", "-m", "toy-layers", "-b", "toy.V4", "--layer", layer, "--json")
    done.fails(2, "failed: toy-layers on toy.V4", f"no layer {layer!r}", hint)
    assert [r["status"] for r in done.results] == ["failed"]
