"""Plugins with one flaw each fail just the check that is about it."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark_core.contract import run_checks
from benchmark_core.contract_guards import changed, generator_states
from benchmark_core.registry import Registry

FLAWED = Path(__file__).parent / "flawed"

MODELS = {
    "none": {},
    "draws-from-numpy": {"global-rng": "load uses the global generator of numpy.random"},
    "default-weights": {"global-rng": "depends on the global generator of torch"},
    "seeds-torch": {"global-rng": "load seeds the global generator of torch"},
    "draws-in-forward": {"global-rng": "forward uses the global generator of torch"},
    "draws-from-the-system": {"determinism": "a second load gives other features"},
    "reads-the-batch": {"batch": "change with the batch's size"},
    "reads-its-place": {"batch": "change with the batch's size", "order": "change with the place in the batch"},
    "counts-calls": {"determinism": "a second forward pass gives other features"},
    "not-a-number": {"finite": "not finite"},
    "wrong-batch": {"shapes": "has shape (6, 4) for a batch of 2"},
    "asks-the-network": {"network": "192.0.2.1:80"},
    "needs-the-network": {"network": "192.0.2.1:80"},
    "raises": {"load": "RuntimeError: no such colour space"},
    "unreached": {"layers": "layer 'side' was never reached in forward"},
    "unknown-layer": {"layers": "no layer 'dence'. Did you mean dense"},
    "returns-text": {"load": "load() returned str"},
    "silent": {"spec": "no description"},
    "trained": {"spec": "weights is a text"},
    "eager": {"import": "imports numpy"},
    "width": {},
    "width:scaled=true": {"width": "units=3 are not the first of those with units=6"},
}
METRICS = {
    "none": {},
    "draws-from-numpy": {"global-rng": "numpy.random"},
    "draws-from-the-system": {"determinism": "another value"},
    "scales-its-input": {"inputs": "changes what it is given"},
    "no-number": {"score": "the score is None", "gaps": "leaves no score at all"},
    "too-large": {"score": "expected a share or correlation"},
    "outside-its-interval": {"score": "does not hold the score"},
    "fits-on-everything": {"truth": "something fitted or chosen on test stimuli"},
    "spoilt-by-a-gap": {"gaps": "leaves no score at all"},
    "drops-neuroids": {"gaps": "n_neuroids is 6, not all 8"},
    "says-no-counts": {"score": "fields has no n_stimuli", "gaps": "n_neuroids is None"},
    "returns-a-number": {"compute": "compute returned float, not Score"},
    "asks-the-network": {"network": "localhost:80"},
    "knows-no-groups": {"compute": "declare groups=None"},
    "accepts": {"spec": "accepts 'movies'"},
}
BENCHMARKS = {
    "none": {},
    "averages": {},
    "other-bytes": {"images": "has changed since it was imported"},
    "other-ids": {"ids": "stimulus_id 's03' missing"},
    "new-every-time": {"hash": "another hash every time"},
    "draws-from-numpy": {"global-rng": "numpy.random"},
    "nothing-repeated": {"reliability": "nothing is repeated"},
    "subject-not-shown": {"splits": "no neuroid of B has a response"},
    "divides-groups": {"splits": "on the group 'g3'"},
    "unknown-ids": {"splits": "stimulus_id 's90', 's91', 's92' not in the stimulus set"},
    "unknown-subject": {"splits": "the subject 'C'"},
    "unseeded": {"splits": "two calls of splits give different folds"},
    "silent": {"spec": "no description"},
    "kind": {"spec": "accepts responses, not labels", "data": "target_kind says labels"},
    "metric": {"spec": "unknown metric 'no-such-metric'"},
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    """Return the flawed plugins and the built-in ones, and write the images of the flawed benchmarks."""
    folder = tmp_path_factory.mktemp("images")
    for i in range(24):
        Image.fromarray(np.full((9, 8), 10 * i, dtype=np.uint8)).save(folder / f"s{i:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAWED_IMAGES", str(folder))
        yield Registry([FLAWED], installed=False)


def only(results, expected) -> None:
    """Check that just the expected checks fail, for the expected reasons."""
    failed = {name: result.reason for name, result in results.items() if result.status == "fail"}
    assert set(failed) == set(expected), failed
    for name, words in expected.items():
        assert words in failed[name]


@pytest.mark.parametrize("flaw", MODELS)
def test_models(check, registry, flaw) -> None:
    before = generator_states()
    results = check(registry, "model", f"flaw-{flaw}")
    only(results, MODELS[flaw])
    assert changed(before, generator_states()) == []
    if flaw == "none":
        assert {r.status for r in results.values()} == {"pass", "skip"}
        assert [name for name, r in results.items() if r.status == "skip"] == ["width"]
        assert results["shapes"].measured["n_features"] == {"dense": 12, "output": 12}
        cost = results["cost"].measured
        assert cost["weights_bytes"] == 64 * 12 * 4
        assert cost["batch_seconds"] > 0
    if flaw == "needs-the-network":
        assert results["load"].status == results["shapes"].status == "skip"
        assert "refused connection to 192.0.2.1:80" in results["load"].reason


@pytest.mark.parametrize("flaw", METRICS)
def test_metrics(check, registry, flaw) -> None:
    results = check(registry, "metric", f"flaw-{flaw}")
    only(results, METRICS[flaw])
    if flaw == "none":
        assert {r.status for r in results.values()} == {"pass"}
        assert 0.8 < results["score"].measured["score"] < 1
        assert results["gaps"].measured == {"n_neuroids_valid": 6}


@pytest.mark.parametrize("flaw", BENCHMARKS)
def test_benchmarks(check, registry, flaw) -> None:
    results = check(registry, "benchmark", f"flawed.V4-{flaw}")
    only(results, BENCHMARKS[flaw])
    if flaw == "none":
        assert {r.status for r in results.values()} == {"pass"}
        assert results["splits"].measured == {"folds": 4, "tested": 24, "used": 24}
        # A variance of 1, and of .25 / 3 in the mean of three trials; 24 stimuli are few.
        assert results["reliability"].measured["reliability"]["A"] == pytest.approx(1 / (1 + 0.25 / 3), abs=0.1)
    if flaw == "averages":
        assert (results["reliability"].status, results["cost"].status) == ("skip", "pass")


def test_what_is_missing_is_missing_and_no_failure(check, registry) -> None:
    model = check(registry, "model", "flaw-absent")
    assert "/nowhere/weights.pth" in model["load"].reason
    benchmark = check(registry, "benchmark", "flawed.V4-absent")
    assert "/nowhere" in benchmark["data"].reason
    for results, passed in ((model, {"spec", "import", "network"}), (benchmark, {"spec", "import", "network"})):
        assert {name for name, r in results.items() if r.status == "pass"} == passed
        assert {r.status for r in results.values()} <= {"pass", "missing", "skip"}


def test_the_network_is_back_afterwards(registry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        results = list(run_checks(registry, "model", "flaw-asks-the-network"))
        assert results[-2].check == "network"
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_changes_of_generators_are_seen() -> None:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        before = generator_states()
        assert changed(before, generator_states()) == []
        random.random()
        assert changed(before, generator_states()) == ["random"]
        np.random.random()  # noqa: NPY002
        torch.rand(1)
        assert changed(before, generator_states()) == ["random", "numpy.random", "torch"]
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def test_importing_scikit_learn_is_not_taken_for_drawing_numbers() -> None:
    """In a process of its own, where nobody imported it before."""
    code = (
        "from benchmark_core.contract_guards import changed, generator_states\n"
        "import random\n"
        "before = generator_states()\n"
        "import sklearn.preprocessing\n"
        "print(changed(before, generator_states()))\n"
        "random.random()\n"
        "print(changed(before, generator_states()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "['random']"]
