"""Damaged, hostile and partial sources of MajajHong, full disks and killed imports: one clear line, nothing half-written."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import signal
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from miniatures import majajhong as mini
from miniatures.majajhong_layouts import (  # noqa: F401 (fixtures)
    ASSEMBLY,
    IDS,
    TABLE,
    VARIABLE,
    WORLD,
    ZIP,
    N,
    copies_of_layouts,
    no_waiting_for_the_disk,
    parts,
    rewrite,
    set_value,
    spoil_averages,
    take,
    written_layouts,
)
from PIL import Image

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import BenchError, InputError, MissingDataError
from benchmark_core.keys import file_sha256
from plugins.benchmarks import _majajhong_assembly as assemblies
from plugins.benchmarks.majajhong import DATASET

# What can be wrong with a source. Each case spoils a copy of a layout; the message is one line that names the file.


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def step(source: Path) -> None:
        path = source / name
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    return step


def damage(name: str) -> Callable[[Path], None]:
    """Return a step that overwrites the second half of a file with ones."""

    def step(source: Path) -> None:
        path = source / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))

    return step


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    return lambda source: change(pd.read_csv(source / TABLE, dtype=str)).to_csv(source / TABLE, index=False)


def repack(**changes: bytes | None) -> Callable[[Path], None]:
    """Return a step that packs the archive anew with members replaced (None leaves one out)."""

    def step(source: Path) -> None:
        with zipfile.ZipFile(source / ZIP, "w") as archive:
            for name, content in (WORLD.images | changes).items():
                if content is not None:
                    archive.writestr(name, content)

    return step


def lists(**values: Any) -> Callable[[Path], None]:
    def step(source: Path) -> None:
        for name, value in values.items():
            content = value if isinstance(value, bytes) else pickle.dumps(value)
            (source / "majajhong" / name).write_bytes(content)

    return step


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch was_run",)


def gif() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(np.full((9, 9), v, dtype=np.uint8)) for v in (0, 200)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def silence(data: xr.Dataset) -> xr.Dataset:
    """Leave one neuroid without any response to one stimulus."""
    data[VARIABLE][3, np.flatnonzero(data["image_id"].values == IDS[4]), 0] = np.nan
    return data


def rename_id(data: xr.Dataset) -> xr.Dataset:
    ids = data["image_id"].values.astype(object)
    ids[ids == IDS[4]] = "f" * 40
    return data.assign_coords(image_id=("presentation", ids))


def empty(source: Path) -> None:
    """Write an assembly without any presentation."""
    with netCDF4.Dataset(source / ASSEMBLY, "w") as file:
        file.createDimension("presentation", None)
        file.createDimension("neuroid", 2)
        file.createVariable(VARIABLE, "f4", ("neuroid", "presentation"))


FIRST = WORLD.stimuli["image_file_name"][0]
TITO = "SUBJECT_Tito_REGION_V4"

BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "assembly cut": ("older", cut(ASSEMBLY, 0.6), f"{ASSEMBLY} cannot be read as netCDF .*; get it again"),
    "assembly empty": ("older", lambda s: (s / ASSEMBLY).write_bytes(b""), "cannot be read as netCDF"),
    "assembly is text": ("older", lambda s: (s / ASSEMBLY).write_text("<Error>"), "cannot be read as netCDF"),
    "assembly is a folder": ("older", lambda s: ((s / ASSEMBLY).unlink(), (s / ASSEMBLY).mkdir()), "cannot be read"),
    "no responses": ("older", rewrite(lambda d: d.drop_vars(VARIABLE)), "0 variables with the dims neuroid and"),
    "responses are texts": ("older", rewrite(lambda d: d.astype(str)), "not numbers"),
    "two time bins": ("older", rewrite(lambda d: xr.concat([d, d], "time_bin")), "time_bin 2.*and one time bin"),
    "no ids": ("older", rewrite(lambda d: d.drop_vars("image_id")), "no coordinate 'stimulus_id' or 'image_id'"),
    "no animals": ("older", rewrite(lambda d: d.drop_vars("animal")), "no coordinate 'animal' or 'subject'"),
    "no regions": ("older", rewrite(lambda d: d.drop_vars("region")), "no coordinate 'region'"),
    "region absent": (
        "older",
        rewrite(lambda d: d.isel(neuroid=d.region == "IT")),
        "no neuroids of region 'V4'; .*'IT'",
    ),
    "no presentations": ("older", empty, f"{VARIABLE!r} is empty"),
    "NaN responses": ("older", rewrite(silence), f"neuroid 'Tito_L_P_3_3' has no response to stimulus_id '{IDS[4]}'"),
    "infinite response": (
        "older",
        rewrite(set_value(np.inf)),
        "neuroid 'Tito_L_P_3_3' to stimulus_id '.*' is infinite",
    ),
    "unknown id in the assembly": ("older", rewrite(rename_id), f"{TABLE} does not list stimulus_id 'ffff"),
    "table missing": ("older", lambda s: (s / TABLE).unlink(), r"the table of images \(stimulus_hvm-public.csv or"),
    "table empty": ("older", lambda s: (s / TABLE).write_bytes(b""), f"{TABLE} lists no images"),
    "table without ids": (
        "older",
        table(lambda t: t.drop(columns="image_id")),
        "no column 'stimulus_id' or 'image_id'",
    ),
    "table without files": ("older", table(lambda t: t.drop(columns="image_file_name")), "no column 'filename' or"),
    "table lists one twice": (
        "older",
        table(lambda t: pd.concat([t, t[3:4]])),
        f"line {N + 2}: stimulus_id '.*' is listed twice",
    ),
    "table lacks one": (
        "older",
        table(lambda t: t.drop(index=5)),
        "does not list stimulus_id '.*', which has responses",
    ),
    "table shares a file": ("older", table(lambda t: t.assign(image_file_name=FIRST)), "to two stimuli"),
    "table leaves the folder": (
        "older",
        table(lambda t: t.replace(FIRST, "../x.png")),
        r"line 2: '\.\./x.png' is not a",
    ),
    "table is binary": ("older", lambda s: (s / TABLE).write_bytes(b"\xff\xfe\x00"), "is not UTF-8 text"),
    "table ragged": (
        "older",
        lambda s: (s / TABLE).write_text("image_id,image_file_name\na\n"),
        "line 2: wrong number",
    ),
    "images missing": ("older", lambda s: (s / ZIP).unlink(), "the images .* are missing"),
    "zip cut": ("older", cut(ZIP, 0.7), f"{ZIP} cannot be read as a zip archive"),
    "zip damaged": ("older", damage(ZIP), "cannot be read as a zip archive"),
    "zip lacks an image": (
        "older",
        repack(**{FIRST: None}),
        rf"lacks the image '{FIRST.replace('+', '.')} .stimulus_id",
    ),
    "zip with unsafe name": ("older", repack(**{"../a.png": b"x"}), r"unsafe name '\.\./a.png'"),
    "image cut": ("older", repack(**{FIRST: WORLD.images[FIRST][:200]}), "image object0.* cannot be decoded"),
    "image is text": ("older", repack(**{FIRST: b"text"}), "cannot be decoded .not an image"),
    "image animated": ("older", repack(**{FIRST: gif()}), "has 2 frames; a stimulus is one picture"),
    "averages cut": ("averages", cut(f"majajhong/{TITO}", 0.5), f"{TITO} cannot be read as netCDF"),
    "one animal missing": ("averages", lambda s: (s / "majajhong" / TITO).unlink(), f"{TITO} missing .both animals"),
    "averages named otherwise": (
        "averages",
        rewrite(lambda d: d.rename(x="y"), TITO),
        "has no variable 'x'; it holds 'stim",
    ),
    "averages NaN": ("averages", spoil_averages(lambda x: x.where(x != x[2, 1, 0])), "is nan; averages are finite"),
    "averages twice": (
        "averages",
        rewrite(lambda d: xr.concat([d, d[{"stimulus_id": [0]}]], "stimulus_id"), TITO),
        "more than once",
    ),
    "averages lack one": (
        "averages",
        rewrite(lambda d: d.isel(stimulus_id=slice(1, None)), TITO),
        f"{TITO}: stimulus_id '.*' missing",
    ),
    "averages of trials": ("averages", rewrite(lambda d: d.isel(time_bin=[0, 0]), TITO), "time_bin 2"),
    "test ids missing": ("paper", lambda s: (s / "majajhong" / "majaj_test_ids").unlink(), "majaj_test_ids missing"),
    "ids hostile": ("paper", lists(majaj_train_ids=[Evil()]), "majaj_train_ids asks for posix.system.*nothing was run"),
    "ids are numbers": ("paper", lists(majaj_train_ids=np.arange(9)), "majaj_train_ids holds an array of type 'i8'"),
    "ids cut": ("paper", cut("majajhong/majaj_test_ids", 0.5), "majaj_test_ids cannot be read as a pickle"),
    "ids empty": ("paper", lists(majaj_test_ids=[]), "majaj_test_ids holds no ids"),
    "ids unknown": (
        "paper",
        lists(majaj_test_ids=[*IDS[3:9], "nobody"]),
        "names stimulus_id 'nobody', which no image has",
    ),
    "ids with extensions": (
        "paper",
        lists(majaj_test_ids=[f"{i}.png" for i in IDS]),
        rf"\.png'.* and {N - 3} more, which no image",
    ),
    "ids twice": ("paper", lists(majaj_test_ids=[IDS[3], IDS[3]]), "more than once"),
    "ids on both sides": ("paper", lists(majaj_test_ids=[IDS[0], IDS[3]]), "would be trained on and tested on"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_source_is_one_clear_line_and_leaves_nothing(
    home: Path, copied: Callable[[str], Path], case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layout, spoil, message = BAD[case]
    source = copied(layout)
    spoil(source)
    with pytest.raises(BenchError, match=message) as caught:
        take(source)
    assert caught.value.status in (2, 3)
    assert "\n" not in str(caught.value)
    assert parts(home) == set()
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: None, InputError, "does not exist"),
        (lambda p: p.write_bytes(b""), InputError, "is not a folder"),
        (lambda p: p.mkdir(), MissingDataError, "holds no files of majajhong: expected assy_dicarlo_MajajHong2015"),
        (
            lambda p: mini.write_ids(p, WORLD),
            MissingDataError,
            "holds ids but no responses, and none are on this machine",
        ),
    ],
)
def test_wrong_folder(home: Path, tmp_path: Path, make: Callable[[Path], Any], error: type, words: str) -> None:
    make(tmp_path / "source")
    with pytest.raises(error, match=words):
        take(tmp_path / "source")


def test_damaged_data_block_of_the_assembly(tmp_path: Path) -> None:
    """The header is sound and the damage shows only when the block is read."""
    data = mini.assembly(WORLD)
    path = tmp_path / "a.nc"
    data.to_netcdf(
        path, encoding={VARIABLE: {"zlib": True, "chunksizes": (13, len(WORLD.trials), 1), "fletcher32": True}}
    )
    with netCDF4.Dataset(path) as file:
        assert file[VARIABLE].filters()["fletcher32"]
    content = bytearray(path.read_bytes())
    packed = max(range(0, len(content) - 4096, 512), key=lambda i: len(set(content[i : i + 4096])))
    content[packed + 512 : packed + 1024] = bytes(512)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="cannot be read as netCDF"):
        assemblies.read_trials(path, "IT")


def test_stimuli_without_repetition_in_a_huge_recording(
    layouts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemblies, "LARGEST_TRIALS", 1000)
    with pytest.raises(InputError, match=f"{N} stimuli with up to 5 repetitions are no recording of this kind"):
        assemblies.read_trials(layouts / "older" / ASSEMBLY, "V4")


def test_full_disk_is_found_out_beforehand(home: Path, layouts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20_000))
    with pytest.raises(InputError, match="are needed; free some space"):
        take(layouts / "older")
    assert parts(home) == set()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("NetCDF: HDF error")])
@pytest.mark.parametrize(
    ("free", "words"), [(5_000, "No space left on device.; free some space"), (10**9, "check the disk")]
)
def test_disk_that_fills_up_while_netcdf_is_written(
    home: Path, layouts: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, free: int, words: str
) -> None:
    """On a full disk the library raises one of these two, seen on small file systems in memory."""

    def fail(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
        raise error

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    with pytest.raises(InputError, match=f"cannot write .*{words}"):
        take(layouts / "older")
    assert parts(home) == set()


def test_failed_import_keeps_what_was_there(home: Path, layouts: Path, copied: Callable[[str], Path]) -> None:
    take(layouts / "older")
    old = datasets.target_hash(DATASET, "V4")
    source = copied("newer")
    repack(**{FIRST: b"no image"})(source)
    with pytest.raises(InputError, match="cannot be decoded"):
        take(source)
    assert datasets.target_hash(DATASET, "V4") == old
    assert dataset_checks.verify(DATASET) == []
    assert parts(home) == {"V4", "IT"}


def die_while_importing(source: Path, after: int) -> int:
    """Import in a process that is killed when it hashes a written file after ``after`` others; return its status."""
    child = os.fork()
    if child == 0:
        hashed = []

        def hash_or_die(path: Path) -> str:
            hashed.append(path)
            if len(hashed) > after:
                os.kill(os.getpid(), signal.SIGKILL)
            return file_sha256(path)

        datasets.file_sha256 = hash_or_die
        with suppress(BaseException):
            take(source)
        os._exit(1)
    return os.waitpid(child, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("after", "left"), [(0, set()), (2, {"V4"})])
def test_killed_import_leaves_whole_parts_or_none(home: Path, layouts: Path, after: int, left: set[str]) -> None:
    assert os.WTERMSIG(die_while_importing(layouts / "older", after)) == signal.SIGKILL
    assert {s.part for s in dataset_checks.status(DATASET) if s.present} == left
    assert dataset_checks.verify(DATASET) == []
    take(layouts / "older")
    assert parts(home) == {"V4", "IT"}
    assert dataset_checks.verify(DATASET) == []
