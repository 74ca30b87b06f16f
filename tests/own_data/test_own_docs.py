"""The commands of docs/data.md, section "Your own recordings", on a small laboratory."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from lab import IDS, TRIALS, Lab, write_wide
from said import Bench

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_commands_of_the_section_run(
    lab: Lab, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = DOCUMENT.partition("\n## Your own recordings\n")[2].partition("\n## ")[0]
    found = re.search(r"<!-- test: run -->\n```sh\n(.*?)```", section, re.DOTALL)
    assert found
    monkeypatch.chdir(tmp_path)
    shutil.copytree(lab.images, "images")
    write_wide(Path("v4.csv"))
    np.save("m2.npy", TRIALS[4:] + 1)
    Path("shown_to_m2.txt").write_text("".join(f"{i}\n" for i in IDS[4:]))
    before = {p: p.read_bytes() for p in Path("images").iterdir()}
    out = []
    for line in found[1].strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "bench"
        done = bench(*arguments)
        assert done.status == 0, (line, done)
        out.append(done.out)
    checked, dry, added, extended, checked_again, ran, removed = out
    assert checked.startswith("V4\n")
    assert "nothing was written (--dry-run)" in dry
    assert "my_lab.V4 v1: 24 stimuli, 4 neuroids" in added
    assert "my_lab.V4 v2 (was v1): 24 stimuli, 8 neuroids" in extended
    assert "M1: 4 neuroids, 24 stimuli; M2: 4 neuroids, 20 stimuli" in checked_again
    assert re.search(r"^my_lab\.V4 v2.*\n.*\n-.*\npixels +-?\d\.\d{3} ", ran, re.MULTILINE)
    assert removed == "my_lab: removed\n"
    assert {p: p.read_bytes() for p in Path("images").iterdir()} == before
