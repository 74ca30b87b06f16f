"""The very files of docs/plugins.md, on generated images and responses, through the command line."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.cross_decomposition import PLSRegression
from typer.testing import CliRunner

from benchmark_core.cli import command_line
from benchmark_core.contract import CHECKS
from benchmark_core.registry import ENTRY_POINTS
from benchmark_core.splits import KFold
from benchmark_core.stimuli import StimulusSet

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = ("my_plugins/contours.py", "my_plugins/textures.py", "my_plugins/my_pls.py")
SURFACES = ("bark", "brick", "cloth", "grass", "gravel", "sand", "water", "wood")
N_REPETITIONS, N_NEUROIDS = 6, 7
SIZE = 64


def block(mark: str) -> str:
    """Return the code block that follows ``<!-- test: mark -->``."""
    found = re.search(rf"<!-- test: {re.escape(mark)} -->\n```\w+\n(.*?)```", GUIDE, re.DOTALL)
    assert found, f"docs/plugins.md has no block marked {mark!r}"
    return found.group(1)


def bench(*arguments: str, status: int = 0) -> str:
    """Run a command in this process and return what it writes to stdout."""
    result = CliRunner().invoke(command_line(), arguments)
    assert result.exit_code == status, result.output
    return result.stdout


def scores(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
    """Return the results of ``bench run``."""
    shown = bench("run", "--plugins", "my_plugins", "--device", "cpu", *arguments, "--json", status=status)
    results: list[dict[str, Any]] = json.loads(shown)["results"]
    return results


def write_world(folder: Path) -> None:
    """Write the guide's plugin files and the data they describe.

    An image is band-passed noise along one direction; a neuroid's rate is the contrast energy of one direction in one
    half of the image. Rows of the array are in no order of ids.
    """
    random = np.random.default_rng(0)
    images = folder / "my_plugins" / "textures" / "images"
    images.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(block(name), encoding="utf-8")
    ids, rates = [], []
    frequencies = np.fft.fftfreq(SIZE)
    angle = np.arctan2(frequencies[:, None], frequencies[None, :])
    radius = np.hypot(frequencies[:, None], frequencies[None, :])
    for surface in SURFACES:
        for number in range(8):
            direction, contrast = random.uniform(0, np.pi), random.uniform(10, 50)
            band = np.exp(-(((radius - 0.15) / 0.05) ** 2) + 4 * np.cos(2 * (angle - direction)))
            noise = np.fft.ifft2(np.fft.fft2(random.normal(size=(SIZE, SIZE))) * band).real
            pixels = np.clip(128 + contrast * noise / noise.std(), 0, 255).astype(np.uint8)
            ids.append(f"{surface}_{number:02d}")
            Image.fromarray(pixels).convert("RGB").save(images / f"{ids[-1]}.png")
            grey = pixels / 255
            tilted = [grey[2:, 2:] - grey[:-2, :-2], grey[2:, :-2] - grey[:-2, 2:]]
            slopes = [np.diff(grey, axis=1), np.diff(grey, axis=0), *tilted]
            energies = [half.std() for slope in slopes for half in np.array_split(slope, 2, axis=1)]
            rates.append(energies[:N_NEUROIDS])
    rate = np.array(rates) / np.std(rates, axis=0)
    values = rate[:, None, :] + 0.7 * random.normal(size=(len(ids), N_REPETITIONS, N_NEUROIDS))
    values[3, 4:] = np.nan  # fewer presentations of one stimulus
    order = random.permutation(len(ids))
    np.save(folder / "my_plugins" / "textures" / "responses.npy", values[order])
    (folder / "my_plugins" / "textures" / "stimulus_ids.txt").write_text("\n".join(ids[i] for i in order))
    network = runpy.run_path(str(folder / FILES[0]))["load"](filters=16, seed=5)
    save_file(network.state_dict(), folder / "my_plugins" / "contours.safetensors")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make the folder that the guide speaks of the current one, with a home of its own, for all tests here."""
    folder = tmp_path_factory.mktemp("guide")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        patch.delenv("BENCH_PLUGINS", raising=False)
        patch.chdir(folder)
        write_world(folder)
        yield folder


def test_the_commands_of_the_guide_run(world: Path) -> None:
    shown = []
    for line in block("run").strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "bench"
        shown.append(bench(*arguments))
    for name in ("contours", "contours-wide", "contours-trained", "textures.V4", "textures.V4-fixed", "my-pls"):
        assert re.search(rf"^{re.escape(name)} ", shown[0], re.MULTILINE), name
    assert len(re.findall(r"^textures\.V4", shown[3], re.MULTILINE)) == 2  # a table for each metric
    assert len(re.findall(r"^contours +-?\d\.\d{3} ", shown[3], re.MULTILINE)) == 2
    for name in ("contours", "contours-trained", "contours-wide", "contours:filters=8", "pixels"):
        assert re.search(rf"^ *{re.escape(name)} +-?\d\.\d{{3}}", shown[4], re.MULTILINE), shown[4]


@pytest.fixture
def path_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put Python's path back after commands that add a package's folder to it."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_new_package_works_at_once(world: Path, path_as_it_was: None) -> None:
    shown = []
    for line in block("new").strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "bench"
        shown.append(bench(*arguments))
    made, checked, ran = shown
    assert "my-model/pyproject.toml" in made
    assert "my-model-wide (model)" in checked
    assert not re.search(r"^\S+ +(fail|missing) ", checked, re.MULTILINE)
    assert re.search(r"^textures\.V4 ", ran, re.MULTILINE)
    score = re.search(r"^my-model +(\d\.\d{3}) ", ran, re.MULTILINE)
    assert score
    assert float(score.group(1)) > 0.3


def test_the_plugins_of_the_guide_pass_the_contract(world: Path) -> None:
    whole, some, benchmarks = (bench(*shlex.split(line)[1:]) for line in block("check").strip().splitlines())
    headings = re.findall(r"^(\S+) \((?:model|benchmark|metric)\)$", whole + some, re.MULTILINE)
    expected = ["contours", "contours-wide", "contours-trained", "textures.V4", "textures.V4-fixed", "my-pls"]
    assert sorted(headings) == sorted([*expected, "contours:filters=8,seed=3", "my-pls:n_components=2"])
    assert "fail" not in re.findall(r"^\S+ +(pass|fail|skip|missing)\b", whole + some, re.MULTILINE)
    document = json.loads(benchmarks)
    assert document["counts"] == {"pass": 2 * len(CHECKS["benchmark"])}


def test_every_check_is_in_the_guide(world: Path) -> None:
    table = {
        name for row in re.findall(r"^\| (`[^|]*) \|", GUIDE, re.MULTILINE) for name in re.findall("`([^`]+)`", row)
    }
    for kind, checks in CHECKS.items():
        assert set(checks) <= table, kind


def test_identifiers_listed_for_pytest_become_tests(world: Path) -> None:
    class Outcomes(dict[str, str]):
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == "call":
                self[report.nodeid] = report.outcome

    (world / "pyproject.toml").write_text(block("pytest"), encoding="utf-8")
    (world / "tests").mkdir()
    outcomes = Outcomes()
    where = ("--rootdir", str(world), "-c", str(world / "pyproject.toml"), "-p", "no:cacheprovider")
    assert pytest.main([*where, "-q"], plugins=[outcomes]) == 0
    assert outcomes["pyproject.toml::my-pls::truth"] == "passed"
    subjects = {name.split("::")[1] for name in outcomes}
    assert subjects == {"contours:filters=8", "textures.V4", "textures.V4-fixed", "my-pls"}
    assert set(outcomes.values()) == {"passed"}


def test_the_benchmark_tells_good_models_from_bad_ones_and_keeps_groups_together(world: Path) -> None:
    contours, pixels = scores("-m", "contours", "-m", "pixels", "-b", "textures.V4")
    assert 0.6 < contours["score"] < 1.1
    assert pixels["score"] < 0.3
    # The trial noise is known: a reliability of 1 / (1 + .49 / 6) for rates of variance 1.
    assert contours["ceiling"] == pytest.approx(1 / (1 + 0.49 / N_REPETITIONS), abs=0.06)
    assert (contours["n_stimuli"], contours["n_neuroids"], sorted(contours["subjects"])) == (64, 7, ["M1", "M2"])
    splits = runpy.run_path(FILES[1])["register_benchmarks"]()[0].splits
    for fold in splits(guide_stimuli()).folds:
        assert not {i.split("_")[0] for i in fold.train} & {i.split("_")[0] for i in fold.test}
    (fixed,) = scores("-m", "contours", "-b", "textures.V4-fixed")
    assert fixed["n_stimuli"] == 24
    assert fixed["ci_low"] < fixed["score"] < fixed["ci_high"]
    assert fixed["warnings"] == contours["warnings"] == []


def guide_stimuli() -> StimulusSet:
    """Return the stimulus set that the guide's benchmark file builds."""
    stimuli: StimulusSet = runpy.run_path(FILES[1])["stimuli"]()
    return stimuli


def test_the_metric_equals_scikit_learn_on_the_features_themselves(world: Path) -> None:
    metric = ("--metric", "my-pls:n_components=3")
    (result,) = scores("-m", "contours", "-b", "textures.V4", "--layer", "output", *metric)
    stimuli = guide_stimuli()
    preprocessing = runpy.run_path(FILES[0])["SMALL"]
    inputs = np.stack([preprocessing(stimuli.image(i)) for i in range(len(stimuli))])
    with torch.inference_mode():
        network = runpy.run_path(FILES[0])["load"](filters=16, seed=0).eval()
        features = network(torch.from_numpy(inputs)).flatten(1).double().numpy()
    assert features.shape == (64, 256) == (len(stimuli), result["n_features"])  # more features than stimuli
    averages = runpy.run_path(FILES[1])["target"]().averages()
    per_fold = []
    for fold in KFold(k=4, seed=0)(stimuli).folds:
        train, test = stimuli.index(fold.train), stimuli.index(fold.test)
        r = []
        for subject in (slice(0, 4), slice(4, 7)):
            model = PLSRegression(3, scale=False).fit(features[train], averages[train, subject])
            predicted = model.predict(features[test])
            r.append([np.corrcoef(p, y)[0, 1] for p, y in zip(predicted.T, averages[test, subject].T, strict=True)])
        per_fold.append([np.mean(of_subject) for of_subject in r])
    assert result["score"] == pytest.approx(np.mean(per_fold), abs=1e-6)
    assert result["score"] > 0.5
    assert result["subjects"]["M2"]["score"] == pytest.approx(np.mean(per_fold, axis=0)[1], abs=1e-6)
    assert (result["n_neuroids"], result["n_neuroids_valid"], result["n_stimuli"]) == (7, 7, 64)


def test_the_metric_chooses_a_layer_and_counts_what_it_cannot_score(world: Path) -> None:
    (auto,) = scores("-m", "contours", "-b", "textures.V4", "--metric", "my-pls:n_components=3")
    used = set(auto.get("layers", [auto["layer"]]))
    assert used <= {"1", "output"}
    path = world / "my_plugins" / "textures" / "responses.npy"
    whole = np.load(path)
    damaged = whole.copy()
    damaged[0, :, 0], damaged[:, :, 5] = np.nan, 1.0  # one neuroid misses a stimulus, one never changes
    try:
        np.save(path, damaged)
        (result,) = scores("-m", "contours", "-b", "textures.V4", "--layer", "output", "--metric", "my-pls")
    finally:
        np.save(path, whole)
    assert (result["n_neuroids"], result["n_neuroids_valid"]) == (7, 5)
    assert result["details"]["r_by_fold"]["M1"][0][0] is None
    assert result["score"] > 0.5


def test_shuffled_responses_score_nothing(world: Path) -> None:
    path = world / "my_plugins" / "textures" / "stimulus_ids.txt"
    text = path.read_text()
    try:
        path.write_text("\n".join(np.random.default_rng(1).permutation(text.split())))
        ridge, pls = (
            scores("-m", "contours", "-b", "textures.V4", "--layer", "output", *metric)[0]
            for metric in ([], ["--metric", "my-pls:n_components=2"])
        )
    finally:
        path.write_text(text)
    assert abs(ridge["score"]) < 0.1
    assert abs(pls["score"]) < 0.2


def test_widths_share_one_pass_and_change_no_score(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow, wide = "contours:filters=8,seed=2", "contours:filters=32,seed=2"
    options = ("-b", "textures.V4", "--layer", "output", "--records", str(tmp_path / "records"), "--force")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "together"))
    together = scores("-m", narrow, "-m", wide, *options)
    assert [r["n_features"] for r in together] == [8 * 16, 32 * 16]
    assert together[1]["model"] == "contours-wide:seed=2"
    records = [json.loads((tmp_path / "records" / f"{r['key']}.json").read_text()) for r in together]
    layers = [r["provenance"]["representations"][0]["layers"]["output"] for r in records]
    assert layers[0]["extraction_seconds"] == layers[1]["extraction_seconds"]  # of one and the same pass
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "alone"))
    (alone,) = scores("-m", narrow, *options)
    assert alone["score"] == pytest.approx(together[0]["score"], abs=1e-6)


def test_weights_that_are_absent_are_missing_data(world: Path) -> None:
    weights = world / "my_plugins" / "contours.safetensors"
    content = weights.read_bytes()
    try:
        weights.unlink()
        (result,) = scores("-m", "contours-trained", "-b", "textures.V4-fixed", status=3)
    finally:
        weights.write_bytes(content)
    assert result["status"] == "missing-data"
    assert "contours.safetensors" in result["error"]


def test_what_is_broken_or_claimed_twice_costs_nothing_else(world: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package_here\n")
    twin = block(FILES[2]).replace("compute=compute", 'compute="vision_lab:compute"')
    (tmp_path / "twin.py").write_text(twin)
    hook = 'from benchmark_core import hookimpl\n@hookimpl\ndef register_models():\n    raise ValueError("no")\n'
    (tmp_path / "half.py").write_text(block(FILES[2]).replace('"my-pls"', '"half"') + hook)
    folders = ("--plugins", "my_plugins", "--plugins", str(tmp_path))
    listed = json.loads(bench("list", *folders, "--json"))
    metrics = [m["name"] for m in listed["metrics"]]
    assert "half" in metrics
    assert "my-pls" not in metrics
    assert {"contours", "contours-trained"} <= {m["name"] for m in listed["models"]}
    for words in ("no_such_package", "claimed 2 times", "(ValueError: no)"):
        assert sum(words in problem for problem in listed["problems"]) == 1, words
    failed = CliRunner().invoke(
        command_line(), ["run", *folders, "-m", "contours", "-b", "textures.V4", "--metric", "my-pls"]
    )
    assert failed.exit_code == 2
    assert "my_pls.py:" in failed.output
    assert "twin.py:" in failed.output


def test_an_installed_package_offers_its_plugins(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tomllib.loads(block("pyproject.toml"))["project"]["entry-points"]
    assert list(group) == [ENTRY_POINTS]
    ((name, module),) = group[ENTRY_POINTS].items()
    package, _, file = module.partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    text = block(FILES[0]).replace("load=load,", f'load="{package}.networks:load",')
    (tmp_path / package / f"{file}.py").write_text(text)
    (tmp_path / package / "networks.py").write_text(block(FILES[0]))
    metadata = tmp_path / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert json.loads(bench("info", "contours", "--json"))["version"] == "1"
        assert f"{package}.networks" not in sys.modules  # imported when it is needed
    finally:
        for loaded in [m for m in sys.modules if m.partition(".")[0] == package]:
            del sys.modules[loaded]


def test_the_version_of_a_drop_in_file_has_its_hash(world: Path) -> None:
    version = json.loads(bench("info", "contours", "--plugins", "my_plugins", "--json"))["version"]
    assert re.fullmatch(r"1\+[0-9a-f]{12}", version)
