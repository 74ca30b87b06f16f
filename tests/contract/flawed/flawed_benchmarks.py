"""Benchmarks that each break one part of the contract. Images lie in the folder that FLAWED_IMAGES names."""

import os
from functools import partial
from pathlib import Path

from benchmark_core import BenchmarkSpec, Fold, KFold, MissingDataError, Splits, fixed_split, hookimpl

IDS = tuple(f"s{i:02d}" for i in range(24))
SUBJECTS = ("A", "A", "B", "B")


def stimuli(flaw):
    """Return 24 stimuli in 8 groups."""
    from benchmark_core import StimulusSet

    folder = Path(os.environ["FLAWED_IMAGES"])
    found = StimulusSet.from_files(
        {i: folder / f"{i}.png" for i in IDS}, metadata={"group": {i: f"g{n // 3}" for n, i in enumerate(IDS)}}
    )
    if flaw == "other-bytes":
        object.__setattr__(found, "sha256", ("0" * 64,) * len(IDS))
    return found


def target(flaw):
    """Return responses of four neuroids in three repetitions."""
    import numpy as np

    from benchmark_core import Responses

    if flaw == "absent":
        raise MissingDataError("the recording is not on this machine: copy it to /nowhere")
    random = np.random.Generator(np.random.Philox(3))
    values = random.standard_normal((24, 1, 4)) + 0.5 * random.standard_normal((24, 3, 4))
    ids = list(IDS)
    if flaw == "other-ids":
        ids[3] = "s99"
    elif flaw == "new-every-time":
        values[0, 0, 0] = int.from_bytes(os.urandom(4))
    elif flaw == "draws-from-numpy":
        values[0, 0, 0] += 0 * np.random.random()  # noqa: NPY002
    elif flaw == "nothing-repeated":
        values[:, 1:] = np.nan
    elif flaw == "subject-not-shown":
        values[:6, :, 2:] = np.nan
    if flaw == "averages":
        values = values.mean(axis=1)
    return Responses(tuple(ids), values, ("n0", "n1", "n2", "n3"), SUBJECTS, "V4")


def splits(flaw, stimuli):
    """Return folds."""
    ids = stimuli.stimulus_ids
    if flaw == "divides-groups":
        return fixed_split(train=ids[:11], test=ids[11:])
    if flaw == "unknown-ids":
        return fixed_split(train=ids[:12], test=("s90", "s91", "s92"))
    if flaw == "unknown-subject":
        return Splits((Fold(ids[:12], ids[12:]),), by_subject={"C": (Fold(ids[:12], ids[12:]),)})
    if flaw == "unseeded":
        held_out = 3 * (os.urandom(1)[0] % 8)
        while f"{held_out}" == os.environ.get("FLAWED_LAST"):
            held_out = 3 * (os.urandom(1)[0] % 8)
        os.environ["FLAWED_LAST"] = f"{held_out}"
        return fixed_split([i for i in ids if i not in ids[held_out : held_out + 3]], ids[held_out : held_out + 3])
    return KFold(k=4)(stimuli)


SPLIT_FLAWS = ("divides-groups", "unknown-ids", "unknown-subject", "unseeded")
FLAWS = (
    "none",
    "averages",
    "absent",
    "other-bytes",
    "other-ids",
    "new-every-time",
    "draws-from-numpy",
    "nothing-repeated",
    "subject-not-shown",
    *SPLIT_FLAWS,
)


@hookimpl
def register_benchmarks():
    """Offer one benchmark for each flaw."""
    found = [
        BenchmarkSpec(
            name=f"flawed.V4-{flaw}",
            version=1,
            stimuli=partial(stimuli, flaw),
            target=partial(target, flaw),
            splits=partial(splits, flaw) if flaw in SPLIT_FLAWS else KFold(k=4),
            description="flawed on purpose",
            simulated=True,
        )
        for flaw in FLAWS
    ]
    shared = {"stimuli": partial(stimuli, "none"), "target": partial(target, "none"), "splits": KFold(k=4)}
    return [
        *found,
        BenchmarkSpec(name="flawed.V4-silent", version=1, **shared),
        BenchmarkSpec(name="flawed.V4-kind", version=1, description="x", target_kind="labels", **shared),
        BenchmarkSpec(name="flawed.V4-metric", version=1, description="x", metric="no-such-metric", **shared),
    ]
