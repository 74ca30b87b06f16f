"""Reading the averaged betas of the Natural Scenes Dataset as Kazemian, Elmoznino & Bonner published them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark_core.assembly import Responses
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.safe_pickle import read_texts
from benchmark_core.stimuli import name_ids
from plugins.benchmarks._nsd_images import N_IMAGES, number_of, stimulus_id
from plugins.benchmarks._nsd_release import assemble
from plugins.benchmarks.nsd import REGIONS, SUBJECTS

SHARED = "nsd_ids_shared"
FOLDER = "naturalscenes"


def betas_file(source: Path, subject: str, region: str) -> Path:
    """Return the file of a subject's betas in one region."""
    return source / REGIONS[region].published / "preprocessed" / f"subject={SUBJECTS.index(subject)}.nc"


def ceiling_file(source: Path, subject: str, region: str) -> Path:
    """Return the file of correlations between single repetitions, which may not be there."""
    folder = source / "noise_ceilings" / "fithrf_GLMdenoise_RR" / f"roi={REGIONS[region].published}"
    return folder / f"all_stimuli.subject={SUBJECTS.index(subject)}.nc"


def root_of(source: Path) -> Path | None:
    """Return the folder that holds the regions: ``source`` or ``source/naturalscenes``; None if neither does."""
    for folder in (source, source / FOLDER):
        if any((folder / region.published).is_dir() for region in REGIONS.values()):
            return folder
    return None


def read_shared(path: Path) -> tuple[str, ...]:
    """Return the ids of the shared images, sorted, without an extension.

    Raises
    ------
    MissingDataError
        If the file is not there.
    InputError
        If it is no pickled list of image names, or names an image twice.
    """
    try:
        names = read_texts(path)
    except FileNotFoundError:
        raise MissingDataError(f"{path} is missing; it lists the shared images that are tested on") from None
    ids = _ids(path, names)
    if len(ids) < 2:
        raise InputError(f"{path} lists {len(ids)} images")
    return tuple(sorted(ids))


def _ids(path: Path, names: Sequence[str]) -> list[str]:
    numbers = [number_of(name) for name in names]
    odd = [name for name, n in zip(names, numbers, strict=True) if n is None or n >= N_IMAGES]
    if odd:
        raise InputError(f"{path} names images {name_ids(odd)}; expected image00000 to image{N_IMAGES - 1}")
    ids = [stimulus_id(n) for n in numbers if n is not None]
    twice = sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise InputError(f"{path} holds stimulus_id {name_ids(twice)} more than once")
    return ids


def read_betas(path: Path) -> tuple[list[str], np.ndarray]:
    """Return stimulus ids and betas, (stimuli, voxels), from one file.

    Raises
    ------
    MissingDataError
        If the file is not there.
    InputError
        If it is damaged or holds something else: the variable ``beta``, dims (presentation, neuroid), with the coordinate
        ``stimulus`` and each stimulus once.
    """
    import xarray as xr

    if not path.is_file():
        raise MissingDataError(f"{path} is missing")
    try:
        with xr.open_dataset(path, engine="netcdf4") as dataset:
            for name in ("beta", "stimulus"):
                if name not in dataset.variables:
                    raise InputError(
                        f"{path} holds no variable {name!r}; it holds {', '.join(map(str, dataset.variables))}"
                    )
            beta, stimulus = dataset["beta"], dataset["stimulus"]
            if set(beta.dims) != {"presentation", "neuroid"} or stimulus.dims != ("presentation",):
                raise InputError(
                    f"{path}: beta has dims {beta.dims} and stimulus {stimulus.dims}; "
                    "expected (presentation, neuroid) and (presentation,)"
                )
            if beta.dtype.kind != "f":
                raise InputError(f"{path}: beta holds {beta.dtype}, expected z-scored floating-point numbers")
            values = np.asarray(beta.transpose("presentation", "neuroid").values)
            names = [v.decode("ascii", "replace") if isinstance(v, bytes) else str(v) for v in stimulus.values]
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as netCDF ({' '.join(str(error).split())}); get it again") from None
    if 0 in values.shape:
        raise InputError(f"{path}: beta is empty, {values.shape[0]} presentations of {values.shape[1]} neuroids")
    ids = _ids(path, names)
    if np.isinf(values).any():
        where = int(np.argwhere(np.isinf(values))[0][0])
        raise InputError(f"{path} holds an infinite beta for stimulus_id {ids[where]!r}")
    return ids, values


@dataclass(frozen=True)
class Ceiling:
    """Noise ceiling of a region, from correlations between single repetitions.

    Parameters
    ----------
    reliability
        (voxels,) reliability of the averages: k r / (1 + (k - 1) r), mean over pairs of repetitions; NaN where unknown.
    published
        Mean over pairs and voxels of its square root, a ceiling of r, as Kazemian et al. report it; None without any.
    n_dropped
        How many pairs and voxels had none, because they correlate negatively.
    """

    reliability: np.ndarray
    published: float | None
    n_dropped: int


def ceiling_of(correlation: np.ndarray, repetitions: np.ndarray) -> Ceiling:
    """Return the ceiling from correlations (pairs, voxels) and the number of repetitions averaged, (pairs,)."""
    k = repetitions.astype(np.float64)[:, None]
    bottom = 1 + (k - 1) * correlation
    whole = np.divide(k * correlation, bottom, out=np.full(correlation.shape, np.nan), where=bottom > 0)
    known = np.isfinite(whole)
    count = known.sum(axis=0)
    total = np.where(known, whole, 0.0).sum(axis=0)
    reliability = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    good = known & (whole >= 0)
    published = float(np.sqrt(whole[good]).mean()) if good.any() else None
    return Ceiling(reliability, published, int((~good).sum()))


def read_ceiling(path: Path, n_voxels: int) -> Ceiling:
    """Read the correlations between single repetitions of one subject and region.

    Raises
    ------
    InputError
        If the file is damaged or holds something else: the variable ``correlation`` with the coordinate ``repetition`` (2
        or 3) along one dim and the voxels along the other.
    """
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="netcdf4") as dataset:
            for name in ("correlation", "repetition"):
                if name not in dataset.variables:
                    raise InputError(f"{path} holds no variable {name!r}")
            correlation, repetition = dataset["correlation"], dataset["repetition"]
            pairs = repetition.dims
            if correlation.ndim != 2 or len(pairs) != 1 or pairs[0] not in correlation.dims:
                raise InputError(
                    f"{path}: correlation has dims {correlation.dims}, repetition {pairs}; expected pairs and voxels"
                )
            values = np.asarray(correlation.transpose(pairs[0], ...).values, dtype=np.float64)
            k = np.asarray(repetition.values, dtype=np.float64)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as netCDF ({' '.join(str(error).split())}); get it again") from None
    if values.shape[1] != n_voxels:
        raise InputError(f"{path} holds {values.shape[1]} voxels, and the betas of the same region {n_voxels}")
    if not np.isin(k, (2, 3)).all() or (np.abs(values[np.isfinite(values)]) > 1).any():
        raise InputError(f"{path}: expected correlations from -1 to 1 and 2 or 3 repetitions")
    return ceiling_of(values, k)


def read_subject(
    source: Path, subject: str, regions: Sequence[str]
) -> tuple[Responses, dict[str, int], dict[str, dict[str, float | int | None]]]:
    """Read the betas of a subject in several regions.

    Returns
    -------
    Responses, rounded to single precision, voxels region after region, with the reliabilities of the ceiling files where
    they are there; for each region the number of voxels left out because a value is missing; and for each region what
    the ceiling files say.

    Raises
    ------
    MissingDataError, InputError
        See :func:`read_betas` and :func:`read_ceiling`; also if the regions hold different stimuli.
    """
    parts: list[np.ndarray] = []
    names: list[str] = []
    reliabilities: list[np.ndarray] = []
    left_out: dict[str, int] = {}
    ceilings: dict[str, dict[str, float | int | None]] = {}
    first: list[str] = []
    for region in regions:
        path = betas_file(source, subject, region)
        ids, values = read_betas(path)
        order = np.argsort(np.array(ids))
        if not parts:
            first = sorted(ids)
        elif sorted(ids) != first:
            odd = sorted(set(ids) ^ set(first))
            raise InputError(f"{path}: stimulus_id {name_ids(odd)} is in one region and not in another")
        keep = np.isfinite(values).all(axis=0)
        left_out[region] = int((~keep).sum())
        reliability = np.full(values.shape[1], np.nan)
        ceiling = ceiling_file(source, subject, region)
        if ceiling.is_file():
            found = read_ceiling(ceiling, values.shape[1])
            reliability = found.reliability
            ceilings[region] = {"ceiling_of_r": found.published, "n_dropped": found.n_dropped}
        parts.append(values[np.ix_(order, np.flatnonzero(keep))])
        names += [f"{subject}/{region}/{i:05d}" for i in np.flatnonzero(keep)]
        reliabilities.append(reliability[keep])
    averages = np.concatenate(parts, axis=1, dtype=np.float64)
    del parts
    numbers = [number_of(i) or 0 for i in first]
    given = np.concatenate(reliabilities) if ceilings else None
    return assemble(subject, numbers, names, averages, reliability=given), left_out, ceilings


def sources_of(source: Path, subject: str, regions: Sequence[str]) -> list[Path]:
    """Return the files that a subject's responses are made from."""
    files = [betas_file(source, subject, region) for region in regions]
    return files + [c for region in regions if (c := ceiling_file(source, subject, region)).is_file()]


def regions_of(source: Path, subject: str) -> list[str]:
    """Return the regions of which there are a subject's betas."""
    return [region for region in REGIONS if betas_file(source, subject, region).is_file()]


def describe(ceilings: Mapping[str, Mapping[str, float | int | None]]) -> str:
    """Return published ceilings in words."""
    said = [f"{region} {c['ceiling_of_r']:.3f}" for region, c in ceilings.items() if c["ceiling_of_r"] is not None]
    return f"; ceilings of r: {', '.join(said)}" if said else ""
