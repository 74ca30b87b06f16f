"""Majaj, Hong et al. (2015) in miniature: the same files, variables, dims, coordinates and types, with fewer of each.

Both layouts come from the same made-up trials: Brain-Score's three files under their older and newer names, and the
download of Kazemian et al., whose averages are made as theirs were (xarray: keep one animal and region, group by image,
mean). Responses are multiples of 1/64, so sums over trials are exact in any order.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

ASSEMBLY = "assy_dicarlo_MajajHong2015_public.nc"
VARIABLE = "dicarlo.MajajHong2015.public"
CATEGORIES = ("Animals", "Boats", "Cars", "Chairs", "Faces", "Fruits", "Planes", "Tables")


@dataclass(frozen=True, eq=False)
class Miniature:
    """What the files hold: a table of stimuli, the bytes of their images, presentations, neuroids, trials.

    ``trials`` is (presentations, neuroids); ``presentations`` and ``neuroids`` are tables of their coordinates, in the
    order of the file, which is not sorted in any way.
    """

    stimuli: pd.DataFrame
    images: dict[str, bytes]
    presentations: pd.DataFrame
    neuroids: pd.DataFrame
    trials: np.ndarray

    def averages(self, region: str) -> pd.DataFrame:
        """Return (stimuli, neuroids) averages with pandas: ids sorted, subjects sorted, the file's order within."""
        columns = [i for s in ("Chabo", "Tito") for i in self.rows(s, region)]
        frame = pd.DataFrame(self.trials[:, columns], columns=self.neuroids["neuroid_id"].iloc[columns])
        return frame.groupby(self.presentations["image_id"].to_numpy()).mean().sort_index()

    def rows(self, subject: str, region: str) -> list[int]:
        """Return the positions of a subject's neuroids of a region."""
        return list(np.flatnonzero((self.neuroids["animal"] == subject) & (self.neuroids["region"] == region)))


def pictures(n: int, photographs: Path | None = None, size: int = 48) -> list[np.ndarray]:
    """Return grey pictures (size, size) uint8: of photographs where there are any, else made up."""
    files = sorted(photographs.rglob("*.jpg"))[:n] if photographs is not None else []
    if len(files) == n:
        return [np.asarray(Image.open(f).convert("L").resize((size, size))) for f in files]
    random = np.random.Generator(np.random.Philox(7))
    found = []
    for _ in range(n):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6), dtype=np.uint8))
        found.append(np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)))
    return found


def make(n_objects: int = 4, per_object: tuple[int, int] = (5, 10), photographs: Path | None = None) -> Miniature:
    """Make up a recording: ``per_object`` images at variation 0 and 3, shown 3 and 5 times, to 5 V4 and 8 IT sites."""
    random = np.random.Generator(np.random.Philox(1))
    labels = [
        (f"object{o}", CATEGORIES[o % 8], v)
        for o in range(n_objects)
        for v, n in zip((0, 3), per_object, strict=True)
        for _ in range(n)
    ]
    images, rows, brightness = {}, [], []
    for number, ((name, category, variation), pixels) in enumerate(
        zip(labels, pictures(len(labels), photographs), strict=True)
    ):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, format="PNG")
        stimulus_id = hashlib.sha1(f"{number}".encode()).hexdigest()
        file = f"{name}_rx+{number:06.3f}_s+00.786_{stimulus_id}_256x256.png"
        images[file] = out.getvalue()
        rows.append((stimulus_id, file, name, category, variation, f"BG_{number}"))
        halves = pixels[:24], pixels[24:], pixels[:, :24], pixels[:, 24:]
        brightness.append([h.mean() for h in halves])
    columns = ["image_id", "image_file_name", "object_name", "category_name", "variation", "background_id"]
    stimuli = pd.DataFrame(rows, columns=columns)
    shown = [(i, r) for i, v in enumerate(stimuli["variation"]) for r in range(3 if v == 0 else 5)]
    shown = [shown[k] for k in np.argsort(random.random(len(shown)))]
    presentations = stimuli.iloc[[i for i, _ in shown]].drop(columns="image_file_name").reset_index(drop=True)
    presentations["repetition"] = [r for _, r in shown]
    sites = [("Tito", "IT"), ("Chabo", "V4"), ("Chabo", "IT"), ("Tito", "V4"), ("Tito", "IT"), ("Chabo", "IT")]
    sites += [
        ("Tito", "IT"),
        ("Chabo", "IT"),
        ("Tito", "V4"),
        ("Chabo", "IT"),
        ("Chabo", "V4"),
        ("Tito", "IT"),
        ("Tito", "V4"),
    ]
    neuroids = pd.DataFrame(sites, columns=["animal", "region"])
    neuroids["neuroid_id"] = [f"{a}_L_{'PAM'[i % 3]}_{i}_{i % 4}" for i, (a, _) in enumerate(sites)]
    neuroids["arr"], neuroids["col"], neuroids["row"] = "P", np.arange(len(sites)) % 10, np.arange(len(sites)) // 10
    standard = (np.array(brightness) - np.mean(brightness, axis=0)) / np.std(brightness, axis=0)
    signal = standard @ random.normal(size=(4, len(sites)))
    trials = signal[[i for i, _ in shown]] + random.normal(size=(len(shown), len(sites)))
    return Miniature(stimuli, images, presentations, neuroids, np.round(trials * 64) / 64)


def assembly(world: Miniature, newer: bool = False) -> xr.Dataset:
    """Return the assembly of single trials with flat coordinates, (neuroid, presentation, time_bin)."""
    presentations = world.presentations.rename(columns={"image_id": "stimulus_id"} if newer else {})
    coordinates = {c: ("presentation", presentations[c].to_numpy()) for c in presentations}
    coordinates |= {c: ("neuroid", world.neuroids[c].to_numpy()) for c in world.neuroids}
    coordinates |= {"time_bin_start": ("time_bin", np.array([70])), "time_bin_end": ("time_bin", np.array([170]))}
    coordinates = {
        name: (dim, values.astype(object) if values.dtype.kind not in "iuf" else values)
        for name, (dim, values) in coordinates.items()
    }
    return xr.Dataset({VARIABLE: (("neuroid", "presentation", "time_bin"), world.trials.T[:, :, None])}, coordinates)


def write_table(path: Path, world: Miniature, newer: bool = False) -> None:
    """Write the table of images, with the older or newer names of its columns."""
    names = {"image_id": "stimulus_id", "image_file_name": "filename"} if newer else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    world.stimuli.rename(columns=names).to_csv(path, index=False)


def write_brain_score(folder: Path, world: Miniature, newer: bool = False) -> Path:
    """Write Brain-Score's three files; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    assembly(world, newer).to_netcdf(folder / ASSEMBLY)
    write_table(folder / "stimulus_hvm-public.csv", world, newer)
    with zipfile.ZipFile(folder / "stimulus_hvm-public.zip", "w") as archive:
        for name, content in world.images.items():
            archive.writestr(f"stimulus_hvm-public/{name}" if newer else name, content)
    return folder


def write_ids(folder: Path, world: Miniature, demo: bool = True, protocol: int = 3) -> dict[str, list[str]]:
    """Write the pickled lists of ids (NumPy object arrays); return what is in them."""
    ids = list(world.stimuli["image_id"])
    lists = {"majaj_train_ids": ids[0::2] + ids[1::4], "majaj_test_ids": ids[3::4]}
    if demo:
        lists |= {
            "majaj_train_ids_demo": lists["majaj_train_ids"][:14],
            "majaj_test_ids_demo": lists["majaj_test_ids"][:6],
        }
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in lists.items():
        (folder / name).write_bytes(pickle.dumps(np.array(values, dtype=object), protocol=protocol))
    return lists


def write_paper(folder: Path, world: Miniature, ids: bool = True) -> Path:
    """Write the download of Kazemian et al. into ``folder/majajhong``; return ``folder``."""
    place = folder / "majajhong"
    (place / "image_dicarlo_hvm-public").mkdir(parents=True, exist_ok=True)
    for subject in ("Tito", "Chabo"):
        for region in ("V4", "IT"):
            data = assembly(world).isel(neuroid=world.rows(subject, region))
            data = data.drop_vars([c for c in data.coords if c != "image_id"]).groupby("image_id").mean()
            data = data.rename({"image_id": "stimulus_id", VARIABLE: "x"}).transpose(
                "stimulus_id", "neuroid", "time_bin"
            )
            data.to_netcdf(place / f"SUBJECT_{subject}_REGION_{region}")
    for name, content in world.images.items():
        (place / "image_dicarlo_hvm-public" / name).write_bytes(content)
    write_table(place / "image_dicarlo_hvm-public.csv", world)
    if ids:
        write_ids(place, world)
    return folder


N_FULL = (
    64,
    10,
    40,
    28,
    51,
)  # objects; images of each at variation 0 and 3; repetitions of those: 148 480 presentations


def full_size_presentations(size: tuple[int, int, int, int, int] = N_FULL) -> Iterator[tuple[str, str, int, int]]:
    """Yield (stimulus_id, object, variation, repetition) of every presentation of the public recording's size."""
    objects, plain, varied, few, many = size
    for o in range(objects):
        for k in range(plain + varied):
            stimulus_id = hashlib.sha1(f"{o}/{k}".encode()).hexdigest()
            for repetition in range(few if k < plain else many):
                yield stimulus_id, f"object{o}", 0 if k < plain else 3, repetition


def write_full_size(
    path: Path,
    dtype: str = "f4",
    n_neuroids: int = 256,
    size: tuple[int, int, int, int, int] = N_FULL,
    signal: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write an assembly of the public one's size (256 neuroids x 148 480 presentations), block by block.

    Trials are noise of deviation 1, about the ``signal`` (n_neuroids,) of each stimulus_id where there is one.
    """
    shown = list(full_size_presentations(size))
    random = np.random.Generator(np.random.Philox(3))
    shown = [shown[i] for i in np.argsort(random.random(len(shown)))]
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in (("neuroid", n_neuroids), ("presentation", len(shown)), ("time_bin", 1)):
            file.createDimension(dim, size)
        for column, name in enumerate(("image_id", "object_name")):
            file.createVariable(name, str, ("presentation",))[:] = np.array([p[column] for p in shown], dtype=object)
        for column, name in ((2, "variation"), (3, "repetition")):
            file.createVariable(name, "i8", ("presentation",))[:] = np.array([p[column] for p in shown])
        # As in the public recording, animals and regions take turns along the axis in long runs.
        sites = [("Chabo", "IT")] * 84 + [("Chabo", "V4")] * 44 + [("Tito", "IT")] * 84 + [("Tito", "V4")] * 44
        texts = {
            "neuroid_id": [f"{a}_L_M_{i}" for i, (a, _) in enumerate(sites)],
            "animal": [a for a, _ in sites],
            "region": [r for _, r in sites],
        }
        for name, values in texts.items():
            file.createVariable(name, str, ("neuroid",))[:] = np.array(values[:n_neuroids], dtype=object)
        variable = file.createVariable(VARIABLE, dtype, ("neuroid", "presentation", "time_bin"))
        variable.coordinates = "image_id object_name variation repetition neuroid_id animal region"
        for first in range(0, n_neuroids, 16):
            last = min(n_neuroids, first + 16)
            trials = random.standard_normal((last - first, len(shown), 1), dtype=np.float32)
            if signal is not None:
                trials += np.array([signal[p[0]][first:last] for p in shown], dtype=np.float32).T[:, :, None]
            variable[first:last] = trials


def write_noise_images(path: Path, names: list[str], side: int = 256) -> None:
    """Write an archive of grey PNG images that hardly shrink (about 40 kB each)."""
    random = np.random.Generator(np.random.Philox(5))
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            pixels = random.integers(0, 32, (side, side), dtype=np.uint8) * 8
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, format="PNG", compress_level=1)
            archive.writestr(name, out.getvalue())
