"""The registry: how identifiers are looked up, claimed twice, resolved by families, and versioned."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from drop_ins import HEADER, drop_in_folder, from_folders, model  # noqa: F401 (a fixture)

from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.registry import Registry, is_glob

FAMILY = """
@hookimpl
def register_models():
    zoo = {"small": 1, "large": 2}
    return [ModelFamily(
        prefix=PREFIX,
        names=lambda: list(zoo),
        resolve=lambda name: ModelSpec(
            name=PREFIX + "/" + name, version=zoo[name], load=dict, parameters=(Parameter("seed", "int", 0),)
        ),
    )]
"""


def family(prefix: str = "zoo") -> str:
    return f"{HEADER}\nPREFIX = {prefix!r}\n{FAMILY}"


def line_of(path: Path, text: str) -> str:
    lines = path.read_text().splitlines()
    return f"{path}:{next(i for i, line in enumerate(lines, start=1) if text in line)}"


# Two claims to one identifier


def test_an_identifier_claimed_twice_is_unusable_and_all_else_works(folder: Path) -> None:
    (folder / "a.py").write_text(model("twice") + "\n@hookimpl\ndef register_metrics():\n    return []\n")
    (folder / "b.py").write_text(model("once", extra=", variants={'twice': {}, 'once-more': {}}"))
    registry = from_folders(folder)
    assert registry.models.names() == ["once", "once-more"]
    assert registry.model("once").identifier == "once"
    places = [line_of(folder / "a.py", "ModelSpec(name='twice'"), line_of(folder / "b.py", "ModelSpec(name='once'")]
    with pytest.raises(InputError) as caught:
        registry.model("twice")
    assert str(caught.value) == (
        f"the model identifier 'twice' is claimed 2 times, by {places[0]} and {places[1]}; rename one of them"
    )
    assert [str(p) for p in registry.problems] == [f"twice: {caught.value}"]
    with pytest.raises(InputError, match="claimed 2 times"):
        registry.expand_models("twice")
    assert [r.identifier for r in registry.expand_models("*")] == ["once"]


def test_a_drop_in_cannot_replace_a_built_in(folder: Path) -> None:
    (folder / "mine.py").write_text(
        model("pixels")
        + """
@hookimpl
def register_benchmarks():
    return [BenchmarkSpec(name="simulated.V4", version=9, stimuli=dict, target=dict, splits=KFold())]

@hookimpl
def register_metrics():
    return [MetricSpec(name="encoding", version=9, compute=dict)]
"""
    )
    registry = Registry([folder], installed=False)
    assert sorted(p.where for p in registry.problems) == ["encoding", "pixels", "simulated.V4"]
    for find, name in ((registry.model, "pixels"), (registry.benchmark, "simulated.V4"), (registry.metric, "encoding")):
        with pytest.raises(InputError, match=r"claimed 2 times, by .*plugins.*\.py:\d+ and .*mine\.py:\d+"):
            find(name)
    assert registry.model("expansion5l").identifier == "expansion5l"


# Looking up


def test_unknown_names_suggest_known_ones(folder: Path) -> None:
    (folder / "m.py").write_text(model("resnet50"))
    registry = from_folders(folder)
    with pytest.raises(InputError, match=r"^unknown model 'resnet5'\. Did you mean resnet50\?$"):
        registry.model("resnet5")
    with pytest.raises(InputError, match=r"^unknown model 'qqq'\. See: bench list models\.$"):
        registry.model("qqq")
    with pytest.raises(InputError, match=r"unknown benchmark 'V4'\. See: bench list benchmarks"):
        registry.benchmark("V4")
    with pytest.raises(InputError, match="unknown metric 'encodin'"):
        registry.metric("encodin")
    (folder / "broken.py").write_text("1 / 0")
    with pytest.raises(InputError, match=r"\(1 plugin problem: see bench list\)$"):
        from_folders(folder).model("qqq")


def test_globs(folder: Path) -> None:
    (folder / "m.py").write_text(
        model("net", extra=", variants={'net-small': {'k': 1}}, parameters=(Parameter('k', 'int', 0),)")
    )
    (folder / "n.py").write_text(model("pix"))
    (folder / "b.py").write_text(
        HEADER + "@hookimpl\ndef register_benchmarks():\n    return [BenchmarkSpec(name=n, version=1, stimuli=dict, "
        "target=dict, splits=KFold()) for n in ('d.V4', 'd.V4-x', 'd.IT')]\n"
    )
    registry = from_folders(folder)

    def models(pattern: str) -> list[str]:
        return [r.identifier for r in registry.expand_models(pattern)]

    assert models("*") == ["net", "net-small", "pix"]
    assert models("net*") == ["net", "net-small"]
    assert models("[np]?[tx]") == ["net", "pix"]
    assert models("net") == ["net"]
    # Both names with k=1 are one model.
    assert models("net*:k=1") == ["net-small"]
    assert [b.name for b in registry.expand_benchmarks("d.V4*")] == ["d.V4", "d.V4-x"]
    assert [b.name for b in registry.expand_benchmarks("d.IT")] == ["d.IT"]
    with pytest.raises(InputError, match=r"no model matches 'x\*'"):
        models("x*")
    with pytest.raises(InputError, match=r"no benchmark matches 'x\*'"):
        registry.expand_benchmarks("x*")
    assert not is_glob("net:k=1")


# Families


def test_a_family_resolves_its_names(folder: Path) -> None:
    (folder / "zoo.py").write_text(family())
    registry = from_folders(folder)
    assert registry.problems == []
    assert registry.models.names() == []  # a plain list does not open it
    resolved = registry.model("zoo/large:seed=3")
    assert (resolved.identifier, resolved.spec.version) == ("zoo/large:seed=3", 2)
    assert registry.model("zoo/large").spec is resolved.spec
    with pytest.raises(InputError, match=r"unknown model 'zoo/larg'\. Did you mean zoo/large"):
        registry.model("zoo/larg")
    with pytest.raises(InputError, match="has no parameter 'sed'"):
        registry.model("zoo/large:sed=3")

    def models(pattern: str) -> list[str]:
        return [r.identifier for r in registry.expand_models(pattern)]

    assert models("zoo/*") == models("*/*") == models("z?o/*[el]") == ["zoo/small", "zoo/large"]
    assert models("*/small:seed=1") == ["zoo/small:seed=1"]
    for pattern in ("*", "zoo*", "moo/*"):
        with pytest.raises(InputError, match="no model matches"):
            models(pattern)


def test_a_familys_failures_are_one_line(folder: Path) -> None:
    text = (
        family().replace("lambda: list(zoo)", "NAMES").replace("lambda name: ModelSpec(", "RESOLVE or (lambda name: ")
    )
    cases = {
        "importing": "def RESOLVE(name):\n    raise ImportError('no zoo\\nhere')",
        "missing": "from benchmark_core import MissingDataError\ndef RESOLVE(name):\n    raise MissingDataError('get it')",
        "wrong": "def RESOLVE(name):\n    return 3",
        "renamed": "def RESOLVE(name):\n    return ModelSpec(name='other', version=1, load=dict)",
        "unlisted": "def RESOLVE(name):\n    raise KeyError(name)",
    }
    for name, code in cases.items():
        body = text.replace(
            "PREFIX = 'zoo'", f"PREFIX = {name!r}\ndef NAMES():\n    raise OSError('offline')\n{code}\n"
        )
        body = body[: body.index("RESOLVE or")] + "RESOLVE)]\n"
        (folder / f"{name}.py").write_text(body)
    registry = from_folders(folder)
    assert registry.problems == []
    with pytest.raises(InputError, match=r"importing/\.\.\. cannot give 'importing/x' \(ImportError: no zoo here\)"):
        registry.model("importing/x")
    with pytest.raises(MissingDataError, match="get it"):
        registry.model("missing/x")
    with pytest.raises(InputError, match=r"wrong/\.\.\. gave int for 'wrong/x'"):
        registry.model("wrong/x")
    with pytest.raises(InputError, match=r"renamed/\.\.\. gave 'other' for 'renamed/x'"):
        registry.model("renamed/x")
    with pytest.raises(InputError, match=r"unlisted/\.\.\. cannot list its names \(OSError: offline\)"):
        registry.model("unlisted/x")


def test_claims_inside_a_family(folder: Path) -> None:
    (folder / "a.py").write_text(family())
    (folder / "b.py").write_text(model("zoo/small") + "\n")
    (folder / "c.py").write_text(family("garden"))
    (folder / "d.py").write_text(family("garden"))
    registry = from_folders(folder)
    assert sorted(p.where for p in registry.problems) == ["garden/...", "zoo/small"]
    with pytest.raises(InputError, match=r"'zoo/small' is claimed 2 times, by .*b\.py:\d+ and .*a\.py:\d+"):
        registry.model("zoo/small")
    with pytest.raises(InputError, match=r"'garden/small' is claimed 2 times, by .*c\.py:\d+ and .*d\.py:\d+"):
        registry.model("garden/small")
    assert registry.model("zoo/large").identifier == "zoo/large"


# Versions


def test_a_drop_ins_source_enters_its_version(folder: Path) -> None:
    # Both specs are written by one line of a module that both files use.
    (folder / "_shared.py").write_text(
        HEADER + "def make(name):\n    return ModelSpec(name=name, version=4, load=dict)\n"
    )
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(
            f"import sys; sys.path.insert(0, {str(folder)!r}); from _shared import make; sys.path.pop(0)\n"
            f"{HEADER}@hookimpl\ndef register_models():\n    return [make({name!r})]\n"
        )
    (folder / "zoo.py").write_text(family())
    registry = from_folders(folder)
    sys.modules.pop("_shared")
    assert registry.problems == []

    def expected(file: str, version: int) -> str:
        return f"{version}+{hashlib.sha256((folder / file).read_bytes()).hexdigest()[:12]}"

    assert registry.version(registry.model("one").spec) == expected("one.py", 4)
    assert registry.version(registry.model("two").spec) == expected("two.py", 4)
    assert registry.version(registry.model("zoo/large").spec) == expected("zoo.py", 2)
    before = registry.version(registry.model("two").spec)
    with (folder / "two.py").open("a") as file:
        file.write("# another version\n")
    after = from_folders(folder)
    sys.modules.pop("_shared")
    assert after.version(after.model("two").spec) == expected("two.py", 4) != before
    assert after.version(after.model("one").spec) == expected("one.py", 4)


def test_a_built_ins_version_is_what_it_declares() -> None:
    registry = Registry(installed=False)
    assert registry.version(registry.model("expansion5l").spec) == "1"
    assert registry.version(registry.benchmark("simulated.V4")) == str(registry.benchmark("simulated.V4").version)
