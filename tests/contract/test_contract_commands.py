"""``bench plugin check`` and the pytest plugin: what they print, and how they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark_core.cli import command_line

FLAWED = Path(__file__).parent / "flawed"
MODELS = FLAWED / "flawed_models.py"


def check(*arguments: object, status: int):
    """Run ``bench plugin check`` in this process."""
    result = CliRunner().invoke(command_line(), ["plugin", "check", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(autouse=True)
def apart(home, monkeypatch) -> None:
    """Keep the user's folders out of it, and Python's path as it is."""
    monkeypatch.delenv("BENCH_PLUGINS", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_table_says_what_passed_what_failed_and_why() -> None:
    shown = check("--plugins", FLAWED, "flaw-width", "flaw-reads-the-batch", status=4)
    assert re.search(r"^flaw-width \(model\)$", shown.stdout, re.MULTILINE)
    assert re.search(r"^batch +fail +features of layer '\w+' change with the batch's size", shown.stdout, re.MULTILINE)
    assert re.search(r"^cost +pass +2 images: \d+\.\d\d s, .* of weights$", shown.stdout, re.MULTILINE)
    assert shown.stderr.splitlines()[-1] == "24 passed, 1 failed, 1 skipped"


def test_json_is_one_document() -> None:
    document = json.loads(check("--plugins", FLAWED, "flaw-not-a-number", "--json", status=4).stdout)
    (failed,) = [c for c in document["checks"] if c["status"] == "fail"]
    assert (failed["identifier"], failed["kind"], failed["check"]) == ("flaw-not-a-number", "model", "finite")
    assert document["counts"] == {"pass": 11, "fail": 1, "skip": 1}
    assert all(set(c) == {*failed} for c in document["checks"])


def test_the_status_tells_failures_from_missing_data_and_bad_input(tmp_path, monkeypatch) -> None:
    check("--plugins", FLAWED, "flaw-width", status=0)
    check("--plugins", FLAWED, "flaw-absent", status=3)
    check("--plugins", FLAWED, "flaw-absent", "flaw-raises", status=4)
    (tmp_path / "empty").mkdir()
    (tmp_path / "_hidden.py").touch()
    (tmp_path / "pyproject.toml").write_text("[project\n")
    for argument, words in (
        ("flaw-nothing-of-the-kind", "no model, benchmark or metric is named"),
        ("flaw-raises:units=3", "has no parameter 'units'"),
        ("simulated.V4:k=3", "benchmarks have no parameters"),
        ("no*such*thing", "no model matches"),
        (tmp_path / "nowhere.py", "does not exist"),
        (tmp_path / "empty", "holds no plugins"),
        (tmp_path / "_hidden.py", "cannot be a plugin file"),
        (tmp_path, "cannot read"),
    ):
        result = check("--plugins", FLAWED, argument, status=2)
        errors = [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]
        assert len(errors) == 1
        assert errors[0].startswith("error: ")
        assert words in errors[0]
        assert result.stdout == ""


def test_a_path_stands_for_everything_it_offers(tmp_path) -> None:
    file = tmp_path / "plain.py"
    source = (FLAWED / "flawed_eager.py").read_text()
    file.write_text(source.replace("import numpy as np\n", "").replace("float(np.float64(0.0))", "0.0"))
    assert "13 passed" not in check(file, status=0).stderr  # the width is skipped
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    document = json.loads(check(tmp_path, "--json", status=4).stdout)
    assert {c["identifier"] for c in document["checks"]} == {"flaw-eager", str(tmp_path / "broken.py")}
    (failed,) = [c for c in document["checks"] if c["status"] == "fail"]
    assert (failed["kind"], failed["check"]) == ("plugin", "import")
    assert "no_such_package" in failed["reason"]
    (tmp_path / "twin.py").write_text(file.read_text())
    document = json.loads(check(tmp_path / "twin.py", "--json", status=4).stdout)
    assert "claimed 2 times" in document["checks"][0]["reason"]


# Without the plugins that this environment happens to have: importing them is most of what a small run costs.
BARE = [f"-pno:{plugin}" for plugin in ("cacheprovider", "anyio", "benchmark", "hypothesispytest", "timeout", "xdist")]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a folder in a process of its own, as its author does."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", *BARE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_identifiers_listed_in_the_configuration_become_tests(tmp_path) -> None:
    """One process for all of it: starting one is what takes time."""
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\n"
        f'bench_plugins = ["{FLAWED}"]\n'
        'bench_identifiers = ["flaw-width", "flaw-reads-*", "flaw-absent", "flaw-width:scaled=true"]\n'
    )
    done = run_pytest(tmp_path, "-rfs")
    assert done.returncode == 1, done.stderr
    failed = set(re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE))
    assert failed == {
        "pyproject.toml::flaw-reads-the-batch::batch",
        "pyproject.toml::flaw-reads-its-place::batch",
        "pyproject.toml::flaw-reads-its-place::order",
        "pyproject.toml::flaw-width:scaled=true::width",
    }
    assert re.search(r"^flaw-reads-the-batch: features of layer '\w+' change with the batch's size", done.stdout, re.M)
    assert "/nowhere/weights.pth" in done.stdout  # skipped, with the reason
    assert f"{len(failed)} failed" in done.stdout


def test_one_check_can_be_named_and_unknown_identifiers_are_one_line(tmp_path) -> None:
    ini = "[pytest]\nbench_plugins = {}\nbench_identifiers = flaw-width {}\n"
    (tmp_path / "pytest.ini").write_text(ini.format(FLAWED, ""))
    collected = run_pytest(tmp_path, "--collect-only", "-q", "pytest.ini::flaw-width::order")
    assert re.findall(r"^pytest\.ini.*$", collected.stdout, re.MULTILINE) == ["pytest.ini::flaw-width::order"]
    (tmp_path / "pytest.ini").write_text(ini.format(FLAWED, "flaw-nowhere"))
    unknown = run_pytest(tmp_path, "--collect-only")
    assert unknown.returncode == 2
    assert "bench_identifiers in pytest.ini: no model, benchmark or metric is named 'flaw-nowhere'" in unknown.stdout
    assert "Traceback" not in unknown.stdout


def test_the_plugin_costs_those_who_do_not_use_it_nothing(tmp_path) -> None:
    (tmp_path / "test_one.py").write_text(
        "import sys\n\n\ndef test_one():\n"
        "    assert 'benchmark_core.pytest_plugin' in sys.modules\n"
        "    assert not {'torch', 'numpy', 'pandas', 'xarray', 'benchmark_core.registry'} & set(sys.modules)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run_pytest(tmp_path, "-q")
    assert done.returncode == 0, done.stdout
