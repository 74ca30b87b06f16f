"""Vision transformers: timm's ViT-B/16, trained or untrained, and the custom one of Kazemian et al."""

from __future__ import annotations

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from benchmark_core.errors import InputError
from plugins.models._default_weights import default_weights, normal_tensor
from plugins.models._trained_weights import load_trained
from plugins.models._weights_files import find_weights
from plugins.models.vision_transformer import ARCHITECTURE, PUBLISHED, TOKEN_WIDTH

BLOCKS_READ = 11
HEADS = 12


class CustomViT(nn.Module):
    """The untrained transformer of Kazemian et al.: 11 blocks of ViT-B/16, then a dense layer 768 -> D.

    Patches of 16 x 16 pixels, 12 heads, MLPs four times as wide, GELU, layer normalisation with eps 1e-6; class token
    and position embedding are zero. Convolution and dense layers have torch's default initialisation, drawn unit by
    unit, so that models of all D with one seed share their blocks. The features are the dense layer's output for the
    196 patches, without the class token. (The published code builds a 12th block of width D that it never reads.)

    Parameters
    ----------
    D
        Width of the dense layer, a multiple of 12; there are 196 D features.
    seed
        Seed of the weights, from 0 to 2**64 - 1.

    Raises
    ------
    InputError
        If D is not a positive multiple of 12.

    References
    ----------
    Kazemian, Elmoznino and Bonner; code: https://doi.org/10.5281/zenodo.16920087
    """

    features_per_unit = 196

    def __init__(self, D: int = 60, seed: int = 0) -> None:
        super().__init__()
        if D < 1 or D % HEADS:
            raise InputError(f"vit-custom: D={D} is not allowed; D must be a multiple of {HEADS} (its number of heads)")
        with torch.device("meta"):  # draws no weights and so leaves the global generator alone
            self.trunk = VisionTransformer(
                embed_dim=TOKEN_WIDTH,
                num_heads=HEADS,
                depth=BLOCKS_READ,
                num_classes=0,
                global_pool="",
                weight_init="skip",
            )
            self.trunk.norm = nn.Identity()
            self.dense = nn.Linear(TOKEN_WIDTH, D)
        embeddings = {
            f"trunk.{name}": torch.zeros(getattr(self.trunk, name).shape) for name in ("cls_token", "pos_embed")
        }
        self.load_state_dict({**default_weights(self, seed), **embeddings}, strict=True, assign=True)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, 224, 224) to (N, 196, D)."""
        features: Tensor = self.dense(self.tokens(images))
        return features

    def tokens(self, images: Tensor) -> Tensor:
        """Return what the dense layer sees, (N, 196, 768), of images (N, 3, 224, 224)."""
        return self.trunk.forward_features(images)[:, 1:]

    def stem(self, images: Tensor) -> Tensor:
        """Return the same flattened, (N, 196 * 768)."""
        return self.tokens(images).flatten(1)

    def head(self, stem: Tensor, first: int, last: int) -> Tensor:
        """Return units ``first`` to ``last`` (exclusive) of the dense layer, unit by unit: (N, (last - first) * 196)."""
        tokens = stem.reshape(len(stem), self.features_per_unit, TOKEN_WIDTH)
        units = functional.linear(tokens, self.dense.weight[first:last], self.dense.bias[first:last])
        return units.transpose(1, 2).flatten(1)


def custom(*, D: int, seed: int) -> CustomViT:
    """Return the model for the parameters of ``vit-custom``."""
    return CustomViT(D, seed)


def trained(*, weights: str | None) -> nn.Module:
    """Return ViT-B/16 with the weights of a file, in evaluation mode, on the CPU.

    Raises
    ------
    MissingDataError
        If the file is not on this machine.
    InputError
        If it cannot be read, or does not fit the architecture.
    """
    return load_trained(_empty(), find_weights("vit-trained", PUBLISHED, weights=weights), "vit-trained")


def untrained(*, seed: int) -> nn.Module:
    """Return ViT-B/16 with weights of timm's initial distributions, in evaluation mode, on the CPU."""
    network = _empty()
    network.load_state_dict(initial_weights(network, seed), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def initial_weights(network: VisionTransformer, seed: int) -> dict[str, Tensor]:
    """Draw weights as timm does: N(0, .02) and biases of zero in dense layers, torch's default for the patches.

    The position embedding is N(0, .02), the class token N(0, 1e-6). (timm cuts its normals off at 100 deviations.)
    """
    assert network.pos_embed is not None
    tokens, width = network.pos_embed.shape[1:]
    drawn = normal_tensor(tokens + 1, width, 1.0, seed=seed, layer=0)
    return default_weights(network, seed, dense_std=0.02) | {
        "pos_embed": drawn[None, :tokens] * 0.02,
        "cls_token": drawn[None, tokens:] * 1e-6,
    }


def _empty() -> VisionTransformer:
    with torch.device("meta"):
        network = timm.create_model(ARCHITECTURE, pretrained=False)
    assert isinstance(network, VisionTransformer)
    return network
