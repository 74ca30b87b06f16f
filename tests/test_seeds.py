"""Seeds as an axis: every draw of an untrained model is a model of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import make_toy_world

from benchmark_core import run
from benchmark_core.cells import make_plan, parse_seeds
from benchmark_core.errors import InputError
from benchmark_core.registry import Registry


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-9", list(range(10))), ("3", [3]), ("0,3,5-7", [0, 3, 5, 6, 7]), ("2,1-3", [2, 1, 3])]
)
def test_ranges_and_lists(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-", "1,,2", "0-1000", "1.5", "0-99999999999", "1 2", "²"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(InputError, match="--seeds"):
        parse_seeds(text)


def test_untrained_models_are_drawn_once_a_seed_and_others_stay() -> None:
    cells, notes = make_plan(
        Registry(), ["expansion5l-256:filters=3", "efficientnet-lite0", "pixels"], ["simulated.V4"], seeds=[0, 2]
    )
    assert [c.models[0].identifier for c in cells] == [
        "expansion5l-256:filters=3",
        "expansion5l-256:filters=3,seed=2",
        "efficientnet-lite0",
        "pixels",
    ]
    assert notes == [f"{m} has no random weights: scored once" for m in ("efficientnet-lite0", "pixels")]


def test_a_seed_is_named_once() -> None:
    with pytest.raises(InputError, match="expansion5l-256:seed=3 names a seed, and so does --seeds"):
        make_plan(Registry(), ["expansion5l-256:seed=3"], ["simulated.V4"], seeds=[0, 2])


def test_draws_differ_and_are_scored_alike(tmp_path: Path, home: Path) -> None:
    world = make_toy_world(tmp_path / "toys")
    together = run("toy", "toy.V4", plugins=[world], seeds=[0, 1, 2])
    assert [r["model"] for r in together] == ["toy", "toy:seed=1", "toy:seed=2"]
    assert len({r["score"] for r in together}) == 3
    (alone,) = run("toy:seed=2", "toy.V4", plugins=[world], force=True)
    assert alone["key"] == together[2]["key"]
    assert alone["score"] == together[2]["score"]
