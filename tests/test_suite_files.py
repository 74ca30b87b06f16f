"""Suites as files: what they mean, and what is wrong with them in one line that names file, table and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark_core.errors import InputError
from benchmark_core.registry import Registry
from benchmark_core.suite_files import load_suite, suite_paths
from benchmark_core.suites import plan_suite, suite_cells

REGISTRY = Registry(installed=False)
GRID = '[[grid]]\nmodels = ["pixels"]\nbenchmarks = ["simulated.V4"]\n'
MANY = """
description = "both"
metrics = ["encoding"]

[[grid]]
models = ["pixels"]

[dataset.cowley2023]
benchmarks = ["cowley2023.V4"]

[[dataset.cowley2023.grid]]
group = "wide"
models = ["expansion5l"]
parameters = { filters = [3, 30], init = "orthogonal" }
metrics = ["encoding:selection=paper"]
metric_parameters = { components = [1, 10] }
reference = true

[dataset.simulated]
benchmarks = ["simulated.V4"]

[without]
nsd = "nobody has it"
"""


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_sections_share_what_stands_outside(tmp_path: Path) -> None:
    path = write(tmp_path, MANY)
    suite = load_suite(path)
    assert (suite.name, suite.description, suite.dataset_names) == ("mine", "both", ("cowley2023", "simulated"))
    cells = suite_cells(suite, "cowley2023", registry=REGISTRY)
    assert [(c.group, c.models[0], c.metric, dict(c.axes), c.reference) for c in cells] == [
        ("pixels", "pixels", "encoding", {}, False),
        *(
            (
                "wide",
                f"expansion5l:filters={filters},init=orthogonal",
                f"encoding:components={k},selection=paper",
                {"filters": filters, "components": k},
                True,
            )
            for k in (1, 10)
            for filters in (3, 30)
        ),
    ]
    assert [c.models for c in suite_cells(path, "simulated", registry=REGISTRY)] == [("pixels",)]


def test_cells_are_planned_once_each_model_by_model(tmp_path: Path) -> None:
    text = """
[[grid]]
group = "first"
models = ["expansion5l", "pixels"]
benchmarks = ["simulated.V4", "simulated.V4-shuffled"]
metrics = ["encoding", "noise-ceiling"]

[[grid]]
group = "second"
models = ["pixels"]
benchmarks = ["simulated.V4"]

[[grid]]
models = [["pixels", "expansion5l:filters=3"]]
benchmarks = ["simulated.V4"]
metrics = ["variance-partitioning"]
"""
    cells = suite_cells(write(tmp_path, text), registry=REGISTRY)
    pixels = [c for c in cells if c.models == ("pixels",) and c.benchmark == "simulated.V4"]
    assert [c.group for c in pixels if c.metric == "encoding"] == ["first", "second"]
    assert cells[-1].group == "pixels + expansion5l:filters=3"
    plan = plan_suite(cells)
    names = [" + ".join(m.identifier for m in cell.models) for cell in plan]
    assert names == ["", "", "expansion5l", "expansion5l", "pixels", "pixels", "pixels + expansion5l:filters=3"]


def test_seeds_draw_models_that_are_drawn(tmp_path: Path) -> None:
    text = GRID.replace('"pixels"', '"pixels", "expansion5l"')
    notes: list[str] = []
    cells = suite_cells(write(tmp_path, text), registry=REGISTRY, seeds=[0, 2], note=notes.append)
    drawn = [(c.models[0], dict(c.axes), c.seed) for c in cells]
    assert drawn == [("pixels", {}, None), ("expansion5l", {"seed": 0}, 0), ("expansion5l:seed=2", {"seed": 2}, 2)]
    assert notes == ["pixels has no random weights: scored once"]


def test_globs_and_metrics_of_the_benchmarks_own(tmp_path: Path) -> None:
    text = '[[grid]]\nmodels = ["expansion5l-*:filters=3"]\nbenchmarks = ["kriegeskorte92.*"]\n'
    cells = suite_cells(write(tmp_path, text), registry=REGISTRY)
    assert len(cells) == 2 * 6
    assert {cell.metric for cell in cells} == {"rsa"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine\.toml names nothing to score: add a table \[\[grid\]\]"),
        ("[[grid", r"mine\.toml is not valid TOML: "),
        ("grids = 3", r"mine\.toml: unknown key 'grids'\. Did you mean grid"),
        ('[grid]\nmodels = ["pixels"]', r"write each grid as a table \[\[grid\]\]"),
        (GRID + 'modles = ["a"]', r"mine\.toml: \[\[grid\]\] 1: unknown key 'modles'\. Did you mean models"),
        (GRID.replace('["pixels"]', "3"), r"\[\[grid\]\] 1: models must be a list of identifiers"),
        (GRID.replace('["pixels"]', "[[]]"), r"\[\[grid\]\] 1: models must be a list of identifiers; a list in it"),
        ('[[grid]]\nmodels = ["pixels"]', r"\[\[grid\]\] 1: benchmarks are missing"),
        (GRID + "metrics = []", r"\[\[grid\]\] 1: metrics must be a list of texts"),
        (GRID + "layer = 3", r"\[\[grid\]\] 1: layer must be a text"),
        (GRID + 'reference = "yes"', r"\[\[grid\]\] 1: reference must be true or false"),
        (GRID + "parameters = 3", r"\[\[grid\]\] 1: parameters must be a table"),
        (GRID + "parameters = { filters = [] }", r"1: parameters.filters must be a value, or a list of values"),
        (GRID + "parameters = { filters = [[3]] }", r"1: parameters.filters must be a value, or a list of values"),
        (GRID + "metric_parameters = { components = [1] }", r"1: metric_parameters need metrics"),
        (
            GRID + 'metrics = ["encoding"]\nparameters = { seed = [1] }\nmetric_parameters = { seed = [1] }',
            "'seed' varies in parameters and in metric_parameters",
        ),
        ('[[grid]]\nbenchmarks = ["simulated.V4"]\nparameters = { filters = 3 }', "parameters need models"),
        ("[dataset.a]\nbenchmarks = ['a.b']", r"add a table \[\[dataset\.a\.grid\]\]"),
        ("[dataset]\na = 3", r"mine\.toml: \[dataset\.a\] must be a table"),
        ("[dataset.a]\nmodels = ['pixels']", r"mine\.toml: \[dataset\.a\]: unknown key 'models'"),
        (GRID + "\n[without]\nnsd = 3", r"\[without\]: nsd must be a text"),
        (GRID + "metrics = ['encodding']", r"mine\.toml: \[\[grid\]\] 1: unknown metric 'encodding'.* encoding"),
        (GRID.replace("pixels", "pixel"), r"mine\.toml: \[\[grid\]\] 1: unknown model 'pixel'.* pixels"),
        (GRID.replace("V4", "V5"), r"mine\.toml: \[\[grid\]\] 1: unknown benchmark 'simulated.V5'.* simulated.V4"),
        (GRID + "parameters = { filter = 3 }", r"\[\[grid\]\] 1: pixels has no parameter 'filter'"),
        (
            GRID.replace("pixels", "expansion5l:filters=3") + "parameters = { filters = [3] }",
            "'expansion5l:filters=3' names the parameter 'filters', which the grid's parameters name, too",
        ),
        (GRID + "metrics = ['variance-partitioning']", "compares 2 to 3 models, not 1"),
        (GRID + "metrics = ['classification']", "classification cannot score simulated.V4"),
        ('[[grid]]\nbenchmarks = ["simulated.V4"]', r"\[\[grid\]\] 1: name at least one model"),
    ],
)
def test_what_has_no_meaning_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        suite_cells(write(tmp_path, text), registry=REGISTRY)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no suite file .*absent\.toml"):
        load_suite(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="cannot read the suite"):
        load_suite(str(tmp_path) + "/")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not a text in UTF-8"):
        load_suite(tmp_path / "binary.toml")


def test_datasets_are_named_or_the_only_one(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, MANY))
    with pytest.raises(InputError, match="add --dataset with one of cowley2023, simulated"):
        suite.grids(None)
    with pytest.raises(InputError, match=r"no dataset 'cowley'.* Did you mean cowley2023"):
        suite.grids("cowley")
    with pytest.raises(InputError, match="suite mine has nothing for nsd: nobody has it"):
        suite.grids("nsd")
    plain = load_suite(write(tmp_path, GRID, "plain.toml"))
    assert plain.dataset_names == ()
    assert len(plain.grids(None)) == 1
    with pytest.raises(InputError, match="leave --dataset out"):
        plain.grids("simulated")
    one = load_suite(write(tmp_path, "[dataset.d]\n" + GRID.replace("[[grid]]", "[[dataset.d.grid]]"), "one.toml"))
    assert one.dataset(None) == "d"


def test_suites_of_the_users_have_names(home: Path) -> None:
    folder = home / "suites"
    folder.mkdir(parents=True)
    write(folder, GRID)
    assert load_suite("mine").path == folder / "mine.toml"
    assert list(suite_paths())[-1] == "mine"
    with pytest.raises(InputError, match=r"unknown suite 'mien'\. Did you mean mine"):
        load_suite("mien")
    write(folder, GRID, "paper.main.toml")
    with pytest.raises(InputError, match=r"there is a built-in suite 'paper\.main'; give the file another name"):
        load_suite("mine")
    (folder / "paper.main.toml").unlink()
    write(folder, GRID, "two words.toml")
    with pytest.raises(InputError, match="letters, digits"):
        suite_paths()
