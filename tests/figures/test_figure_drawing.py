"""Figures as pictures: nothing cut or overlapping, labels with units, the same bytes every time, colours told apart."""

from __future__ import annotations

import itertools
import re

import matplotlib
import numpy as np
import pytest
from made_up import every_kind, record

from benchmark_core.agreement import cells_of
from benchmark_core.figure_predictions import HeldOut, predictions
from benchmark_core.figure_records import quantity, usable
from benchmark_core.figure_style import (
    BLACK,
    CYCLE,
    GREY,
    SHADES,
    SMALL,
    WIDTH,
    looks_of,
    style,
    text_problems,
    to_bytes,
    wrap,
)
from benchmark_core.figure_tables import Context, FigureTable
from benchmark_core.figures import FIGURES, FigureSpec, draw, make_tables, widths
from benchmark_core.published import Published
from benchmark_core.registry import Registry

SPECS = {spec.name: spec for spec in FIGURES}
Drawn = tuple[FigureSpec, FigureTable, str]


def held_out(record: object, neuroid: str) -> HeldOut:
    """Return made-up predictions."""
    return HeldOut(
        tuple(f"s{i}" for i in range(40)), tuple(i / 40 for i in range(40)), tuple(i / 30 for i in range(40))
    )


def check(spec: FigureSpec, table: FigureTable) -> str:
    """Draw a figure, check its texts, and return the SVG."""
    with style():
        figure = spec.draw(table)
        svg = to_bytes(figure, "svg", f"{table.title}, {table.benchmark}").decode()
        assert text_problems(figure) == [], table.stem
        assert figure.get_figwidth() == WIDTH
        return svg


@pytest.fixture(scope="module")
def made_up(built_ins: Registry) -> list[Drawn]:
    """Return every figure of made-up records, and some by another quantity."""
    records = usable(every_kind())
    drawn = []
    for spec in FIGURES:
        context = Context(quantity("score"), widths(built_ins))
        for table in make_tables(spec, records, context, held_out):
            if not table.benchmark.endswith("-shuffled"):  # drawn as the others are
                drawn.append((spec, table, check(spec, table)))
    context = Context(quantity("r_pattern"), widths(built_ins))
    for name in ("features", "ablations"):
        for table in make_tables(SPECS[name], records, context):
            drawn.append((SPECS[name], table, check(SPECS[name], table)))
    return drawn


def texts(svg: str) -> str:
    """Return all texts of an SVG, in one."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_every_figure_is_drawn_with_labels_units_and_what_it_rests_on(made_up: list[Drawn]) -> None:
    assert {spec.name for spec, _, _ in made_up} == set(SPECS)
    for spec, table, svg in made_up:
        text = texts(svg)
        assert table.title in text
        assert f"{table.benchmark} (version 1)" in text, table.stem
        assert "120 stimuli" in text
        for label in table.labels.values():
            assert all(part in text for part in label.replace(" (", "\n(").split("\n")), (table.stem, label)
        if spec.name not in ("layers", "reliability", "predictions"):
            assert "Error bars: 95\N{NO-BREAK SPACE}% intervals" in text, table.stem
        measured = [
            v for k, v in table.labels.items() if k in ("x", "y", "components") and v[:9] not in ("Number of", "Layer")
        ]
        assert all("(" in label or "%" in label for label in measured), measured


def test_the_same_table_gives_the_same_bytes_whatever_the_users_settings(made_up: list[Drawn]) -> None:
    spec, table, svg = next(d for d in made_up if d[0].name == "features")
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "svg.hashsalt": "mine", "savefig.dpi": 30}):
        again = draw(spec, table, ("svg", "png"))
        assert matplotlib.rcParams["font.size"] == 20
    once_more = draw(spec, table, ("png",))
    assert again["png"] == once_more["png"]
    assert again["png"].startswith(b"\x89PNG")
    assert b"Software" not in again["png"]
    assert again["svg"].decode() == svg
    assert not re.search(r"dc:date|[Mm]atplotlib v?\d", svg)
    assert again["csv"] == table.to_csv().encode()


def test_every_made_up_svg_is_drawn_twice_alike(made_up: list[Drawn]) -> None:
    for spec, table, svg in made_up:
        if spec.name in ("layers", "variance-partitioning"):
            assert check(spec, table) == svg, table.stem


def test_words_stand_where_predictions_are_not_at_hand() -> None:
    words = (
        "The held-out predictions of a on made.V4 are not in this cache. To have them, run: bench run --model a --force"
    )
    (table,) = predictions([record("a", 0.2, benchmark="made.V4")], lambda *_: words)
    assert all(part in texts(check(SPECS["predictions"], table)) for part in words.split("run: ")[1].split(" --"))
    assert set(draw(SPECS["predictions"], table, ("svg",))) == {"svg"}


def test_every_published_score_is_drawn_as_an_open_diamond(built_ins: Registry) -> None:
    made = [record(f"expansion5l:filters={n}", 0.1, n_features=36 * n) for n in (3, 30)]
    made.append(record("alexnet-trained", 0.2, trained=True))
    published = [
        Published("main", model, "cowley2023.V4", "encoding:selection=paper", value)
        for model, value in (("expansion5l:filters=3", 0.84), ("alexnet-trained", 0.86), ("vit-trained", 0.9))
    ]
    context = Context(quantity("r_pattern"), widths(built_ins), cells_of(published))
    (table,) = make_tables(SPECS["features"], usable(made), context)
    with style():
        (axes,) = SPECS["features"].draw(table).axes
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    assert sorted(float(y) for line in diamonds for y in line.get_ydata()) == [0.84, 0.86]
    assert {line.get_markerfacecolor() for line in diamonds} == {"white"}


def test_text_problems_are_found() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1), dpi=72)
    figure.text(0.1, 0.5, "one text", size=7)
    assert text_problems(figure) == []
    figure.text(0.15, 0.55, "another", size=7)
    figure.text(0.9, 0.1, "beyond the edge", size=7)
    assert text_problems(figure) == ["cut: 'beyond the edge'", "overlap: 'one text' and 'another'"]


def test_lines_of_text_fit_and_keep_every_word() -> None:
    text = "expansion5l:filters=300 " * 9 + "95\N{NO-BREAK SPACE}% at the end"
    lines = wrap(text, 2.0, SMALL)
    assert " ".join(lines) == text
    assert len(lines) > 4
    assert not any(line.startswith("%") for line in lines)


def simulate(colour: str, kind: str) -> np.ndarray:
    """Return a colour in CIELAB as readers without long (protan) or middle (deutan) cones see it.

    Viénot, Brettel & Mollon (1999): linear RGB to cone responses, the missing one replaced by a sum of the others.
    """
    code = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    to_cones = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    cones = to_cones @ linear
    if kind == "protan":
        cones[0] = 2.02344 * cones[1] - 2.52581 * cones[2]
    elif kind == "deutan":
        cones[1] = 0.494207 * cones[0] + 1.24827 * cones[2]
    seen = np.clip(np.linalg.solve(to_cones, cones), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", ["all", "protan", "deutan"])
def test_colour_blind_readers_tell_series_apart(kind: str) -> None:
    seen = {colour: simulate(colour, kind) for colour, _ in CYCLE}
    for one, other in itertools.combinations(seen, 2):
        # A difference of 2.3 can just be seen; what is closer than 15 differs in its marker anyway.
        assert np.linalg.norm(seen[one] - seen[other]) > 7, (one, other)
    lightness = [simulate(colour, kind)[0] for colour in SHADES]
    assert all(a - b > 10 for a, b in itertools.pairwise(lightness))


def test_series_differ_in_their_markers_too_and_families_look_the_same_everywhere() -> None:
    looks = looks_of(["pixels", "expansion5l", "mine", "yours", "fully-connected"])
    assert len(set(looks.values())) == len({marker for _, marker in looks.values()}) == 5
    assert looks["expansion5l"] == looks_of(["expansion5l"])["expansion5l"]
    assert looks["pixels"][0] == GREY
    many = looks_of(["expansion5l:filters=3", "expansion5l:filters=30", "expansion5l", "pixels", "net"])
    assert [many[n][0] for n in ("expansion5l:filters=3", "expansion5l")] == [SHADES[0], SHADES[-1]]
    assert len({marker for _, marker in many.values()}) >= 4
    assert BLACK not in {many["pixels"][0]}
