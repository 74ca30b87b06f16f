"""Shuffled pixels: the published variant for its input size, one permutation, keys of their own and no other key moved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import make_toy_world

from benchmark_core.errors import InputError
from benchmark_core.preprocessing import Preprocessing, ShuffledPixels
from benchmark_core.registry import Registry
from benchmark_core.specs import BenchmarkSpec
from benchmark_core.splits import KFold
from benchmark_core.stimuli import StimulusSet
from benchmark_core.variants import demonstration, with_shuffled_pixels


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (90, 70)) -> Image.Image:
    pixels = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def stimuli(tmp_path: Path) -> StimulusSet:
    files = {}
    for i, mode in enumerate(("RGB", "L", "RGB")):
        files[f"s{i}"] = tmp_path / f"{i}.png"
        picture(i, mode).save(files[f"s{i}"])
    return StimulusSet.from_files(files, metadata={"object": dict.fromkeys(files, "face")})


def test_published_order_resized_shuffled_normalised() -> None:
    """For a 224-pixel input it equals permuting the positions of the input itself, in every channel."""
    shuffle, prepare = ShuffledPixels(), Preprocessing()
    order = shuffle.permutation()
    for image in (picture(1), picture(2, "L"), picture(3, size=(224, 224)), picture(4, size=(300, 260))):
        plain = prepare(image).reshape(3, -1)
        assert np.array_equal(prepare(shuffle(image)).reshape(3, -1), plain[:, order])


def test_permutation_is_fixed() -> None:
    order = ShuffledPixels().permutation()
    assert sorted(order.tolist()) == list(range(224 * 224))
    assert order[:4].tolist() == [47848, 34552, 24994, 32827], "a change moves the keys of every shuffled benchmark"
    assert np.array_equal(order, ShuffledPixels().permutation())
    assert not np.array_equal(order, ShuffledPixels(seed=1).permutation())
    # No spatial structure is left: neighbours come from anywhere.
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02


def test_grey_levels_stay_and_structure_goes() -> None:
    ramp = Image.fromarray(np.tile(np.arange(224, dtype=np.uint8), (224, 1)))
    shuffled = np.asarray(ShuffledPixels()(ramp))
    assert np.array_equal(np.bincount(shuffled[..., 0].ravel()), np.full(224, 224))
    assert abs(np.corrcoef(shuffled[:, :-1, 0].ravel(), shuffled[:, 1:, 0].ravel())[0, 1]) < 0.02


def test_derived_set_has_a_hash_of_its_own_and_the_original_keeps_its(stimuli: StimulusSet) -> None:
    from benchmark_core.keys import digest

    shuffled = stimuli.with_shuffled_pixels()
    pairs = [list(pair) for pair in zip(stimuli.stimulus_ids, stimuli.sha256, strict=True)]
    assert stimuli.manifest_hash == digest({"stimuli": pairs}), "as it has always been"
    hashes = {s.manifest_hash for s in (stimuli, shuffled, stimuli.with_shuffled_pixels(seed=1))}
    assert len(hashes) == 3
    assert shuffled.stimulus_ids == stimuli.stimulus_ids
    assert shuffled.metadata == stimuli.metadata
    part = shuffled.subset(["s2", "s0"])
    assert part.manifest_hash == stimuli.subset(["s0", "s2"]).with_shuffled_pixels().manifest_hash
    for i in range(3):
        assert stimuli.image(i).size == (90, 70)
        assert np.array_equal(np.asarray(shuffled.image(i)), np.asarray(ShuffledPixels()(stimuli.image(i))))


def test_image_without_a_range_names_the_stimulus(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(tmp_path / "a.tiff")
    stimuli = StimulusSet.from_files({"a": tmp_path / "a.tiff"}).with_shuffled_pixels()
    with pytest.raises(InputError, match="stimulus_id 'a': images of mode 'F' have no agreed range"):
        stimuli.image(0)


def test_any_benchmark_can_offer_it(stimuli: StimulusSet) -> None:
    plain = BenchmarkSpec(
        name="toy.V4-200", version=3, stimuli=lambda: stimuli, target=lambda: None, splits=KFold(), description="toys"
    )
    shuffled = with_shuffled_pixels(plain)
    assert (shuffled.name, shuffled.version) == ("toy.V4-200-shuffled", 3)
    assert shuffled.description == "toys; pixels shuffled"
    assert shuffled.splits is plain.splits
    assert shuffled.target is plain.target
    assert shuffled.stimuli().manifest_hash == stimuli.with_shuffled_pixels().manifest_hash
    assert plain.stimuli().manifest_hash == stimuli.manifest_hash


def test_light_to_import() -> None:
    code = "import sys, benchmark_core.variants; assert not {'numpy', 'PIL', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_demonstration_takes_evenly_spaced_stimuli_with_their_responses(tmp_path: Path, home: Path) -> None:
    benchmark = Registry([make_toy_world(tmp_path / "toys")]).benchmark("toy.V4")
    demo = demonstration(benchmark, 16)
    ids = demo.stimuli().stimulus_ids
    assert demo.name == "toy.V4-demo"
    assert len(ids) == 16
    positions = benchmark.stimuli().index(ids)
    assert positions[0] == 0
    assert set(np.diff(positions)) == {2, 3}
    assert demo.target().stimulus_ids == ids
    assert demo.target().hash == benchmark.target().at(ids).hash != benchmark.target().hash
