"""Results and leaderboards as Python sees them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_display import full
from test_leaderboard import record, with_resamples
from toy import make_toy_world

import benchmark_core
from benchmark_core import BenchError, InputError, Leaderboard, Results, Score, compare, run
from benchmark_core.api import as_score
from benchmark_core.leaderboard import COLUMNS, leaderboard, to_csv
from benchmark_core.records import read_records, write_record

RECORDS = Path(__file__).resolve().parent.parent / "leaderboard" / "records"


@pytest.fixture
def board() -> Leaderboard:
    return Leaderboard.of(
        [
            record("pixels", 0.1, n_features=3136),
            record("expansion5l:filters=3", 0.2, n_features=108),
            record("expansion5l:filters=30", 0.4, n_features=1080),
            record("pixels", 0.9, benchmark="toy.IT", n_features=3136),
            record("broken", None, status="failed", error="no memory"),
        ]
    )


def models(rows: Leaderboard) -> list[str]:
    return [row["model"] for row in rows]


def test_a_folder_of_records_is_read_as_the_command_reads_it(board: Leaderboard, tmp_path: Path) -> None:
    committed = Leaderboard.read(RECORDS)
    assert committed.to_csv() == to_csv(leaderboard(read_records(RECORDS)))
    assert list(Leaderboard.read(str(RECORDS))) == list(committed)
    write_record(tmp_path, full(key="a" * 64))
    assert models(Leaderboard.read(tmp_path)) == ["pixels"]
    with pytest.raises(InputError, match="there are no records in"):
        Leaderboard.read(tmp_path / "nowhere")


def test_the_folder_of_records_is_that_of_the_home(home: Path) -> None:
    write_record(home / "records", full(key="b" * 64))
    assert models(Leaderboard.read()) == ["pixels"]


def test_filters(board: Leaderboard) -> None:
    assert models(board.filter(benchmark="toy.V4", status="ok")) == [
        "expansion5l:filters=30",
        "expansion5l:filters=3",
        "pixels",
    ]
    assert models(board.filter(model="expansion5l*")) == ["expansion5l:filters=30", "expansion5l:filters=3"]
    assert models(board.filter(benchmark=["toy.IT", "other"])) == ["pixels"]
    assert models(board.filter(score=None)) == ["broken"]
    assert models(board.filter(n_features=108)) == ["expansion5l:filters=3"]
    assert len(board.filter(trained=False)) == 5
    assert len(board.filter(model="nothing")) == 0
    assert len(board.filter()) == len(board)


def test_an_identifier_is_no_glob_of_characters() -> None:
    odd = Leaderboard.of([record("m[1]", 0.5)])
    assert models(odd.filter(model="m[1]")) == ["m[1]"]


@pytest.mark.parametrize("change", [lambda b: b.filter(modle="pixels"), lambda b: b.sort("modle")])
def test_an_unknown_column_is_named(board: Leaderboard, change: Callable[[Leaderboard], object]) -> None:
    with pytest.raises(InputError, match=r"no column 'modle'. Did you mean model"):
        change(board)


def test_sorted_across_benchmarks_with_empty_fields_last(board: Leaderboard) -> None:
    by_score = [row["score"] for row in board.sort()]
    assert by_score == [0.9, 0.4, 0.2, 0.1, None]
    assert [row["score"] for row in board.sort(ascending=True)] == [0.1, 0.2, 0.4, 0.9, None]
    assert models(board.sort("model"))[:2] == ["broken", "expansion5l:filters=3"]
    assert [row["n_features"] for row in board.sort("n_features")] == [3136, 3136, 1080, 108, None]
    ties = board.sort("n_features")[:2]
    assert [row["benchmark"] for row in ties] == ["toy.IT", "toy.V4"]  # as they were


def test_rows_cannot_be_changed_through_it(board: Leaderboard) -> None:
    before = board.to_csv()
    board.filter(model="pixels").sort().merge_seeds()
    assert board.to_csv() == before
    assert isinstance(board[:2], Leaderboard)
    assert board[0]["model"] == board[:2][0]["model"]


def test_draws_of_a_model_become_one_row() -> None:
    board = Leaderboard.of([record("m", 0.2), record("m:seed=1", 0.4), record("pixels", 0.25)])
    merged = board.merge_seeds()
    assert models(merged) == ["m", "pixels"]
    assert merged[0]["score"] == pytest.approx(0.3)
    assert merged[0]["seed_sd"] == pytest.approx(np.std([0.2, 0.4], ddof=1))


def test_frames_have_the_columns_of_the_csv_and_the_same_types_whatever_the_rows(
    board: Leaderboard,
) -> None:
    frame = board.to_frame()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["score"].dtype == np.float64
    assert frame["score"].isna().sum() == 1
    names = ["score", "ceiling", "n_stimuli", "in_best_set", "trained"]
    for other in (Leaderboard([]).to_frame(), Leaderboard.of([full()]).to_frame()):
        assert (other.dtypes[names] == frame.dtypes[names]).all()
    committed = Leaderboard.read(RECORDS).to_frame()
    read = pd.read_csv(io.StringIO(Leaderboard.read(RECORDS).to_csv()))
    assert list(read.columns) == list(committed.columns)
    np.testing.assert_allclose(read["score"].to_numpy(), committed["score"].to_numpy(), rtol=1e-5)
    assert (read["n_stimuli"].to_numpy() == committed["n_stimuli"].to_numpy()).all()


def test_features_are_numbers_to_plot() -> None:
    frame = Leaderboard.of([full("a", key="a"), full("b", 0.2, key="b", n_features=12)]).to_frame()
    assert frame["n_features"].tolist() == [9408, 12]
    assert frame["n_features"].dtype == "Int64"


def test_the_csv_is_that_of_the_command(board: Leaderboard, tmp_path: Path) -> None:
    assert board.to_csv(tmp_path / "x" / "board.csv") is None
    assert (tmp_path / "x" / "board.csv").read_text(encoding="utf-8") == board.to_csv() == to_csv(board)
    with pytest.raises(InputError, match="is a folder"):
        board.to_csv(tmp_path)


def test_scores_become_a_leaderboard_once_each() -> None:
    results = Results([with_resamples("a", 0.5, 1), with_resamples("b", 0.49, 2)])
    scores = [as_score(full("a", key="a")), as_score(full("b", 0.2, key="b"))]
    assert models(Leaderboard.of([*scores, scores[0]])) == ["a", "b"]
    assert [row["in_best_set"] for row in results.leaderboard()] == [True, True]
    with pytest.raises(InputError, match="without a record"):
        Leaderboard.of([Score(0.5)])
    with pytest.raises(InputError, match="without a record"):
        Score(0.5).to_frame()


def test_results_of_a_run(home: Path, tmp_path: Path) -> None:
    world = make_toy_world(tmp_path / "toys")
    results = run(["toy", "toy-broken"], "toy.V4", metric=["encoding", "count"], layer="2", plugins=[world])
    assert isinstance(results, list)
    assert results.to_frame()["status"].tolist() == ["ok", "ok", "failed", "failed"]
    first, second = results.scores
    assert repr(results).splitlines()[:3] == [
        "Results of 4 cells",
        f"  {first.value:.3f} ({first.ci_low:.3f} to {first.ci_high:.3f})  toy on toy.V4, encoding, 2",
        "  1.000 (-)  toy on toy.V4, count, 2",
    ]
    assert json.loads(json.dumps(results))[1]["score"] == second.value == 1.0
    assert first.to_frame()["score"].item() == results[0]["score"]
    assert compare({"toy": first}).best_set == ("toy",)
    assert Leaderboard.read().to_csv() == results.leaderboard().to_csv()


def test_cells_without_a_score_are_shown_and_left_out_of_the_scores() -> None:
    results = Results([full(), full("x", None, status="missing-data", error="no file", key="x")])
    assert [s.value for s in results.scores] == [0.469]
    assert repr(results).splitlines()[2] == "  missing-data  x on toy.V4, encoding, output"
    with pytest.raises(BenchError, match="no file"):
        as_score(results[1])


def test_a_leaderboard_is_light_to_import() -> None:
    code = (
        "import sys; from benchmark_core import Leaderboard; board = Leaderboard.read(sys.argv[1]); "
        "board.filter(status='ok').sort()._repr_html_(); "
        "sys.exit(', '.join({'torch', 'pandas', 'xarray', 'scipy'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(RECORDS)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_name_of_the_room_of_tables_is_not_hidden() -> None:
    import benchmark_core.leaderboard as room

    assert benchmark_core.Leaderboard is Leaderboard
    assert room.leaderboard is leaderboard
