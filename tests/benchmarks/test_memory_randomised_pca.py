"""Memory and time of principal components at the size of Places: 73 000 stimuli, half of them to train on.

Each case runs in a process of its own, whose peak resident set is reported as ``peak_gb`` beside the time. A kernel
would take 43 GB, all features of the wide case 2.4 GB more for every 8192.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

CODE = """
import json, resource, sys, time
import numpy as np
from benchmark_core.randomised_pca import components_from_spool

n, n_features, n_components, n_passes = map(int, sys.argv[1:])


class Noise:
    def n_features(self, layer):
        return n_features

    def blocks(self, layer):
        block = np.empty((n, 4096), dtype=np.float32)
        for first in range(0, n_features, 4096):
            np.random.Generator(np.random.Philox(first)).standard_normal(out=block, dtype=np.float32)
            yield first, block[:, : n_features - first]


ids = [f"{i:06d}" for i in range(n)]
started = time.perf_counter()
found = components_from_spool(Noise(), "layer", ids, ids[: n // 2], n_components, n_passes=n_passes)
assert found.features.shape == (n, n_components)
seconds = time.perf_counter() - started
print(json.dumps({"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "seconds": seconds}))
"""


@pytest.mark.parametrize(
    ("n_features", "n_components", "n_passes"),
    [(8192, 100, 4), (16_384, 100, 4), (4096, 1000, 2)],
    ids=["8192-k100", "16384-k100", "4096-k1000"],
)
def test_components_of_places(benchmark: Any, n_features: int, n_components: int, n_passes: int) -> None:
    command = [sys.executable, "-c", CODE, *map(str, (73_000, n_features, n_components, n_passes))]
    done = benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True, text=True), rounds=1)
    benchmark.extra_info |= json.loads(done.stdout)
