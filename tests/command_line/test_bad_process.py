"""What only a process of its own can show: signals, pipes, a full stdout, a package that hides ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_command import TOY_PLUGINS

BENCH = (sys.executable, "-m", "benchmark_core")


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """Return an environment in which ``benchmark_core`` is found from any folder, and the toys are plugins."""
    root = str(TOY_PLUGINS.parents[2])
    return os.environ | {
        "BENCH_HOME": str(home),
        "BENCH_PLUGINS": str(TOY_PLUGINS),
        "PYTHONPATH": root,
        "OMP_NUM_THREADS": "1",
    }


def test_a_foreign_package_named_plugins(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    intruder = tmp_path / "plugins" / "__init__.py"
    intruder.write_text("raise RuntimeError('must not be imported')\n")
    done = subprocess.run([*BENCH, "list"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "another package named 'plugins' hides ours" in line
    assert str(intruder) in line
    assert "run from another folder" in line


def test_debug_shows_the_traceback_and_keeps_line_and_status(environment: dict[str, str], tmp_path: Path) -> None:
    command = [*BENCH, "info", "--debug", "nonsense"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.splitlines()[-1].startswith("error: no model, benchmark or metric is named 'nonsense'")


@pytest.mark.parametrize("arguments", [["list", "--json"], ["--help"], ["doctor", "--help"]])
def test_a_reader_that_has_gone_is_no_error(environment: dict[str, str], tmp_path: Path, arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*BENCH, *arguments], cwd=tmp_path, env=environment, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode in (0, 1)  # click itself ends with 1 when its help cannot be shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_stdout_on_a_full_disk(environment: dict[str, str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*BENCH, "list"], cwd=tmp_path, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot write the results to stdout (No space left on device)")


def test_a_terminal_that_is_not_utf8_still_gets_valid_json(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "naïve.py").write_text("raise RuntimeError('naïve')\n", encoding="utf-8")
    command = [*BENCH, "list", "--json", "--plugins", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert "naïve" in json.loads(done.stdout.decode("ascii"))["problems"][0]


def test_ctrl_c_prints_the_results_so_far(environment: dict[str, str], part: Path, tmp_path: Path) -> None:
    """As a terminal does, the signal goes to the whole group: to processes that decode images, too."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "slow.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from benchmark_core import ModelSpec, Preprocessing, hookimpl\n"
        "def load():\n"
        "    import torch\n"
        "    class Slow(torch.nn.Module):\n"
        "        def forward(self, images):\n"
        f"            Path({str(tmp_path / 'started')!r}).touch()\n"
        "            time.sleep(0.5)\n"
        "            return images.flatten(1)\n"
        "    return Slow()\n"
        "@hookimpl\n"
        "def register_models():\n"
        "    small = Preprocessing(size=(8, 8))\n"
        "    return [ModelSpec(name='slow', version=1, load=load, preprocessing=small)]\n"
    )
    command = [*BENCH, "run", "-m", "toy-pixels", "-m", "slow", "-b", "toy.V4", "--batch-size", "2", "--json"]
    running = subprocess.Popen(
        [*command, "--plugins", str(tmp_path / "mine")],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    time.sleep(0.7)  # into the second batch, with decoding in a process of its own
    os.killpg(running.pid, signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert stderr.splitlines() == ["interrupted after 1 of 2 scores; run the same command again to go on"]
    assert [(r["model"], r["status"]) for r in json.loads(stdout)["results"]] == [("toy-pixels", "ok")]
