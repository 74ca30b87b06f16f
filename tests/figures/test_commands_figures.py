"""``bench figures``: what it writes and says, bad input, the committed figures, and the commands of docs/figures.md."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from made_up import record
from test_figure_drawing import SPECS, check
from typer.testing import CliRunner

from benchmark_core.cli import command_line
from benchmark_core.figure_records import quantity, usable
from benchmark_core.figure_tables import Context
from benchmark_core.figures import FIGURES, Expected, make_tables, widths
from benchmark_core.records import read_records, write_record
from benchmark_core.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "leaderboard" / "figures"
PAGE = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")


def bench(*arguments: str | Path) -> Any:
    """Run ``bench`` and return what came of it."""
    return CliRunner().invoke(command_line(), ["figures", *map(str, arguments)])


@pytest.fixture
def records(tmp_path: Path, home: Path) -> Path:
    """Return a folder with few records."""
    folder = tmp_path / "records"
    for made in (
        record("pixels", 0.1),
        record("alexnet-untrained", 0.2),
        record("pixels", 0.1, benchmark="simulated.V4"),
    ):
        write_record(folder, made)
    return folder


def test_figures_are_written_with_their_tables_and_what_is_missing_is_said(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "figures"
    done = bench("--records", records, "--out", out, "--suite", "paper.sota", "--format", "png,svg")
    assert done.exit_code == 0, done.output
    assert {p.name for p in out.iterdir()} == {f"networks_cowley2023.V4.{e}" for e in ("svg", "png", "csv")}
    assert "networks_cowley2023.V4: csv, png, svg" in done.stdout
    missing = next(
        line for line in done.stderr.splitlines() if line.startswith("networks_cowley2023.V4: not recorded: ")
    )
    assert "alexnet-trained" in missing
    assert "alexnet-untrained" not in missing
    assert "skipped: layers: no data; make it with: bench run --suite paper.sota --dataset cowley2023" in done.stderr
    assert "Not recorded: " in (out / "networks_cowley2023.V4.svg").read_text()
    lines = (out / "networks_cowley2023.V4.csv").read_text().splitlines()
    assert lines[1].startswith("bar,alexnet-untrained,untrained,alexnet-untrained,0.2,0.18,0.22,1,")
    assert [line.split(",")[0] for line in lines[1:]] == ["bar", "bar", "ceiling"]


def test_json_lists_files_and_what_was_skipped(records: Path, tmp_path: Path) -> None:
    done = bench("networks", "rsa", "--records", records, "--out", tmp_path / "f", "--format", "svg", "--json")
    document = json.loads(done.stdout)
    assert [(f["figure"], f["benchmark"]) for f in document["figures"]] == [("networks", "cowley2023.V4")]
    assert all(Path(file).is_file() for file in document["figures"][0]["files"])
    assert document["skipped"] == ["rsa: no data; make it with: bench run --suite paper.rsa --dataset cowley2023"]


def test_without_any_data_the_command_says_what_to_run(records: Path, tmp_path: Path) -> None:
    done = bench("--records", records, "--out", tmp_path / "f", "--suite", "paper.pca", "--dataset", "simulated")
    assert done.exit_code == 3
    assert "make it with: bench run --suite paper.pca --dataset simulated" in done.stderr
    assert not (tmp_path / "f").exists()
    done = bench("classification", "--records", records, "--out", tmp_path / "f", "--dataset", "cowley2023")
    assert done.exit_code == 3
    assert "use --dataset scenes15" in done.stderr


def test_predictions_that_are_not_in_the_cache_are_words(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "f"
    done = bench("predictions", "--records", records, "--out", out, "--format", "svg", "--dataset", "cowley2023")
    assert done.exit_code == 0, done.output
    assert [p.name for p in out.iterdir()] == ["predictions_cowley2023.V4.svg"]
    command = "bench run --model alexnet-untrained --benchmark cowley2023.V4 --metric encoding --force"
    assert command in done.stderr
    assert bench("predictions", "--records", records, "--out", out, "--records-only").exit_code == 3


def test_a_suite_of_ones_own_has_the_figures_of_its_scores(records: Path, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text('benchmarks = ["simulated.V4"]\n[[grid]]\nmodels = ["pixels"]\n')
    done = bench("--records", records, "--out", tmp_path / "f", "--suite", suite, "--records-only", "--format", "svg")
    assert done.exit_code == 0, done.output
    assert {p.stem for p in (tmp_path / "f").iterdir()} == {"reliability_simulated.V4"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["feature"], "there is no figure 'feature'"),
        (["--format", "pdf"], "--format pdf is not allowed; use svg or png"),
        (["--quantity", "r2"], "there is no quantity 'r2'"),
        (["--dataset", "cowley"], "there is no dataset 'cowley'. Did you mean cowley2023"),
        (["--suite", "paper.mian"], "unknown suite 'paper.mian'"),
        (["rsa", "--suite", "paper.pca"], "the suite paper.pca has no figure rsa"),
        (["--records", "nowhere"], "there are no records in nowhere"),
    ],
)
def test_bad_input_is_one_line(records: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = bench("--records", records, "--out", tmp_path / "f", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not (tmp_path / "f").exists()


def test_a_file_in_place_of_the_folder_is_refused(records: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    done = bench("--records", records, "--out", tmp_path / "f")
    assert done.exit_code == 2
    assert "name a folder" in done.stderr
    assert (tmp_path / "f").read_text() == "mine"


def test_without_matplotlib_one_line_says_how_to_install_it(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = bench("--records", records, "--out", tmp_path / "f")
    assert done.exit_code == 3
    assert done.stderr == (
        "error: figures need matplotlib, which is not installed; install it with: pip install 'cortex-bench[figures]'\n"
    )


def test_the_committed_figures_are_those_of_the_committed_records(built_ins: Registry) -> None:
    """The same as ``make leaderboard``: every file, byte for byte, and no other; every text is readable."""
    every = list(read_records(ROOT / "leaderboard" / "records"))
    context, expected = Context(quantity("score"), widths(built_ins)), Expected(built_ins, every)
    files: dict[str, str] = {}
    for spec in FIGURES:
        for table in make_tables(spec, usable(every), context):
            whole = table.without(expected.missing(spec, table))
            files[f"{table.stem}.csv"] = whole.to_csv()
            files[f"{table.stem}.svg"] = check(SPECS[spec.name], whole)
    assert set(files) == {p.name for p in COMMITTED.iterdir()}
    changed = [name for name, text in files.items() if (COMMITTED / name).read_bytes() != text.encode()]
    assert changed == [], "run `make leaderboard`"


def test_the_page_names_every_figure() -> None:
    table = PAGE.partition("## Which there are")[2].partition("## ")[0]
    assert set(re.findall(r"`([a-z-]+)`(?=[^|]*\| (?:`paper|of the))", table)) == {spec.name for spec in FIGURES}


def copy_records(benchmark: str, folder: Path) -> None:
    """Copy the committed records of a benchmark."""
    folder.mkdir(parents=True)
    for path in (ROOT / "leaderboard" / "records").glob("*.json"):
        if f'"benchmark": "{benchmark}",' in path.read_text(encoding="utf-8"):
            shutil.copy(path, folder)


def test_the_commands_of_the_page_run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first, whose scores are taken from the committed records."""
    monkeypatch.chdir(tmp_path)
    run, *lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert run == "bench run --model pixels --model efficientnet-lite0 --benchmark simulated.V4"
    copy_records("simulated.V4", home / "records")
    assert len(lines) == 2
    for line in lines:
        done = CliRunner().invoke(command_line(), shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}\n{done.output}"
    drawn = {p.name for p in Path("figures").iterdir()}
    names = [f"{figure}_simulated.V4" for figure in ("layers", "networks", "reliability")]
    assert drawn == {f"{n}.{e}" for n in names for e in ("svg", "png", "csv")} | {
        f"predictions_simulated.V4.{e}" for e in ("svg", "png")
    }


def test_the_code_of_the_page_runs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    copy_records("cowley2023.V4", tmp_path / "leaderboard" / "records")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert {p.name for p in Path("figures").iterdir()} == {
        f"features_cowley2023.V4_r_neuroid.{e}" for e in ("svg", "csv")
    }
