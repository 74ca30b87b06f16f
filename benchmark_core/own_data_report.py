"""What there is to know about a dataset before anything is computed with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import BenchError
from benchmark_core.own_data_images import NEARLY_CONSTANT, Look, same_pictures
from benchmark_core.reliability import mean_noise
from benchmark_core.splits import Splits
from benchmark_core.stimuli import name_ids

EDGES = tuple(round(0.1 * i, 1) for i in range(11))  # of the histogram of reliabilities
FEWEST = 3  # test stimuli that a correlation needs
LOW = 0.1  # reliability below which a neuroid tells next to nothing
BLOCK = 20_000_000  # numbers of trials looked at together


def reliabilities(responses: Responses) -> np.ndarray | None:
    """Return the reliability of each neuroid over all stimuli, (n_neuroids,); None without repetitions.

    1 - mean over stimuli of (s^2 / n_repetitions) / variance of the stimulus means; NaN for constant neuroids and for
    those without a repeated stimulus.
    """
    if responses.trials is not None:
        responses = responses.trials
    if not responses.has_trials:
        return responses.reliability
    n_stimuli, n_repetitions, n_neuroids = responses.values.shape
    width = max(1, BLOCK // (n_stimuli * n_repetitions))
    found = np.full(n_neuroids, np.nan)
    for start in range(0, n_neuroids, width):
        trials = responses.values[:, :, start : start + width]
        noise = mean_noise(trials)
        seen = np.isfinite(trials).any(axis=1)
        means = _mean(trials, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            count = seen.sum(axis=0)
            centre = np.where(seen, means, 0.0).sum(axis=0) / count
            variance = np.where(seen, (means - centre) ** 2, 0.0).sum(axis=0) / (count - 1)
            leftover = np.where(seen, noise, 0.0).sum(axis=0) / count
            usable = np.isfinite(variance) & (variance > 0) & np.isfinite(leftover)
            found[start : start + width] = np.where(usable, 1 - leftover / np.where(usable, variance, 1.0), np.nan)
    return found


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    present = np.isfinite(values)
    counts = present.sum(axis=axis)
    total = np.where(present, values, 0.0).sum(axis=axis)
    return np.asarray(np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0))


def examine_responses(responses: Responses) -> dict[str, Any]:
    """Return counts of repetitions and missing values, dead and doubled neuroids, and reliabilities.

    Parameters
    ----------
    responses
        Of one region.
    """
    averages = responses.averages()
    present = np.isfinite(averages)
    names = np.array(responses.neuroid_ids, dtype=object)
    span = np.where(present, averages, -np.inf).max(axis=0) - np.where(present, averages, np.inf).min(axis=0)
    size = np.where(present, np.abs(averages), 0.0).max(axis=0)
    empty = ~present.any(axis=0)
    constant = ~empty & (span <= 1e-12 * size)
    by_content: dict[bytes, list[str]] = {}
    for at in np.flatnonzero(~empty & ~constant):
        column = np.ascontiguousarray(responses.values[..., at])
        by_content.setdefault(hashlib.sha256(np.where(np.isnan(column), np.nan, column).tobytes()).digest(), []).append(
            str(names[at])
        )
    return {
        "n_stimuli": len(responses.stimulus_ids),
        "n_neuroids": responses.n_neuroids,
        "subjects": {
            subject: {
                "n_neuroids": sum(s == subject for s in responses.subjects),
                "n_stimuli": int(present[:, [s == subject for s in responses.subjects]].any(axis=1).sum()),
            }
            for subject in responses.subject_names
        },
        "repetitions": _repetitions(responses),
        "missing": {
            "share": float(1 - present.mean()),
            "n_neuroids_incomplete": int((~present.all(axis=0)).sum()),
            "n_stimuli_unseen": int((~present.any(axis=1)).sum()),
        },
        "neuroids": {
            "first": [str(n) for n in names[:3]],
            "last": str(names[-1]),
            "empty": [str(n) for n in names[empty]],
            "constant": [str(n) for n in names[constant]],
            "identical": [same for same in by_content.values() if len(same) > 1],
        },
        "reliability": _reliability(responses),
    }


def _repetitions(responses: Responses) -> dict[str, Any] | None:
    trials = responses.trials if responses.trials is not None else responses
    if not trials.has_trials:
        return None
    counts = np.isfinite(trials.values).sum(axis=1)
    counts = counts[counts > 0]
    if not counts.size:
        return None
    return {
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "max": int(counts.max()),
        "share_once": float((counts == 1).mean()),
    }


def _reliability(responses: Responses) -> dict[str, Any] | None:
    values = reliabilities(responses)
    if values is None:
        return None
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    counts, _ = np.histogram(np.clip(known, 0.0, 1.0), bins=np.array(EDGES))
    below = int((known < 0).sum())
    return {
        "n": int(known.size),
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "min": float(known.min()),
        "max": float(known.max()),
        "share_reliable": float((known >= LOW).mean()),
        "histogram": {
            "edges": list(EDGES),
            "below_0": below,
            "counts": [int(counts[0]) - below, *map(int, counts[1:])],
        },
    }


def examine_images(ids: Sequence[str], looks: Sequence[Look]) -> dict[str, Any]:
    """Return sizes, what cannot be read, what is nearly of one grey, and what is the same picture under several ids."""
    sizes: dict[str, int] = {}
    for look in looks:
        if not look.problem:
            text = f"{look.size[0]} x {look.size[1]}"
            sizes[text] = sizes.get(text, 0) + 1
    return {
        "n": len(ids),
        "sizes": dict(sorted(sizes.items(), key=lambda item: -item[1])),
        "unreadable": {i: look.problem for i, look in zip(ids, looks, strict=True) if look.problem},
        "nearly_constant": [
            i for i, look in zip(ids, looks, strict=True) if not look.problem and look.deviation < NEARLY_CONSTANT
        ],
        "identical": [list(same) for same in same_pictures(ids, looks)],
    }


def examine_split(
    splits: Splits, identical: Sequence[Sequence[str]], groups: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return the sizes of folds, and what is on both sides of one.

    Parameters
    ----------
    splits
        The folds.
    identical
        Ids of images with the same pixels, sets of two or more.
    groups
        Group of each stimulus id, or None.
    """
    folds = list(dict.fromkeys([*splits.folds, *(f for own in splits.by_subject.values() for f in own)]))
    leaking: dict[tuple[str, ...], None] = {}
    torn: dict[str, None] = {}
    for fold in folds:
        train, test = set(fold.train), set(fold.test)
        for same in identical:
            if train.intersection(same) and test.intersection(same):
                leaking[tuple(same)] = None
        if groups is not None:
            for group in {groups[i] for i in train} & {groups[i] for i in test}:
                torn[group] = None
    return {
        "n_folds": len(splits.folds),
        "n_train": [min(len(f.train) for f in folds), max(len(f.train) for f in folds)],
        "n_test": [min(len(f.test) for f in folds), max(len(f.test) for f in folds)],
        "n_groups": None if groups is None else len(set(groups.values())),
        "leaking": [list(same) for same in leaking],
        "torn_groups": sorted(torn),
    }


def suggest_split(ids: Sequence[str], identical: Sequence[Sequence[str]], grouped: bool) -> str:
    """Return the split that suits the stimuli, in words."""
    n = len(ids) - sum(len(same) - 1 for same in identical)
    k = 5 if n >= 50 else max(2, min(4, n // 5))
    hint = f"--split kfold:{k}"
    if identical and not grouped:
        hint += " --group-identical"
    if not grouped:
        stems = {re.sub(r"[\W_]*\d+$", "", re.sub(r"\.\w{2,4}$", "", i)) for i in ids}
        if 2 < len(stems) <= len(ids) / 2:
            hint += (
                f"; ids look like {len(stems)} groups ({name_ids(sorted(stems))}): if these are views of one thing, "
                "give a column of groups with --groups"
            )
    return hint


def report_on(
    name: str,
    ids: Sequence[str],
    looks: Sequence[Look],
    responses: Responses | None,
    splits: Splits | BenchError | None,
    groups: Mapping[str, str] | None,
    matched: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the report on one benchmark, with a line for each problem that makes scores wrong.

    Parameters
    ----------
    name
        Of the benchmark.
    ids, looks
        Stimuli and what their images hold.
    responses
        Responses, or None for another kind of target.
    splits
        The splits, why there are none, or None.
    groups
        Group of each stimulus, or None.
    matched
        How ids and images match: ``n_matched``, ``without_image``, ``without_responses``, and ``lines``, one line for
        each problem with them.
    """
    images = examine_images(ids, looks)
    split = examine_split(splits, images["identical"], groups) if isinstance(splits, Splits) else None
    problems = list(matched.get("lines", []))
    remarks: list[str] = []
    if images["unreadable"]:
        first = next(iter(images["unreadable"].items()))
        problems.append(
            f"{len(images['unreadable'])} image(s) cannot be used, the first that of {first[0]!r}: {first[1]}"
        )
    if isinstance(splits, BenchError):
        problems.append(f"no split: {splits}")
    if split is not None and split["leaking"]:
        pairs = ", ".join(" = ".join(same[:2]) for same in split["leaking"][:3])
        problems.append(
            f"{len(split['leaking'])} picture(s) are trained on and tested on under different ids ({pairs}): scores would "
            "be too high; keep them together with --group-identical, or correct the split"
        )
    if split is not None and split["torn_groups"]:
        problems.append(
            f"{len(split['torn_groups'])} group(s) are trained on and tested on ({name_ids(split['torn_groups'])}): "
            "keep groups on one side of the split"
        )
    if images["nearly_constant"]:
        remarks.append(
            f"{len(images['nearly_constant'])} image(s) are nearly of one grey: {name_ids(images['nearly_constant'])}"
        )
    if images["identical"] and not (split and split["leaking"]):
        same = ", ".join(" = ".join(s[:2]) for s in images["identical"][:3])
        remarks.append(f"{len(images['identical'])} picture(s) have several ids: {same}")
    document: dict[str, Any] = {"benchmark": name, "images": images, "responses": None}
    if responses is not None:
        found = examine_responses(responses)
        document["responses"] = found
        remarks += _remarks(found)
    suggested = suggest_split(ids, images["identical"], groups is not None)
    if split is not None and split["n_test"][0] < FEWEST:
        remarks.append(
            f"a fold tests {split['n_test'][0]} stimuli, too few for a correlation ({FEWEST} at least); consider {suggested}"
        )
    return document | {
        "ids": {k: v for k, v in matched.items() if k != "lines"},
        "split": split,
        "suggested_split": suggested,
        "problems": problems,
        "remarks": remarks,
    }


def _remarks(found: Mapping[str, Any]) -> list[str]:
    neuroids, missing, repetitions = found["neuroids"], found["missing"], found["repetitions"]
    lines = []
    for kind, what in (("empty", "hold no response"), ("constant", "never change")):
        if neuroids[kind]:
            lines.append(f"{len(neuroids[kind])} neuroid(s) {what}: {name_ids(neuroids[kind])}; they have no score")
    if neuroids["identical"]:
        same = ", ".join(" = ".join(s[:2]) for s in neuroids["identical"][:3])
        lines.append(f"{len(neuroids['identical'])} neuroid(s) are there several times: {same}")
    if missing["n_stimuli_unseen"]:
        lines.append(f"{missing['n_stimuli_unseen']} stimuli have no response of any neuroid")
    if repetitions is None:
        lines.append("no repetitions: scores have no ceiling")
    elif repetitions["share_once"] > 0:
        lines.append(
            f"{repetitions['share_once']:.0%} of stimuli were shown once to a neuroid: their noise is taken from the others"
        )
    if found["reliability"] is not None and found["reliability"]["median"] < LOW:
        lines.append(
            f"the median reliability is {found['reliability']['median']:.2f}: hardly anything can be explained"
        )
    return lines
