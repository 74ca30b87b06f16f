"""Reports on datasets, and what was added, as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark_core.listing import size_text
from benchmark_core.own_data import Added
from benchmark_core.own_data_report import LOW
from benchmark_core.stimuli import name_ids


def print_report(report: Mapping[str, Any]) -> None:
    """Print one report."""
    print(report["benchmark"])
    ids, images, found = report["ids"], report["images"], report["responses"]
    line = f"{ids['n_matched']} stimuli with image and responses"
    for key, what in (("without_image", "without image"), ("without_responses", "images without responses")):
        if ids[key]:
            line += f"; {len(ids[key])} {what} ({name_ids(ids[key])})"
    _row("ids", line)
    _row("images", ", ".join(f"{n} of {size}" for size, n in list(images["sizes"].items())[:3]) or "none")
    if found is not None:
        _print_responses(found)
    _print_split(report)
    _row("suggested", report["suggested_split"])
    for remark in report["remarks"]:
        _row("note", remark)
    for problem in report["problems"]:
        _row("PROBLEM", problem)


def _print_responses(found: Mapping[str, Any]) -> None:
    subjects = "; ".join(
        f"{name}: {s['n_neuroids']} neuroids, {s['n_stimuli']} stimuli" for name, s in found["subjects"].items()
    )
    names = ", ".join(found["neuroids"]["first"])
    if found["n_neuroids"] > len(found["neuroids"]["first"]):
        names += f" ... {found['neuroids']['last']}"
    _row("neuroids", f"{found['n_neuroids']} ({names}); {subjects}")
    repetitions = found["repetitions"]
    _row(
        "repetitions",
        "none"
        if repetitions is None
        else f"{repetitions['min']} to {repetitions['max']}, median {repetitions['median']:g}",
    )
    missing = found["missing"]
    _row("missing", f"{missing['share']:.1%} of responses, in {missing['n_neuroids_incomplete']} neuroids")
    reliability = found["reliability"]
    if reliability is None:
        _row("reliability", "unknown")
        return
    _row(
        "reliability",
        f"median {reliability['median']:.2f}, {reliability['min']:.2f} to {reliability['max']:.2f}; "
        f"{reliability['share_reliable']:.0%} of neuroids at least {LOW}",
    )
    histogram = reliability["histogram"]
    most = max(histogram["below_0"], *histogram["counts"])
    rows = [("    < 0", histogram["below_0"])] if histogram["below_0"] else []
    rows += [(f"{low:.1f}-{low + 0.1:.1f}", n) for low, n in zip(histogram["edges"], histogram["counts"], strict=False)]
    for label, n in rows:
        print(f"  {'':<12} {label} {'#' * -(-n * 40 // most)}{' ' if n else ''}{n}")


def _print_split(report: Mapping[str, Any]) -> None:
    split = report["split"]
    if split is not None:
        folds = f"{split['n_folds']} folds" if split["n_folds"] > 1 else "fixed"
        groups = "" if split["n_groups"] is None else f", {split['n_groups']} groups"
        _row("split", f"{folds}, {_span(split['n_train'])} train, {_span(split['n_test'])} test{groups}")


def _span(pair: Sequence[int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} to {pair[1]}"


def _row(label: str, text: str) -> None:
    print(f"  {label:<12} {text}")


def print_added(added: Added, dry_run: bool) -> None:
    """Print what was added, or what would be."""
    dataset = added.dataset
    done = "would be added" if dry_run else "added"
    if added.before is not None:
        done = "would be changed" if dry_run else "changed"
    print(f"{dataset.name}: {done}, {added.folder}")
    for report, (region, entry) in zip(added.reports, dataset.regions.items(), strict=True):
        before = None if added.before is None else added.before.regions.get(region)
        version = f"v{entry.version}"
        if before is not None:
            version += " (unchanged)" if before.version == entry.version else f" (was v{before.version})"
        print(f"{dataset.name}.{region} {version}: {entry.n_stimuli} stimuli, {entry.n_neuroids} neuroids")
        _print_responses(report["responses"])
        _print_split(report)
        for remark in report["remarks"]:
            _row("note", remark)
    gone = [] if added.before is None else sorted(set(added.before.regions) - set(dataset.regions))
    if gone:
        print(f"no longer there: {', '.join(f'{dataset.name}.{region}' for region in gone)}")
    unused = added.reports[0]["ids"]["without_responses"]
    left_out = added.reports[0]["ids"]["without_image"]
    if unused:
        print(f"{len(unused)} images without responses left out ({name_ids(unused)})")
    if left_out:
        print(f"{len(left_out)} stimuli without image left out ({name_ids(left_out)})")
    copies = "would be copied" if dry_run else "copied; your own files are not needed any more"
    print(f"{size_text(added.n_bytes)} of images {copies}")
    if dry_run:
        print("nothing was written (--dry-run)")
    else:
        print(f"next: bench run --model pixels --benchmark {dataset.name}.{next(iter(dataset.regions))}")
