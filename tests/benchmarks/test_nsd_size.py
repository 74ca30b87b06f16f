"""One subject of NSD at its real size, made up: import of 40 sessions, and encoding of 10 000 images x 8000 voxels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from miniatures import nsd_full_size

pytestmark = pytest.mark.slow

# In processes of their own, whose peaks are those of one step each.
REPORT = """
import json, resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_seconds": used.ru_utime + used.ru_stime, "peak_rss_gb": used.ru_maxrss / 1e6}))
"""
SESSION = """
import sys
from pathlib import Path
from plugins.benchmarks import _nsd_release as release
source = Path(sys.argv[1])
voxels = release.read_atlas(source / release.atlas_file("subj01"))
release.standardise(release.read_session(source / release.betas_file("subj01", 1), voxels, 750))
"""
IMPORT = """
import sys
from pathlib import Path
from plugins.benchmarks._nsd_import import import_release
import_release(Path(sys.argv[1]), lambda line: print(line, file=sys.stderr))
"""
KERNEL = """
import sys
from pathlib import Path
import numpy as np
from benchmark_core.arrays import Backend
from benchmark_core.representation import from_spool
from benchmark_core.spool import Spool
from plugins.benchmarks import nsd
folder, n_features = Path(sys.argv[1]), 12288
stimuli = nsd.stimuli(nsd.RELEASE, "subj01")
random = np.random.Generator(np.random.Philox(5))
spool = Spool.create(folder / "spool", len(stimuli), ["layer"], 64, 32)
for chunk in spool.absent():
    values = random.standard_normal((len(spool.rows(chunk)), n_features), dtype=np.float32)
    spool.write(chunk, {"layer": values}, 0.0)
from_spool(spool, "layer", stimuli.stimulus_ids, key="made up", backend=Backend()).save(folder / "kernel", {})
spool.delete()
"""
ENCODING = """
import sys
from pathlib import Path
from benchmark_core.arrays import Backend
from benchmark_core.representation import Representation
from plugins.benchmarks import nsd
from plugins.metrics._encoding import compute
representation, _ = Representation.load(Path(sys.argv[1]) / "kernel", Backend())
target = nsd.responses(nsd.RELEASE, "subj01", "ventral")
assert target.values.shape == (10_000, 8000)
score = compute([{"layer": representation}], target, nsd.splits(nsd.stimuli(nsd.RELEASE, "subj01")))
assert abs(score.fields["r_neuroid"]) < 0.01  # neither features nor responses mean anything
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the release of one subject; later steps build on what the earlier ones leave in it."""
    return nsd_full_size.write(tmp_path_factory.mktemp("full size") / "release").parent


@pytest.mark.parametrize("step", ["session", "import", "kernel", "encoding"])
def test_full_size(benchmark: Any, place: Path, step: str) -> None:
    """Peak memory and processor time of each step in ``extra_info``."""
    code = {"session": SESSION, "import": IMPORT, "kernel": KERNEL, "encoding": ENCODING}[step] + REPORT
    folder = place / "release" if step in ("session", "import") else place
    environment = {**os.environ, "BENCH_HOME": str(place / "home"), "BENCH_CACHE": str(place / "cache")}

    def run() -> None:
        command = [sys.executable, "-c", code, str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        benchmark.extra_info.update(json.loads(done.stdout))

    benchmark.pedantic(run, rounds=1)
    print(step, benchmark.extra_info)
