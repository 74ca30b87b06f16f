"""What is installed, and what importing it costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel and open it."""
    from hatchling.builders.wheel import WheelBuilder

    (path,) = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return zipfile.ZipFile(path)


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {"benchmark_core", "plugins", "cortex_bench-0.1.0.dist-info"}
    for needed in (
        "benchmark_core/cli.py",
        "plugins/models/expansion.py",
        "plugins/benchmarks/simulated.py",
        "plugins/metrics/encoding.py",
        *(f"plugins/suites/{p.name}" for p in (REPOSITORY / "plugins" / "suites").iterdir()),
        *(f"benchmark_core/page/{p.name}" for p in (REPOSITORY / "benchmark_core" / "page").iterdir()),
    ):
        assert needed in names
    sources = {
        str(p.relative_to(REPOSITORY))
        for package in ("benchmark_core", "plugins")
        for p in (REPOSITORY / package).rglob("*.py")
    }
    assert sources <= set(names)


def test_the_metadata_names_the_script_and_the_extras(wheel: zipfile.ZipFile) -> None:
    metadata = wheel.read("cortex_bench-0.1.0.dist-info/METADATA").decode()
    assert {"gpu", "dev", "efficientnet-lite0"} <= set(re.findall(r"^Provides-Extra: (\S+)$", metadata, re.MULTILINE))
    assert re.search(r"^Requires-Dist: cupy-cuda12x.*extra == 'gpu'", metadata, re.MULTILINE)
    scripts = wheel.read("cortex_bench-0.1.0.dist-info/entry_points.txt").decode()
    assert "bench = benchmark_core.__main__:main" in scripts


def test_every_dependency_that_is_imported_is_declared(wheel: zipfile.ZipFile) -> None:
    metadata = wheel.read("cortex_bench-0.1.0.dist-info/METADATA").decode()
    declared = {n.lower().replace("_", "-") for n in re.findall(r"^Requires-Dist: ([\w.-]+)", metadata, re.MULTILINE)}
    called = {
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "skimage": "scikit-image",
        "cupy": "cupy-cuda12x",
        "array_api_compat": "array-api-compat",
    }
    ours = {"benchmark_core", "plugins", *sys.stdlib_module_names}
    for source in [*(REPOSITORY / "benchmark_core").rglob("*.py"), *(REPOSITORY / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in {name.split(".")[0] for name in names} - ours:
                assert called.get(module, module).lower().replace("_", "-") in declared, (
                    f"{source.name} imports {module}"
                )


def test_constraints_are_plain_pins() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+]+", line)] == []


@pytest.mark.parametrize(
    "command", [["list"], ["--help"], ["run", "--help"], ["info", "expansion5l"], ["data", "list"], ["suite", "list"]]
)
def test_light_commands_import_nothing_heavy(command: list[str], home: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['bench', *{command!r}]\n"
        "from benchmark_core.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'numpy', 'pandas', 'xarray', 'scipy', 'sklearn', 'PIL', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr


def test_a_submodule_does_not_hide_the_public_function() -> None:
    code = "import benchmark_core, benchmark_core.cli, benchmark_core.api\nassert callable(benchmark_core.score) and callable(benchmark_core.run)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
