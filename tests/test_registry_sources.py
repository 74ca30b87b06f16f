"""The registry: where plugins come from, how broken ones are kept apart, and that listing them is light."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType

import pluggy
import pytest
from drop_ins import HEADER, drop_in_folder, from_folders, model  # noqa: F401 (a fixture)

from benchmark_core import hookspecs
from benchmark_core.entry_points import may_be_offered, offered_in
from benchmark_core.errors import InputError
from benchmark_core.registry import ENTRY_POINTS, HookManager, Registry, check_ownership, describe

REPOSITORY = Path(__file__).resolve().parent.parent


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


def test_a_package_in_an_archive_offers_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(
        tmp_path / "site", "zipped", "[cortex_bench]\nmodels = bench_zipped_x\n", bench_zipped_x=model("zipped")
    )
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "site")
    monkeypatch.syspath_prepend(archive)
    assert Registry(built_in=False).models.names() == ["zipped"]


def test_a_package_that_an_import_hook_finds_offers_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "hooked", "[cortex_bench]\nmodels = bench_hooked_x\n", bench_hooked_x=model("hooked"))

    class Finder:
        """Finds modules and packages in a folder that is not on ``sys.path``."""

        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            return PathFinder.find_spec(name, [str(tmp_path)])

        @staticmethod
        def find_distributions(context: object) -> list[Distribution]:
            return [Distribution.at(tmp_path / "hooked-1.0.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert Registry(built_in=False).models.names() == ["hooked"]


def test_what_no_package_offers_is_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups and packages that only sound alike, an egg, folders that are gone or no folders."""
    distribution(tmp_path / "site", "other", "[cortex_bench.more]\nx = y\n[console_scripts]\ncortex_bench = y\n")
    egg = tmp_path / "old-1.0.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (tmp_path / "site" / "single.egg-info").write_text("Name: single")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), str(egg), str(tmp_path / "gone")])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    assert not may_be_offered(ENTRY_POINTS)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old\nVersion: 1.0\n")
    (egg / "EGG-INFO" / "entry_points.txt").write_text("[cortex_bench]\nmodels = bench_old_x\n")
    assert [point.value for point in offered_in(ENTRY_POINTS)] == ["bench_old_x"]


def test_hooks_are_found_wherever_pluggy_finds_them(tmp_path: Path) -> None:
    made = ModuleType("made")
    exec(
        f"""{HEADER}
@hookimpl
def register_models(): return [ModelSpec(name="plain", version=1, load=dict)]
@hookimpl(specname="register_models")
def by_another_name(): return [ModelSpec(name="other", version=1, load=dict)]
class Plugin:
    @hookimpl
    def method(self): return []
    @hookimpl
    @staticmethod
    def static(): return []
    @hookimpl
    @classmethod
    def of_class(cls): return []
bound, static, of_class = Plugin().method, vars(Plugin)["static"], vars(Plugin)["of_class"]
unmarked, number = lambda: [], 1
""",
        vars(made),
    )
    plain, ours = pluggy.PluginManager(hookspecs.PROJECT), HookManager(hookspecs.PROJECT)
    modules = [made, *(import_module(f"plugins.models.{name}") for name in ("pixels", "expansion", "timm_zoo"))]
    for module in modules:
        expected = {name: plain.parse_hookimpl_opts(module, name) for name in dir(module)}
        assert {name: ours.parse_hookimpl_opts(module, name) for name in dir(module)} == expected
    marked = {name for name in dir(made) if ours.parse_hookimpl_opts(made, name) is not None}
    assert {"register_models", "by_another_name", "bound"} <= marked


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
        assert sys.modules[net.__module__].Net is net


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
