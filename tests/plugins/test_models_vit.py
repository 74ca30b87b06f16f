"""Vision transformers; outputs of the custom one are compared with published ones in test_models_golden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark_core.errors import InputError
from benchmark_core.resolution import import_target
from benchmark_core.torch_models import HookedModel
from plugins.models import _vision_transformer_networks
from plugins.models._vision_transformer_networks import CustomViT, initial_weights
from plugins.models.vision_transformer import ARCHITECTURE, REPOSITORY, register_models

SPECS = {spec.name: spec for spec in register_models()}


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_vision_transformer_networks, "BLOCKS_READ", 1)


@pytest.mark.usefixtures("one_block")
def test_custom_models_of_all_widths_share_their_blocks_and_first_units() -> None:
    before = torch.get_rng_state()
    narrow, wide = CustomViT(D=12), CustomViT(D=24)
    assert torch.equal(torch.get_rng_state(), before)
    for (name, a), b in zip(narrow.trunk.state_dict().items(), wide.trunk.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(narrow.dense.weight, wide.dense.weight[:12])
    with torch.inference_mode():
        few, many = narrow(images()), wide(images())
    assert few.shape == (2, 196, 12)
    torch.testing.assert_close(few, many[:, :, :12], rtol=1e-4, atol=1e-5)
    # With one block only the patches themselves and the layer 768 -> D follow: features are those of the tokens.
    tokens = HookedModel(wide).features(images(), ["trunk.blocks.0"])["trunk.blocks.0"].reshape(2, 197, 768)[:, 1:]
    expected = tokens.double() @ wide.dense.weight.double().T + wide.dense.bias.double()
    torch.testing.assert_close(many.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("one_block")
def test_custom_model_starts_from_torchs_defaults_and_zero_embeddings() -> None:
    state = CustomViT(D=12, seed=3).state_dict()
    assert not state["trunk.cls_token"].any()
    assert not state["trunk.pos_embed"].any()
    for name, tensor in state.items():
        values = tensor.numpy()
        if "norm" in name:
            assert (values == name.endswith("weight")).all()
        elif "embed.proj" in name or "blocks" in name:
            fan_in = 3072 if "fc2" in name else 768
            assert np.abs(values).max() == pytest.approx(fan_in**-0.5, rel=0.01), name
            assert values.std() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1), name
    other = CustomViT(D=12, seed=4).state_dict()["trunk.patch_embed.proj.weight"]
    assert not torch.equal(state["trunk.patch_embed.proj.weight"], other)


@pytest.mark.parametrize("width", [0, -12, 1, 50])
def test_width_must_be_divisible_by_the_heads(width: int) -> None:
    with pytest.raises(InputError, match=f"D={width} is not allowed; D must be a multiple of 12"):
        CustomViT(D=width)


def test_untrained_weights_are_distributed_like_timms() -> None:
    """Deviation, mean and extremes of every tensor of a small transformer, against timm's own initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = VisionTransformer(embed_dim=192, num_heads=3, depth=1)
    ours = initial_weights(theirs, seed=0)
    expected = theirs.state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in expected.items()}
    for name, tensor in expected.items():
        a, b = ours[name].double().numpy(), tensor.double().numpy()
        scale = b.std() if b.std() else 1e-9
        assert a.mean() == pytest.approx(b.mean(), abs=8 * scale / a.size**0.5), name
        assert a.std() == pytest.approx(b.std(), rel=8 / a.size**0.5, abs=1e-12), name
        assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.25), name
    assert not torch.equal(initial_weights(theirs, seed=1)["pos_embed"], ours["pos_embed"])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with timm's names and shapes, small because most tensors repeat one number."""
    with torch.device("meta"):
        expected = timm.create_model(ARCHITECTURE).state_dict()
    generator = torch.Generator().manual_seed(5)
    stored = {
        name: torch.randn(t.shape[-1:], generator=generator).mul(0.05).expand(t.shape) for name, t in expected.items()
    }
    path = tmp_path_factory.mktemp("weights") / "vit.pth"
    torch.save(stored, path)
    return path


def test_trained_model_reads_a_file(weights: Path) -> None:
    spec = SPECS["vit-trained"]
    assert callable(spec.weights)
    assert spec.weights(weights=str(weights)) == weights
    network = import_target(spec.load)(weights=str(weights))
    stored = torch.load(weights, weights_only=True)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in network.state_dict().items())
    assert not network.training
    assert not any(p.requires_grad or p.is_meta for p in network.parameters())
    with torch.inference_mode():
        features = HookedModel(network).features(images(1), ["blocks.0"])["blocks.0"]
    assert features.shape == (1, 197 * 768)  # with the class token
    HookedModel(network).check_layers([f"blocks.{i}" for i in range(12)])


def test_weights_are_those_that_timm_would_take() -> None:
    published = timm.models.get_pretrained_cfg(ARCHITECTURE)
    assert published is not None
    assert published.hf_hub_id == REPOSITORY
