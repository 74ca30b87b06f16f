"""The simulated benchmark: real photographs, units that do what they claim, spikes whose truth is known."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import signal, stats

from benchmark_core import dataset_checks, datasets
from benchmark_core.errors import InputError, MissingDataError
from benchmark_core.splits import KFold
from benchmark_core.stimuli import StimulusSet
from plugins.benchmarks import _simulated_build as building
from plugins.benchmarks import _simulated_crops as crops
from plugins.benchmarks import _simulated_population as population
from plugins.benchmarks import simulated

# Pinned: the same on every platform. A change here means raising the benchmark's version.
STIMULI_HASH = "20fe06b4c24424407ba4f3f6cf4360e540ab1fc49f070e051457e8fcc835ef84"
TARGET_HASH = "38964699f3bf887290bc8cbb90af887d39f4fb8570be1c03e5c251e0000b1b81"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the dataset once; return its BENCH_HOME."""
    home = tmp_path_factory.mktemp("simulated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(home))
        assert building.build(lambda line: None) == ["V4"]
    return home


@pytest.fixture
def here(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(built))
    return built


def test_benchmark_is_marked_and_whole(here: Path) -> None:
    benchmark = simulated.register_benchmarks()[0]
    stimuli, responses = benchmark.stimuli(), benchmark.target()
    assert benchmark.simulated
    assert all(dataset.simulated for dataset in benchmark.needs)
    assert datasets.read_manifest(simulated.DATASET, "V4")["simulated"] is True
    assert len(stimuli) == 370
    assert responses.values.shape == (370, 10, 60)
    assert stimuli.stimulus_ids == responses.stimulus_ids
    assert dataset_checks.verify(simulated.DATASET) == []
    assert stimuli.manifest_hash == STIMULI_HASH
    assert responses.hash == benchmark.target_hash() == TARGET_HASH


def test_keys_need_neither_numpy_nor_netcdf(here: Path) -> None:
    code = (
        "import sys\n"
        "from plugins.benchmarks import simulated\n"
        "b, _ = simulated.register_benchmarks()\n"
        "print(b.stimuli().manifest_hash, b.target_hash(), b.splits(b.stimuli()).hash)\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'PIL', 'skimage', 'sklearn', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split()[:2] == [STIMULI_HASH, TARGET_HASH]


def test_crops_do_not_overlap_and_are_not_flat(here: Path) -> None:
    stimuli = simulated.stimuli()
    assert stimuli.groups is not None
    place = {}
    for i, group in enumerate(stimuli.groups):
        place.setdefault(group, []).append((int(stimuli.metadata["top"][i]), int(stimuli.metadata["left"][i])))
        pixels = np.asarray(stimuli.image(i))
        assert pixels.shape == (96, 96, 3)
        assert np.asarray(Image.fromarray(pixels).convert("L"), dtype=float).std() > 7.9
    assert len(place) == 16
    for corners in place.values():
        assert 9 <= len(corners) <= 36
        for n, (top, left) in enumerate(corners):
            assert all(abs(top - t) >= 96 or abs(left - x) >= 96 for t, x in corners[:n])


def test_crops_are_pieces_of_the_photographs(here: Path) -> None:
    """Checked against scikit-image's own loaders."""
    stimuli = simulated.stimuli()
    photographs = {
        "astronaut": skimage.data.astronaut(),
        "coins": np.stack([skimage.data.coins()] * 3, axis=-1),
        "cat": skimage.data.chelsea(),
    }
    seen = 0
    for i, stimulus_id in enumerate(stimuli.stimulus_ids):
        photograph = photographs.get(stimuli.metadata["group"][i])
        if photograph is not None:
            top, left = (int(stimuli.metadata[side][i]) for side in ("top", "left"))
            assert np.array_equal(np.asarray(stimuli.image(i)), photograph[top : top + 96, left : left + 96])
            assert stimulus_id == f"{stimuli.metadata['group'][i]}-{top:04d}-{left:04d}"
            seen += 1
    assert seen == 25 + 12 + 12


def test_flat_crops_are_left_out_and_the_rest_capped() -> None:
    random = np.random.Generator(np.random.Philox(0))
    photograph = random.integers(0, 256, (96 * 8 + 10, 96 * 8 + 7, 3), dtype=np.uint8)
    photograph[5 : 5 + 192, 3 : 3 + 96] = 128
    found = crops.crops_of("x", photograph)
    assert len(found) == crops.MOST == 36
    assert all(crop.top % 96 == 5 and crop.left % 96 == 3 for crop in found)
    assert not {(5, 3), (101, 3)} & {(crop.top, crop.left) for crop in found}
    assert crops.crops_of("x", np.full((200, 200, 3), 7, dtype=np.uint8)) == []
    assert len(crops.crops_of("x", photograph[: 96 * 2, : 96 * 3])) == 6


def test_folds_keep_photographs_together_and_are_balanced(here: Path) -> None:
    benchmark = simulated.register_benchmarks()[0]
    stimuli = benchmark.stimuli()
    group = dict(zip(stimuli.stimulus_ids, stimuli.groups or (), strict=True))
    folds = benchmark.splits(stimuli).folds
    for fold in folds:
        assert not {group[i] for i in fold.train} & {group[i] for i in fold.test}
        assert len({group[i] for i in fold.test}) >= 3
        assert 60 <= len(fold.test) <= 90
    assert benchmark.splits == KFold(k=5, seed=0)


@pytest.mark.parametrize("problem", ["changed", "gone"])
def test_photograph_that_is_not_the_expected_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    path, sha256 = crops.PHOTOGRAPHS["cat"]
    if problem == "changed":
        monkeypatch.setitem(crops.PHOTOGRAPHS, "cat", (path, sha256[::-1]))
        with pytest.raises(InputError, match=r"chelsea\.png is not the photograph"):
            crops.read_photograph("cat")
    else:
        monkeypatch.setitem(crops.PHOTOGRAPHS, "cat", ("skimage/data/no_cat.png", sha256))
        with pytest.raises(MissingDataError, match=r"needs the photograph .*no_cat\.png"):
            crops.read_photograph("cat")
        monkeypatch.setitem(crops.PHOTOGRAPHS, "cat", ("no_such_package/cat.png", sha256))
        with pytest.raises(MissingDataError, match="no_such_package, which is not installed"):
            crops.read_photograph("cat")


def test_energies_are_those_of_convolution_with_gabors() -> None:
    """Against spatial convolution with a cosine and a sine Gabor written out from the textbook."""
    size = 64
    image = np.random.Generator(np.random.Philox(1)).random((size, size))
    image -= image.mean()
    filters = population.gabor_filters(size, size)
    energies = population.gabor_energies(image, filters)
    y, x = np.meshgrid(np.arange(-32, 33), np.arange(-32, 33), indexing="ij")
    for channel in (1, 11, 20):
        wavelength = population.WAVELENGTHS[channel // 8]
        theta = np.pi * (channel % 8) / 8
        spread = wavelength / (2 * np.pi * 0.3)
        envelope = np.exp(-(x**2 + y**2) / (2 * spread**2)) / (2 * np.pi * spread**2)
        phase = 2 * np.pi * (x * np.cos(theta) + y * np.sin(theta)) / wavelength
        tiled = np.tile(image, (3, 3))
        pair = [
            signal.fftconvolve(tiled, envelope * wave(phase), mode="same")[size : 2 * size, size : 2 * size]
            for wave in (np.cos, np.sin)
        ]
        expected = (pair[0] ** 2 + pair[1] ** 2)[::2, ::2]
        assert np.corrcoef(energies[channel].ravel(), expected.ravel())[0, 1] > 0.999
        assert energies[channel].mean() == pytest.approx(expected.mean(), rel=0.02)


def grating(wavelength: float, theta: float, phase: float, size: int = 96) -> np.ndarray:
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    wave = np.cos(2 * np.pi * (x * np.cos(theta) + y * np.sin(theta)) / wavelength + phase)
    return np.asarray(127.5 + 60 * wave)


def test_channels_prefer_their_grating_whatever_its_phase() -> None:
    theta = np.pi / 4  # orientation 2
    images = np.stack([grating(9.0, theta, phase) for phase in np.linspace(0, 2 * np.pi, 6)])
    pooled = population.pooled_energies(images)[:, :, 3, 3]
    preferred = 2 * population.N_ORIENTATIONS + 2
    assert (pooled.argmax(axis=1) == preferred).all()
    assert np.ptp(pooled[:, preferred]) < 0.01 * pooled[:, preferred].mean(), "complex cells do not care about phase"
    orthogonal = 2 * population.N_ORIENTATIONS + 6
    assert (pooled[:, orthogonal] < 1e-3 * pooled[:, preferred]).all()


def test_normalisation_makes_contrast_saturate() -> None:
    full = grating(9.0, 0.0, 0.0) - 127.5
    images = np.stack([127.5 + c * full for c in (0.01, 0.02, 0.5, 1.0)])
    pooled = population.pooled_energies(images)[:, 16, 3, 3]
    assert pooled[1] / pooled[0] > 3, "energy grows with the square of a low contrast"
    assert pooled[3] / pooled[2] < 1.2, "and hardly with a high one"


@pytest.mark.parametrize("rate", [0.02, 0.7, 5.0, 40.0])
def test_spikes_are_poisson(rate: float) -> None:
    counts = population.poisson_counts(np.full((40, 5), rate), 100, seed=3).ravel()
    top = int(stats.poisson.ppf(0.999, rate)) + 1
    edges = [k for k in range(top + 1) if stats.poisson.pmf(k, rate) * counts.size > 20]
    observed = [np.sum(counts == k) for k in edges]
    expected = [stats.poisson.pmf(k, rate) * counts.size for k in edges]
    observed.append(counts.size - sum(observed))
    expected.append(counts.size - sum(expected))
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert (counts == np.round(counts)).all()


def test_spikes_hang_on_their_own_rate_alone() -> None:
    rates = np.random.Generator(np.random.Philox(2)).gamma(2.0, 2.0, (30, 8))
    counts = population.poisson_counts(rates, 10, seed=1)
    changed = rates.copy()
    changed[4, 5] *= 3
    again = population.poisson_counts(changed, 10, seed=1)
    differs = (counts != again).any(axis=1)
    assert differs[4, 5]
    assert differs.sum() == 1
    assert not np.array_equal(counts, population.poisson_counts(rates, 10, seed=2))
    assert (population.poisson_counts(np.zeros((2, 2)), 3, seed=1) == 0).all()


def test_true_reliability_is_what_the_estimator_estimates() -> None:
    """1 - mean over stimuli of (s^2 / n) / variance of the means, over many draws of the same population."""
    rates = np.random.Generator(np.random.Philox(4)).gamma(4.0, 0.7, (120, 6)) * np.linspace(0.2, 2, 6)
    truth = population.true_reliability(rates, 10)
    noise, total = [], []
    for seed in range(150):
        spikes = population.poisson_counts(rates, 10, seed)
        noise.append((spikes.var(axis=1, ddof=1) / 10).mean(axis=0))
        total.append(spikes.mean(axis=1).var(axis=0, ddof=1))
    np.testing.assert_allclose(1 - np.mean(noise, axis=0) / np.mean(total, axis=0), truth, atol=0.01)
    assert truth[0] < 0.7 < truth[-1]
    # An independent reading: the squared correlation of a perfect model with the measured means.
    spikes = np.stack([population.poisson_counts(rates, 10, seed).mean(axis=1) for seed in range(150)])
    squared = [[np.corrcoef(rates[:, u], draw[:, u])[0, 1] ** 2 for u in range(6)] for draw in spikes]
    np.testing.assert_allclose(np.mean(squared, axis=0), truth, atol=0.02)
    assert np.isnan(population.true_reliability(np.zeros((5, 1)))).all()


def test_population_resembles_a_recording(here: Path) -> None:
    rates = simulated.true_rates()
    responses = simulated.target()
    assert tuple(rates["stimulus_id"].values) == responses.stimulus_ids
    values = rates.values
    assert np.array_equal(values, np.round(values, population.DECIMALS))
    assert values.min() > 0
    assert values.mean(axis=0).min() > 0.7
    assert values.mean(axis=0).max() < 9
    truth = population.true_reliability(values)
    assert truth.min() < 0.5
    assert truth.max() > 0.9
    spikes = responses.values
    estimate = 1 - (spikes.var(axis=1, ddof=1) / 10).mean(axis=0) / spikes.mean(axis=1).var(axis=0, ddof=1)
    assert np.median(estimate) == pytest.approx(np.median(truth), abs=0.02)
    assert np.corrcoef(values.ravel(), spikes.mean(axis=1).ravel())[0, 1] > 0.95


def grouped_r(stimuli: StimulusSet, features: np.ndarray) -> float:
    """Mean over units and folds of the correlation of a ridge prediction with averages, at a fixed relative penalty."""
    averages = simulated.target().at(stimuli.stimulus_ids).averages()
    r = []
    for fold in KFold(5)(stimuli).folds:
        train, test = stimuli.index(fold.train), stimuli.index(fold.test)
        x = features - features[train].mean(axis=0)
        kernel = x @ x[train].T
        penalty = 0.1 * np.trace(kernel[train]) / len(train)
        centred = averages[train] - averages[train].mean(axis=0)
        prediction = kernel[test] @ np.linalg.solve(kernel[train] + penalty * np.eye(len(train)), centred)
        r.append([np.corrcoef(prediction[:, u], averages[test][:, u])[0, 1] for u in range(averages.shape[1])])
    return float(np.mean(r))


def test_pixels_explain_little_and_complex_cells_much(here: Path) -> None:
    everything = simulated.stimuli()
    stimuli = everything.subset(everything.stimulus_ids[::2])
    images = [stimuli.image(i) for i in range(len(stimuli))]
    pixels = np.stack([np.asarray(image.convert("L").resize((56, 56)), dtype=float).ravel() for image in images])
    assert grouped_r(stimuli, pixels) < 0.15
    grey = np.stack([crops.luma(np.asarray(image)) for image in images])
    energies = np.sqrt(population.pooled_energies(grey)).reshape(len(grey), -1)
    assert 0.45 < grouped_r(stimuli, energies) < 0.9, "a linear map of the first stages does well, but not perfectly"


def test_units_have_streams_of_their_own() -> None:
    pooled = np.random.Generator(np.random.Philox(6)).random((30, population.N_CHANNELS, 7, 7))
    few, many = population.true_rates(pooled, n_units=5), population.true_rates(pooled, n_units=9)
    assert np.array_equal(few, many[:, :5])
    assert not np.array_equal(few, population.true_rates(pooled, seed=1, n_units=5))


def test_fetch_builds_and_is_idempotent(here: Path) -> None:
    manifest = here / "data" / "simulated" / "V4" / "manifest.json"
    before, said = manifest.stat().st_mtime_ns, []
    assert building.build(said.append) == ["V4"]
    assert said == ["simulated/V4: already there"]
    assert manifest.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="no address"):
        building.build(said.append, "http://127.0.0.1/")


def small_write() -> None:
    """Stand in for the real thing: a tiny part, slowly."""
    time.sleep(0.3)
    datasets.write_part(
        simulated.DATASET,
        "V4",
        building.Part(
            images={i: (f"{i}.bmp", crops.Crop("x", 0, 0, np.full((96, 96, 3), 9, np.uint8)).encode()) for i in "abc"},
            responses=building.Responses(tuple("abc"), np.ones((3, 2, 1)), ("n",), ("s",)),
        ),
    )


def test_two_at_once_build_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(building, "_write", lambda: (written.append(1), small_write()))
    hashes = []
    threads = [threading.Thread(target=lambda: hashes.append(simulated.target_hash())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    assert len(set(hashes)) == 1
    assert len(hashes) == 3


def test_damaged_part_is_named_and_rebuilt_on_request(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_write", small_write)
    simulated.stimuli()
    (home / "data" / "simulated" / "V4" / "stimuli.csv").write_text("nonsense")
    with pytest.raises(InputError, match="get it again with `bench data fetch simulated`"):
        simulated.stimuli()
    building.build(lambda line: None)
    assert len(simulated.stimuli()) == 3


def test_unwritable_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set BENCH_HOME") as caught:
        simulated.stimuli()
    assert "\n" not in str(caught.value)


def test_photographs_are_in_order() -> None:
    assert all(a < b for a, b in pairwise(crops.PHOTOGRAPHS))
