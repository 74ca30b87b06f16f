"""Responses to the wrong stimuli, and neuroids that cannot be scored: counted, never dropped in silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_command import Bench, forge_manifest, put_responses

from benchmark_core import DatasetSpec, Responses, datasets
from benchmark_core.keys import file_sha256
from benchmark_core.records import read_records

RUN = ("run", "--model", "toy-pixels", "--benchmark", "toy.V4", "--json")


@pytest.fixture
def responses(part: Path) -> Responses:
    """Return the responses of ``toy/one``: 40 stimuli, 5 repetitions, 6 neuroids."""
    return datasets.load_responses(DatasetSpec(name="toy", parts=("one",)), "one")


def renamed(responses: Responses) -> Responses:
    return replace(responses, stimulus_ids=("toy/x", *responses.stimulus_ids[1:]))


def more(responses: Responses) -> Responses:
    values = np.concatenate([responses.values, responses.values[:1]])
    return replace(responses, stimulus_ids=(*responses.stimulus_ids, "toy/x"), values=values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.at(r.stimulus_ids[:-4]), ["'toy/36', 'toy/37', 'toy/38' and 1 more missing"]),
        (more, ["'toy/x' not in the stimulus set"]),
        (renamed, ["'toy/00' missing"]),
    ],
    ids=["too few", "too many", "renamed"],
)
def test_ids_that_do_not_match(
    bench: Bench,
    part: Path,
    home: Path,
    responses: Responses,
    change: Callable[[Responses], Responses],
    words: list[str],
) -> None:
    put_responses(part, change(responses))
    done = bench(*RUN)
    done.fails(2, "failed: toy-pixels on toy.V4", "responses", *words)
    assert [r["status"] for r in read_records(home / "records")] == ["failed"]


def spoil_netcdf(part: Path, change: Callable[[Any], Any]) -> None:
    """Change the variables of the netCDF file, checksum to match."""
    import xarray as xr

    change(xr.load_dataset(part / "responses.nc")).to_netcdf(part / "responses.nc")
    forge_manifest(part, files={name: file_sha256(part / name) for name in ("stimuli.csv", "responses.nc")})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop_vars("neuroid_id"), ["no variable 'neuroid_id'"]),
        (lambda d: d.rename(response="rate"), ["no variable 'response'"]),
        (lambda d: d.rename(neuroid="cell"), ["has dims", "expected"]),
        (lambda d: d.isel(neuroid=slice(0)), ["hold no neuroids"]),
        (lambda d: d.assign(response=d["response"].astype(str)), ["must be numbers"]),
        (lambda d: d.assign(response=d["response"] / 0), ["infinite"]),
        (lambda d: d.assign_coords(neuroid_id=("neuroid", ["n"] * 6)), ["duplicate neuroid_id 'n'"]),
        (lambda d: d.assign_coords(stimulus_id=("stimulus", ["s"] * 40)), ["duplicate stimulus_id 's'"]),
    ],
)
def test_variables_that_are_not_responses(
    bench: Bench, part: Path, change: Callable[[Any], Any], words: list[str]
) -> None:
    spoil_netcdf(part, change)
    bench(*RUN).fails(2, "failed: toy-pixels on toy.V4", *words)


def test_a_file_that_is_no_netcdf(bench: Bench, part: Path) -> None:
    (part / "responses.nc").write_bytes(b"CDF but not really")
    forge_manifest(part, files={name: file_sha256(part / name) for name in ("stimuli.csv", "responses.nc")})
    bench(*RUN).fails(2, "cannot read", "responses.nc", "`bench data import toy --from DIR`")


def scored(bench: Bench, part: Path, responses: Responses, values: np.ndarray) -> dict[str, Any]:
    put_responses(part, replace(responses, values=values))
    done = bench(*RUN)
    assert (done.status, done.stderr) == (0, "")
    return done.results[0]


def test_a_neuroid_that_is_all_nan_is_counted_and_the_rest_scored(
    bench: Bench, part: Path, responses: Responses
) -> None:
    values = responses.values.copy()
    values[..., 2] = np.nan
    result = scored(bench, part, responses, values)
    assert (result["n_neuroids"], result["n_neuroids_valid"]) == (6, 5)
    assert sum(result["details"]["excluded"].values()) == 1
    keep = [0, 1, 3, 4, 5]
    alone = replace(
        responses,
        values=responses.values[..., keep],
        neuroid_ids=tuple(responses.neuroid_ids[i] for i in keep),
        subjects=responses.subjects[:5],
    )
    put_responses(part, alone)
    (other,) = bench(*RUN).results
    assert (other["n_neuroids"], other["n_neuroids_valid"]) == (5, 5)
    assert result["r_neuroid"] == pytest.approx(other["r_neuroid"], abs=1e-12)
    assert result["score"] == pytest.approx(other["score"], abs=1e-12)


def test_a_neuroid_with_some_nan_is_scored_on_what_it_has(bench: Bench, part: Path, responses: Responses) -> None:
    values = responses.values.copy()
    values[::3, :, 1] = np.nan  # a third of the stimuli never shown
    values[1, 2:, 4] = np.nan  # some presentations missing
    result = scored(bench, part, responses, values)
    assert (result["n_neuroids"], result["n_neuroids_valid"], result["n_stimuli"]) == (6, 6, 40)
    assert result["score"] is not None


def test_a_neuroid_with_hardly_any_response_is_not_valid(bench: Bench, part: Path, responses: Responses) -> None:
    values = responses.values.copy()
    values[2:, :, 0] = np.nan
    result = scored(bench, part, responses, values)
    assert (result["n_neuroids"], result["n_neuroids_valid"]) == (6, 5)
    assert sum(result["details"]["excluded"].values()) == 1


def test_a_constant_neuroid_has_no_r_and_is_counted(bench: Bench, part: Path, responses: Responses) -> None:
    values = responses.values.copy()
    values[..., 5] = 4.0
    result = scored(bench, part, responses, values)
    assert (result["n_neuroids"], result["n_neuroids_valid"]) == (6, 5)
    assert sum(result["details"]["excluded"].values()) == 1
    assert result["score"] is not None


def test_no_neuroid_that_can_be_scored(bench: Bench, part: Path, responses: Responses) -> None:
    """The score is null and says that nothing was valid; the table and the leaderboard can show it."""
    result = scored(bench, part, responses, np.full_like(responses.values, np.nan))
    assert (result["score"], result["ci_low"], result["r_neuroid"]) == (None, None, None)
    assert (result["n_neuroids"], result["n_neuroids_valid"]) == (6, 0)
    shown = bench(*RUN[:-1])
    assert shown.status == 0
    assert "nan" not in shown.stdout.lower()
    board = bench("leaderboard")
    assert board.status == 0
    assert "nan" not in board.stdout.lower()
    row = bench("leaderboard", "--json").json["rows"][0]
    assert (row["status"], row["score"], row["n_neuroids_valid"]) == ("ok", None, 0)


def test_a_constant_model_scores_exactly_zero(bench: Bench, part: Path) -> None:
    done = bench("run", "--model", "toy-constant", "--benchmark", "toy.V4", "--json")
    assert done.status == 0
    assert (done.results[0]["score"], done.results[0]["r_neuroid"]) == (0.0, 0.0)
