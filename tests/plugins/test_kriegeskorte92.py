"""Import of the 92 object images and their RDMs: small made-up MATLAB files, then the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from benchmark_core import InputError, MissingDataError, RDMs, dataset_checks, datasets
from plugins.benchmarks._kriegeskorte92_import import import_folder
from plugins.benchmarks.kriegeskorte92 import BRAIN_FILE, DATASET, STIMULI_FILE, register_benchmarks

N = 92
SUBJECTS = ("BE", "KO")


def rdm(seed: int) -> np.ndarray:
    return squareform(pdist(np.random.Generator(np.random.Philox(seed)).normal(size=(N, 8)), "correlation"))


def struct(entries: list[dict[str, Any]], shape: tuple[int, ...]) -> np.ndarray:
    """Return a struct array as MATLAB writes it."""
    array = np.empty(len(entries), dtype=[(name, object) for name in entries[0]])
    for i, entry in enumerate(entries):
        for name, value in entry.items():
            array[i][name] = value
    return array.reshape(shape)


def pixels(i: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(900 + i)).integers(0, 256, (10, 12, 3), dtype=np.uint8)


def supplement() -> dict[str, Any]:
    stimuli = [
        {"category": f"kind {i % 3}", "human": i % 2, "face": 0, "animal": 1, "natural": 1, "image": pixels(i)}
        for i in range(N)
    ]
    figure = [
        {"name": "mIT_674neurons", "color": np.zeros(3), "RDM": squareform(rdm(0))[None]},
        {"name": "hITvisStim_316vx", "color": np.zeros(3), "RDM": squareform(rdm(1))[None]},
    ]
    return {"stimuli_92objs": struct(stimuli, (1, N)), "RDMs_mIT_hIT_fig1": struct(figure, (1, 2))}


def brains() -> dict[str, Any]:
    entries = [
        {"RDM": rdm(10 + 2 * s + k).astype(np.float32), "name": f"hIT | {subject} | Session: {k + 1}", "color": 0}
        for s, subject in enumerate(SUBJECTS)
        for k in range(2)
    ]
    return {"RDMs": struct(entries, (1, 2, 2))}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("92imageData")
    savemat(folder / STIMULI_FILE, supplement())
    savemat(folder / BRAIN_FILE, brains())
    return folder


def target(part: str) -> RDMs:
    found = datasets.load_target(DATASET, part)
    assert isinstance(found, RDMs)
    return found


def test_both_parts_are_imported(home: Path, files: Path) -> None:
    said: list[str] = []
    assert import_folder(files, said.append) == ["mIT", "hIT"]
    monkey, human = target("mIT"), target("hIT")
    assert monkey.stimulus_ids == tuple(f"object{i:02d}" for i in range(1, N + 1))
    assert np.array_equal(monkey.values[0], squareform(squareform(rdm(0))))
    assert human.subjects == ("BE", "BE", "KO", "KO")
    assert human.sessions == ("1", "2", "1", "2")
    for i in range(4):
        assert np.allclose(human.values[i], rdm(10 + i), rtol=0, atol=1e-7), "stored in single precision"
    stimuli = datasets.load_stimuli(DATASET, "mIT")
    for i in (0, 57):
        assert np.array_equal(np.asarray(stimuli.image(i)), pixels(i))
    assert stimuli.metadata["category"][4] == "kind 1"
    assert stimuli.manifest_hash == datasets.load_stimuli(DATASET, "hIT").manifest_hash
    assert dataset_checks.verify(DATASET) == []
    assert sum("is not the published file" in line for line in said) == 2
    assert [s.contents for s in dataset_checks.status(DATASET)] == ["1 RDM of 1 subject", "4 RDMs of 2 subjects"]
    for spec in register_benchmarks():
        assert spec.target_hash is not None
        assert spec.target_hash() == spec.target().hash
        assert (spec.target_kind, spec.metric) == ("rdms", "rsa")
    again: list[str] = []
    import_folder(files, again.append)
    assert sum("already imported" in line for line in again) == 2


def damage(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = {STIMULI_FILE: supplement, BRAIN_FILE: brains}[name]()
        change(content)
        savemat(folder / name, content)

    return spoil


def put(variable: str, position: tuple[int, ...], field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[variable][position][field] = value

    return change


@pytest.mark.parametrize(
    ("error", "words", "spoil"),
    [
        (MissingDataError, f"lacks {BRAIN_FILE}", lambda f: (f / BRAIN_FILE).unlink()),
        (InputError, "cannot be read as a MATLAB file", lambda f: (f / BRAIN_FILE).write_bytes(b"")),
        (InputError, "cannot be read as a MATLAB file", lambda f: (f / BRAIN_FILE).write_bytes(b"text" * 100)),
        (
            InputError,
            "cannot be read as a MATLAB file",
            lambda f: (f / STIMULI_FILE).write_bytes((f / STIMULI_FILE).read_bytes()[:-3000]),
        ),
        (InputError, "no variable 'RDMs'", damage(BRAIN_FILE, lambda c: c.update(Other=c.pop("RDMs")))),
        (InputError, "holds 90 stimuli", damage(STIMULI_FILE, lambda c: cut(c, 90))),
        (InputError, "image 1 is float64", damage(STIMULI_FILE, put("stimuli_92objs", (0, 0), "image", np.ones(3)))),
        (InputError, "no RDM named", damage(STIMULI_FILE, put("RDMs_mIT_hIT_fig1", (0, 0), "name", "other"))),
        (InputError, "'hIT | BE | Session: 1' has shape", damage(BRAIN_FILE, put("RDMs", (0, 0, 0), "RDM", np.eye(5)))),
        (InputError, "expected 'hIT", damage(BRAIN_FILE, put("RDMs", (0, 0, 1), "name", "hIT"))),
        (InputError, "same subject", damage(BRAIN_FILE, put("RDMs", (0, 0, 1), "name", "hIT | BE | Session: 1"))),
        (InputError, "RDM of BE, session 1 is not zero", damage(BRAIN_FILE, put("RDMs", (0, 0, 0), "RDM", 1 + rdm(3)))),
        (InputError, "infinite", damage(BRAIN_FILE, put("RDMs", (0, 1, 1), "RDM", np.where(np.eye(N), 0.0, np.inf)))),
        (InputError, "not numbers", damage(BRAIN_FILE, put("RDMs", (0, 1, 1), "RDM", "text"))),
    ],
)
def test_broken_files(
    home: Path, files: Path, tmp_path: Path, error: type[Exception], words: str, spoil: Callable[[Path], object]
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for name in (STIMULI_FILE, BRAIN_FILE):
        (folder / name).write_bytes((files / name).read_bytes())
    spoil(folder)
    with pytest.raises(error, match=words.replace("|", r"\|")) as caught:
        import_folder(folder, lambda line: None)
    assert "\n" not in str(caught.value)
    assert not (home / "data" / "kriegeskorte92" / "hIT").exists()


def cut(content: dict[str, Any], n: int) -> None:
    content["stimuli_92objs"] = content["stimuli_92objs"][:, :n]


def test_folders(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        import_folder(tmp_path / "nowhere", lambda line: None)
    with pytest.raises(MissingDataError, match=f"lacks {STIMULI_FILE} and {BRAIN_FILE}"):
        import_folder(tmp_path, lambda line: None)


@pytest.mark.real
def test_monkey_and_human_agree_as_published(home: Path, real_data: Path) -> None:
    said: list[str] = []
    import_folder(real_data / "kriegeskorte92", said.append)
    assert not [line for line in said if "not the published" in line]
    monkey, human = target("mIT"), target("hIT")
    assert human.contents == "8 RDMs of 4 subjects"
    upper = np.triu_indices(N, 1)
    rho = spearmanr(monkey.average()[upper], human.average()[upper]).statistic
    assert rho == pytest.approx(0.43892380943522, abs=1e-9)
    assert dataset_checks.verify(DATASET) == []
    stimuli = datasets.load_stimuli(DATASET, "hIT")
    assert stimuli.image(0).size == (175, 175)
    assert len(set(stimuli.sha256)) == N
    assert stimuli.metadata["category"].count("human face") == 12
