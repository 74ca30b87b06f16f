"""The registry: where plugins come from, how broken ones are kept apart, and how identifiers are looked up."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark_core import hookspecs
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.registry import Registry, check_ownership, describe, is_glob

REPOSITORY = Path(__file__).resolve().parent.parent
HEADER = "from benchmark_core import BenchmarkSpec, KFold, MetricSpec, ModelFamily, ModelSpec, Parameter, hookimpl\n"


def model(name: str, version: int = 1, extra: str = "") -> str:
    return f"""{HEADER}
@hookimpl
def register_models():
    return [ModelSpec(name={name!r}, version={version}, load=dict{extra})]
"""


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "drop-ins"
    path.mkdir()
    return path


def from_folders(*folders: Path) -> Registry:
    return Registry(folders, built_in=False, installed=False)


def line_of(path: Path, text: str) -> str:
    lines = path.read_text().splitlines()
    return f"{path}:{next(i for i, line in enumerate(lines, start=1) if text in line)}"


# Hooks


def test_three_hooks_each_with_a_line_of_docstring() -> None:
    hooks = {name: value for name, value in vars(hookspecs).items() if name.startswith("register_")}
    assert sorted(hooks) == ["register_benchmarks", "register_metrics", "register_models"]
    for name, hook in hooks.items():
        assert hasattr(hook, f"{hookspecs.PROJECT}_spec"), name
        documentation = inspect.getdoc(hook)
        assert documentation, name
        assert "\n" not in documentation
        assert documentation.endswith(".")


def test_one_file_may_implement_all_three(folder: Path) -> None:
    (folder / "all.py").write_text(
        model("m")
        + """
@hookimpl
def register_benchmarks():
    yield BenchmarkSpec(name="data.V4", version=3, stimuli=dict, target=dict, splits=KFold())

@hookimpl
def register_metrics():
    return (MetricSpec(name="count", version=2, compute=dict, parameters=(Parameter("k", "int", 1),)),)
"""
    )
    registry = from_folders(folder)
    assert registry.problems == []
    assert registry.model("m").spec.name == "m"
    assert registry.benchmark("data.V4").version == 3
    assert registry.metric("count:k=2").parameters == {"k": 2}


# Where plugins come from


def test_built_ins_use_the_public_hooks() -> None:
    registry = Registry(installed=False)
    assert registry.problems == []
    assert {"pixels", "expansion5l", "expansion5l-256", "efficientnet-lite0"} <= set(registry.models.names())
    assert {"cowley2023.V4", "cowley2023.V4-201025", "cowley2023.V4-210224", "simulated.V4"} <= set(
        registry.benchmarks.names()
    )
    assert "encoding" in registry.metrics.names()
    assert {"cowley2023", "simulated"} <= {dataset.name for dataset in registry.datasets()}
    narrow = registry.model("expansion5l:filters_4=256,filters_3=256,filters_2=256,filters=3000")
    assert narrow.identifier == "expansion5l-256"
    with pytest.raises(InputError, match=r"filters=abc is not allowed; filters must be a whole number of at least 1"):
        registry.model("expansion5l:filters=abc")
    with pytest.raises(InputError, match=r"unknown model 'expansion5'\. Did you mean expansion5l"):
        registry.model("expansion5")


def distribution(site: Path, name: str, entry_points: str, **modules: str) -> None:
    """Lay out an installed package as pip does."""
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


def test_installed_packages_offer_plugins_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    points = "[cortex_bench]\nmodels = {0}\nagain = {0}\n"
    distribution(tmp_path, "first", points.format("bench_first_x"), bench_first_x=model("from-first"))
    # Another package that happens to use the same entry point name is another plugin.
    distribution(tmp_path, "second", points.format("bench_second_x"), bench_second_x=model("from-second"))
    distribution(tmp_path, "third", "[cortex_bench]\ngone = bench_gone_x\n")
    registry = Registry(built_in=False)
    assert registry.models.names() == ["from-first", "from-second"]
    (problem,) = registry.problems
    assert str(problem).startswith("entry point gone = bench_gone_x: could not be imported (ModuleNotFoundError")
    assert Registry(built_in=False, installed=False).models.names() == []


def test_an_unreadable_entry_point_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    distribution(tmp_path, "broken", "[cortex_bench]\nthis is no entry point\n")
    registry = Registry()
    assert [p.where for p in registry.problems] == ["entry points"]
    assert "pixels" in registry.models.names()


def test_folders_come_from_the_option_and_the_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path, name in ((folder, "a"), (one, "b"), (two, "c")):
        path.mkdir(exist_ok=True)
        (path / f"{name}.py").write_text(model(f"model-{name}"))
    (one / "_private.py").write_text("raise RuntimeError('files with an underscore are not plugins')")
    (one / "notes.txt").write_text("nor are these")
    monkeypatch.setenv("BENCH_PLUGINS", os.pathsep.join([str(one), "", str(two), str(one)]))
    registry = Registry.default([folder, folder])
    assert registry.problems == []
    assert {"model-a", "model-b", "model-c", "pixels"} <= set(registry.models.names())


def test_a_file_given_twice_is_loaded_once(folder: Path, tmp_path: Path) -> None:
    (folder / "m.py").write_text(model("m") + f"open({str(tmp_path / 'count')!r}, 'a').write('x')\n")
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "n.py").symlink_to(folder / "m.py")
    registry = from_folders(folder, folder / ".." / folder.name, linked, elsewhere)
    assert registry.problems == []
    assert registry.models.names() == ["m"]
    assert (tmp_path / "count").read_text() == "x"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the plugin folder .*nowhere is not there; name an existing folder"):
        from_folders(tmp_path / "nowhere")


def test_drop_ins_are_real_modules(folder: Path) -> None:
    """Dataclasses and pickling look a class's module up by name; files of one name in two folders stay apart."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "same.name.py").write_text(
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass Net:\n    x: int = 1\n" + model(name).replace("load=dict", "load=Net")
        )
    registry = from_folders(folder / "one", folder / "two")
    assert registry.problems == []
    for name in ("one", "two"):
        net = registry.model(name).spec.load
        assert getattr(sys.modules[net.__module__], "Net") is net  # noqa: B009


# Plugins that are broken

BROKEN = {
    "syntax": ("def register_models(:", "could not be imported (SyntaxError"),
    "import": ("import a_module_that_is_not_there", "could not be imported (ModuleNotFoundError"),
    "raises": ("raise ValueError('two\\nlines')", "could not be imported (ValueError: two lines)"),
    "exits": ("import sys; sys.exit('no')", "could not be imported (SystemExit: no)"),
    "no_hook": ("x = 1", "it implements no hook (register_models, register_benchmarks or register_metrics)"),
    "unmarked": ("def register_models():\n    return []", "it implements no hook"),
    "typo": (f"{HEADER}\n@hookimpl\ndef register_model():\n    return []", "could not be imported (PluginValidationError"),
    "argument": (f"{HEADER}\n@hookimpl\ndef register_models(x):\n    return []", "could not be imported (PluginValid"),
    "hook_raises": (f"{HEADER}\n@hookimpl\ndef register_models():\n    raise KeyError('k')", "register_models failed (KeyE"),
    "hook_exits": (f"{HEADER}\n@hookimpl\ndef register_models():\n    raise SystemExit", "register_models failed (SystemExit)"),
    "midway": (
        f"{HEADER}\n@hookimpl\ndef register_models():\n    yield ModelSpec(name='x', version=1, load=dict)\n    1 / 0",
        "register_models failed (ZeroDivisionError",
    ),
    "none": (f"{HEADER}\n@hookimpl\ndef register_models():\n    pass", "register_models failed (TypeError"),
    "bare": (
        f"{HEADER}\n@hookimpl\ndef register_models():\n    return ModelSpec(name='x', version=1, load=dict)",
        "register_models failed (TypeError",
    ),
    "wrong": (
        f"{HEADER}\n@hookimpl\ndef register_models():\n    return [MetricSpec(name='x', version=1, compute=dict)]",
        "register_models failed (TypeError: it returned MetricSpec, not ModelSpec or ModelFamily)",
    ),
    "bad_spec": (
        f"{HEADER}\n@hookimpl\ndef register_models():\n    return [ModelSpec(name='a b', version=1, load=dict)]",
        "register_models failed (InputError: 'a b' cannot be a model's name",
    ),
}  # fmt: skip


def test_broken_plugins_are_reported_and_skipped(folder: Path) -> None:
    for name, (text, _) in BROKEN.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "a_good.py").write_text(model("good-first"))
    (folder / "z_good.py").write_text(model("good-last"))
    (folder / "folder.py").mkdir()
    (folder / "dangling.py").symlink_to(folder / "nowhere")
    registry = from_folders(folder)
    assert registry.models.names() == ["good-first", "good-last"]
    problems = {problem.where: problem.message for problem in registry.problems}
    assert len(problems) == len(registry.problems) == len(BROKEN) + 2
    for name, (_, message) in BROKEN.items():
        found = problems[str(folder / f"{name}.py")]
        assert found.startswith(message), found
        assert found.endswith("; skipped")
        assert "\n" not in found


def test_one_failing_hook_leaves_the_others(folder: Path) -> None:
    (folder / "half.py").write_text(
        model("m") + "\n@hookimpl\ndef register_metrics():\n    raise RuntimeError('no metrics today')\n"
    )
    registry = from_folders(folder)
    assert registry.models.names() == ["m"]
    assert [str(p) for p in registry.problems] == [
        f"{folder / 'half.py'}: register_metrics failed (RuntimeError: no metrics today); skipped"
    ]


def test_plugins_cannot_write_to_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "loud.py").write_text(
        "print('hello from the module')\n" + model("loud").replace("return", "print('hello from the hook')\n    return")
    )
    assert from_folders(folder).models.names() == ["loud"]
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "hello from the module\nhello from the hook\n"


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


# Ours, and light


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a folder, which ``-c`` puts first on the path, before this repository."""
    environment = {k: v for k, v in os.environ.items() if k != "BENCH_PLUGINS"} | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )


@pytest.mark.parametrize("kind", ["package", "module"])
def test_a_foreign_plugins_package_in_the_current_folder_is_named(tmp_path: Path, kind: str) -> None:
    intruder = tmp_path / ("plugins/__init__.py" if kind == "package" else "plugins.py")
    intruder.parent.mkdir(exist_ok=True)
    intruder.write_text("raise RuntimeError('never imported')")
    code = """
from benchmark_core.errors import InputError
from benchmark_core.registry import Registry
try:
    Registry.default()
except InputError as error:
    print(error)
"""
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"another package named 'plugins' hides ours: {intruder} (expected {REPOSITORY / 'plugins'})"
    )
    assert done.stdout.count("\n") == 1


def test_a_foreign_package_that_is_already_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    check_ownership()
    monkeypatch.setitem(sys.modules, "plugins", json)
    with pytest.raises(InputError, match=r"another package named 'plugins' hides ours: .*json"):
        check_ownership()


def test_listing_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
from benchmark_core.registry import Registry
registry = Registry.default()
names = [*registry.models.names(), *registry.benchmarks.names(), *registry.metrics.names()]
versions = [registry.version(registry.benchmark(b)) for b in registry.benchmarks.names()]
registry.expand_models("*"), registry.expand_benchmarks("*"), registry.datasets()
assert len(names) >= 9 and not registry.problems, (names, registry.problems)
heavy = {"torch", "torchvision", "timm", "numpy", "scipy", "pandas", "xarray", "sklearn", "PIL", "netCDF4"}
print(sorted(heavy & set(sys.modules)))
"""
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_describe_is_one_line() -> None:
    assert describe(ValueError("a\n  b")) == "ValueError: a b"
    assert describe(SystemExit()) == "SystemExit"
