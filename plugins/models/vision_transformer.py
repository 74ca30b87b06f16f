"""Vision transformers: ViT-B/16, trained and untrained, and the custom one of Kazemian, Elmoznino and Bonner."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import ModelSpec, Width
from plugins.models._weights_files import Published, trained

ARCHITECTURE = "vit_base_patch16_224"
REPOSITORY = f"timm/{ARCHITECTURE}.augreg2_in21k_ft_in1k"
OWN = f"{ARCHITECTURE}.augreg2_in21k_ft_in1k.safetensors"
PUBLISHED = Published(names=(OWN, f"timm/{OWN}"), repository=REPOSITORY, files=("model.safetensors",))
TOKEN_WIDTH = 768
PATCHES = 196
EMBEDDING = 2.0 * PATCHES * TOKEN_WIDTH * 768
BLOCK = 2.0 * (12 * TOKEN_WIDTH**2 * (PATCHES + 1) + 2 * TOKEN_WIDTH * (PATCHES + 1) ** 2)
"""Operations of the patch embedding and of one block, for one image."""
BLOCKS = tuple(f"blocks.{number}" for number in range(12))
REFERENCE = "Dosovitskiy et al. (2021), https://arxiv.org/abs/2010.11929; Steiner et al. (2022), https://arxiv.org/abs/2106.10270"
SEED = Parameter("seed", "int", 0, minimum=0, maximum=10**15, help="seed of the random weights")


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer the three vision transformers of Kazemian et al."""
    return [
        ModelSpec(
            name="vit-custom",
            version=1,
            load="plugins.models._vision_transformer_networks:custom",
            layers=("dense",),
            parameters=(
                Parameter("D", "int", 60, minimum=12, multiple_of=12, help="width of the dense layer; 196 D features"),
                SEED,
            ),
            weights="philox-1",
            width=Width(
                parameter="D",
                layer="dense",
                wide="plugins.models._vision_transformer_networks:custom",
                is_wide=lambda D, seed: D > TOKEN_WIDTH,
                side_by_side=False,  # published order: patch by patch
            ),
            flops=lambda D, seed: EMBEDDING + 11 * BLOCK + 2.0 * PATCHES * TOKEN_WIDTH * D,
            description="untrained: 11 blocks of ViT-B/16, then a dense layer 768 -> D for each of 196 patches",
            reference="Kazemian, Elmoznino and Bonner; code: https://doi.org/10.5281/zenodo.16920087",
        ),
        ModelSpec(
            name="vit-trained",
            version=1,
            load="plugins.models._vision_transformer_networks:trained",
            layers=BLOCKS,
            flops=lambda **_: EMBEDDING + 12 * BLOCK,
            description="ViT-B/16 trained on ImageNet (timm); its twelve blocks, class token kept",
            reference=REFERENCE,
            **trained("vit-trained", PUBLISHED),
        ),
        ModelSpec(
            name="vit-untrained",
            version=1,
            load="plugins.models._vision_transformer_networks:untrained",
            layers=BLOCKS,
            flops=lambda **_: EMBEDDING + 12 * BLOCK,
            parameters=(SEED,),
            weights="philox-1",
            description="ViT-B/16 (timm), untrained; its twelve blocks, class token kept",
            reference=REFERENCE,
        ),
    ]
