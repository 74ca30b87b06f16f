"""A made-up MajajHong scored by ``bench run`` on a device, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpu_timing import row
from synthetic_majajhong import N_IMAGES, by_part, imported

BENCHMARKS = "majajhong.*-ownsplit"


def majajhong(
    device: str, precision: str, folder: Path, model: str = "expansion5l:filters=30000", n_images: int = N_IMAGES
) -> list[dict[str, Any]]:
    """Bring the recording in and score both regions from nothing; return a row for each part, and one for all."""
    place = imported(folder, n_images)
    results, profile = place.profiled_run(
        "--model", model, "--benchmark", BENCHMARKS, "--device", device, "--precision", precision
    )
    assert [(result["status"], result["n_neuroids"]) for result in results] == [("ok", 168), ("ok", 88)]
    size = f"{n_images} images, 256 neuroids, 46 trials"
    parts = {name: part["wall_s"] for name, part in by_part(profile).items()}
    return [
        row(f"{model}, {precision}, both regions, cold: {name}", size, taken, device, profiled=True)
        for name, taken in (*parts.items(), ("all of it", profile["total"]["wall_s"]))
    ]
