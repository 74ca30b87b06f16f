"""ResNet-50 trained without labels by Barlow Twins."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.specs import ModelSpec
from plugins.models._weights_files import Published, trained

SOURCE = "https://dl.fbaipublicfiles.com/barlowtwins/ep1000_bs2048_lrw0.2_lrb0.0048_lambd0.0051/resnet50.pth"
# Not looked for in torch's cache: VICReg's file is called resnet50.pth there as well.
PUBLISHED = Published(names=("resnet50-barlowtwins.pth",), url=SOURCE, in_torch_cache=False)
POOLING = (3, 2, 2, 1)
"""Width and stride of the average pooling of each stage."""


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer the ResNet-50 of Barlow Twins with its four stages, pooled as Kazemian et al. do."""
    return [
        ModelSpec(
            name="resnet50-barlowtwins",
            version=1,
            load="plugins.models._barlow_twins_network:load",
            flops=lambda weights: 8.2e9,
            layers=("layer1", "layer2", "layer3", "layer4"),
            description="ResNet-50 trained by Barlow Twins; stages 1-4, average-pooled by 3, 2, 2 and not at all",
            reference="Zbontar et al. (2021), https://arxiv.org/abs/2103.03230",
            **trained("resnet50-barlowtwins", PUBLISHED),
        )
    ]
