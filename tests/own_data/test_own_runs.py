"""Scores of different versions of a dataset stand in rows of their own, and come back when the data do."""

from __future__ import annotations

import json

from lab import TRIALS, Lab, write_wide
from said import Bench


def test_versions_have_rows_of_their_own_on_the_leaderboard(lab: Lab, bench: Bench) -> None:
    first, second = write_wide(lab.folder / "a.csv"), write_wide(lab.folder / "b.csv", 2 * TRIALS[..., ::-1])
    add = ("data", "add", "lab", "--images", lab.images, "--region", "V4", "--split", "kfold:3")
    run = ("run", "--json", "-m", "pixels", "-b", "lab.V4")
    results = []
    for path in (first, first, second):
        assert bench(*add, "--responses", path, "--replace").status == 0
        done = bench(*run)
        assert done.status == 0, done.err
        results += json.loads(done.out)["results"]
    assert [(r["benchmark_version"], r["cached"]) for r in results] == [(1, False), (1, True), (2, False)]
    assert len({r["key"] for r in results}) == 2
    rows = json.loads(bench("leaderboard", "--json").out)["rows"]
    assert [(r["benchmark"], r["benchmark_version"], r["key"]) for r in rows] == [
        ("lab.V4", 1, results[0]["key"]),
        ("lab.V4", 2, results[2]["key"]),
    ]
