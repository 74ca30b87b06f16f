"""How figures look: one column of a paper, colours that colour-blind readers can tell apart, bytes that do not vary.

Nothing is fitted by a layout engine: places are computed in inches from measured text, so that a figure is a function of
its table (and of the version of matplotlib). matplotlib is imported inside functions: it is an extra of this package.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmark_core.errors import MissingDataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

INSTALL = "pip install 'cortex-bench[figures]'"
FORMATS = ("svg", "png")
WIDTH = 3.5  # inches: a single column
DOTS_PER_INCH = 300
TITLE, TEXT, SMALL = 8.0, 7.0, 6.0  # points
LINE = 1.3  # height of a line of text, in its size
MARGIN = 0.08

# Okabe and Ito (2008), without the yellow, which is too light for lines on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#777777"
SHADES = ("#C6DBEF", "#85BCDB", "#4292C6", "#1764AB", "#083370")  # light to dark, for what is ordered
CYCLE = (
    (VERMILLION, "o"),
    (BLUE, "^"),
    (GREEN, "v"),
    (ORANGE, "s"),
    (PURPLE, "D"),
    (SKY, "P"),
    (BLACK, "X"),
    (GREY, "h"),
)
FAMILIES = {
    "expansion5l": (VERMILLION, "o"),
    "fully-connected": (BLUE, "^"),
    "vit-custom": (GREEN, "v"),
    "expansion5l-linear": (ORANGE, "s"),
    "expansion5l-random": (PURPLE, "D"),
    "pixels": (GREY, "X"),
}
STYLE: Mapping[RcKeyType, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "axes.unicode_minus": True,
    "text.parse_math": False,
    "text.hinting": "none",
    "svg.fonttype": "none",  # text stays text: it can be searched, read out and edited
    "svg.hashsalt": "cortex-bench",
    "figure.dpi": 72,  # as in an SVG, so that measuring and drawing agree
}


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises
    ------
    MissingDataError
        If it is not, with the command that installs it.
    """
    try:
        import_module("matplotlib")
    except ImportError:
        raise MissingDataError(f"figures need matplotlib, which is not installed; install it with: {INSTALL}") from None


@contextmanager
def style() -> Iterator[None]:
    """Draw in this style, whatever the user's own settings are; they are put back afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict(STYLE))
        yield


def looks_of(series: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each series, in their order.

    Well-known families always look the same, others take what is left. Several widths of one family, ``NAME`` and
    ``NAME:...`` in ascending order, go from light to dark.
    """
    members: dict[str, list[str]] = {}
    for name in series:
        members.setdefault(name.partition(":")[0], []).append(name)
    looks: dict[str, tuple[str, str]] = {}
    for family in members.values():
        if len(family) > 1:
            for i, (name, colour) in enumerate(zip(family, shades(len(family)), strict=True)):
                looks[name] = (colour, CYCLE[i % len(CYCLE)][1])
        elif family[0].partition(":")[0] in FAMILIES:
            looks[family[0]] = FAMILIES[family[0].partition(":")[0]]
    taken = {BLUE, SKY} if set(SHADES) & {colour for colour, _ in looks.values()} else set()
    free = [look for look in CYCLE if look not in looks.values() and look[0] not in taken] or list(CYCLE)
    others = [name for name in series if name not in looks]
    looks |= {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: looks[name] for name in series}


def shades(n: int) -> list[str]:
    """Return ``n`` colours from light to dark."""
    if n == 1:
        return [SHADES[3]]
    return [SHADES[round(i * (len(SHADES) - 1) / (n - 1))] for i in range(n)]


@cache
def width_of_text(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def wrap(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """Break text into lines of at most ``width`` inches, at spaces; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split(" "):  # not at spaces that do not break
        if lines and width_of_text(f"{lines[-1]} {word}", size, bold) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def model_label(identifier: str, width: float = 1.15, size: float = SMALL) -> str:
    """Return a model's identifier on lines of their own for name and parameters, as wide as fits beside bars."""
    name, colon, rest = identifier.partition(":")
    lines = wrap(name.replace(" @ ", " @ "), width, size)
    if colon:
        lines += wrap(rest.replace(",", ", "), width, size)
    return "\n".join(lines)


def compact(value: float) -> str:
    """Write a number for an axis: ``300``, ``10k``, ``1M``."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


@dataclass(frozen=True)
class Sheet:
    """A figure with its panels, from top to bottom (and from left to right).

    Parameters
    ----------
    figure
        The figure, with title and caption.
    axes
        Of the panels.
    """

    figure: Figure
    axes: tuple[Axes, ...]


def sheet(
    title: str,
    subtitle: str,
    caption: Sequence[str],
    heights: Sequence[float],
    *,
    left: float = 0.55,
    right: float = 0.12,
    bottom: float = 0.36,
    gap: float = 0.3,
    head: float = 0.0,
    columns: int = 1,
    legend: Sequence[tuple[Any, str]] = (),
    legend_title: str = "",
) -> Sheet:
    """Return a sheet of panels with title above, legend and caption below.

    Parameters
    ----------
    title, subtitle
        In bold, and below it.
    caption
        Sentences, one after the other.
    heights
        Of the rows of panels, in inches, without their labels.
    left, right, bottom
        Room in inches beside the panels (labels of the y axis) and below the lowest one (labels of the x axis).
    head
        Room above the first row of panels, for their titles.
    gap
        Between rows of panels; between columns it is as much as half of ``left``.
    columns
        Panels side by side.
    legend
        Handles with their labels.
    legend_title
        What the legend's labels are.
    """
    from matplotlib.figure import Figure

    room = WIDTH - 2 * MARGIN
    titles = wrap(title, room, TITLE, bold=True)
    subtitles = wrap(subtitle, room, SMALL)
    captions = wrap(" ".join(caption), room, SMALL)
    per_row, legend_rows = _legend_shape([label for _, label in legend], room)
    title_line, line = TITLE * LINE / 72, SMALL * LINE / 72
    legend_line = line + 0.02
    legend_height = (legend_rows + bool(legend_title)) * legend_line + 0.08 if legend else 0.0
    top = MARGIN + len(titles) * title_line + len(subtitles) * line + 0.16 + head
    bottom += 0.0 if legend else 0.06
    panels = sum(heights) + gap * (len(heights) - 1)
    height = top + panels + bottom + legend_height + len(captions) * line + MARGIN

    figure = Figure(figsize=(WIDTH, height))
    figure.patch.set_facecolor("white")
    y = height - MARGIN
    for lines, size, colour, weight in ((titles, TITLE, BLACK, "bold"), (subtitles, SMALL, "#444444", "normal")):
        for text in lines:
            figure.text(MARGIN / WIDTH, y / height, text, size=size, color=colour, weight=weight, va="top", ha="left")
            y -= size * LINE / 72
    y = MARGIN + len(captions) * line
    for text in captions:
        figure.text(MARGIN / WIDTH, y / height, text, size=SMALL, color="#444444", va="top", ha="left")
        y -= line
    if legend:
        figure.legend(
            [handle for handle, _ in legend],
            [label for _, label in legend],
            title=legend_title or None,
            title_fontsize=SMALL,
            alignment="left",
            loc="lower left",
            bbox_to_anchor=(MARGIN / WIDTH, (MARGIN + len(captions) * line + 0.06) / height),
            ncols=per_row,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.6,
            handletextpad=0.5,
            columnspacing=1.0,
            labelspacing=0.25,
        )
    axes = []
    between = left / 2 if columns > 1 else 0.0
    wide = (WIDTH - left - right - between * (columns - 1)) / columns
    y = height - top
    for row in heights:
        y -= row
        for column in range(columns):
            x = left + column * (wide + between)
            axes.append(figure.add_axes((x / WIDTH, y / height, wide / WIDTH, row / height)))
        y -= gap
    return Sheet(figure, tuple(axes))


def _legend_shape(labels: Sequence[str], room: float) -> tuple[int, int]:
    """Return how many labels of a legend stand side by side, and the number of rows."""
    if not labels:
        return 1, 0
    widest = max(width_of_text(label, SMALL) for label in labels) + 0.35
    per_row = max(1, min(6, len(labels), int(room / widest)))
    return per_row, -(-len(labels) // per_row)


def label_x(axes: Axes, text: str, size: float = TEXT) -> None:
    """Label the x axis, on two lines where one would be wider than the axis and its room to the right."""
    room = axes.get_position().width * WIDTH + 0.1
    lines = [text] if width_of_text(text, size) <= room else text.replace(" (", "\n(", 1).split("\n")
    axes.set_xlabel("\n".join(lines), size=size)


def to_bytes(figure: Figure, kind: str, title: str) -> bytes:
    """Return a figure as an SVG or PNG file, without dates or names of software.

    Parameters
    ----------
    kind
        One of :data:`FORMATS`.
    title
        Of the document.
    """
    out = io.BytesIO()
    metadata: dict[str, Any] = (
        {"Date": None, "Creator": None, "Title": title} if kind == "svg" else {"Software": None, "Title": title}
    )
    figure.savefig(out, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return out.getvalue()


def text_problems(figure: Figure) -> list[str]:
    """Return what is wrong with the texts of a figure that was drawn: cut off by its edge, or written over each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    unseen = set()  # labels of ticks beyond the ends of an axis are there, but not drawn
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for label, place in zip(axis.get_majorticklabels(), axis.get_majorticklocs(), strict=False):
                if not low <= place <= high:
                    unseen.add(label)
    boxes = []
    for artist in figure.findobj(Text):
        assert isinstance(artist, Text)
        if (
            artist not in unseen
            and artist.get_visible()
            and artist.get_text().strip()
            and (artist.axes is None or artist.axes.get_visible())
        ):
            boxes.append((artist.get_text(), artist.get_window_extent(renderer)))
    width, height = figure.bbox.width, figure.bbox.height
    problems = [
        f"cut: {text!r}"
        for text, box in boxes
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > width + 0.5 or box.y1 > height + 0.5
    ]
    for i, (text, box) in enumerate(boxes):
        for other, second in boxes[i + 1 :]:
            across = min(box.x1, second.x1) - max(box.x0, second.x0)
            down = min(box.y1, second.y1) - max(box.y0, second.y0)
            if across > 1.5 and down > 1.5:
                problems.append(f"overlap: {text!r} and {other!r}")
    return problems
