"""What ``bench info`` prints of parameters, on a terminal of any width."""

from __future__ import annotations

import pytest

from benchmark_core.listing import print_information

MEANING = "dissimilarity of responses; some are cross-validated over repetitions, and those need single trials"
DOCUMENT = {
    "name": "rsa",
    "kind": "metric",
    "version": 1,
    "parameters": [{"name": "target_distance", "value": "same", "allowed": f"one of {'a, ' * 30}z", "help": MEANING}],
    "origin": "here",
    "example": "bench run",
}


@pytest.mark.parametrize(("terminal", "columns"), [(True, 80), (True, 400), (False, 80)])
def test_meanings_of_parameters_are_never_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool, columns: int
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_information(DOCUMENT)
    text = capsys.readouterr().out
    assert MEANING in " ".join(text.split())
    if terminal:
        assert max(map(len, text.splitlines())) <= columns
