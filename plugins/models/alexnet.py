"""AlexNet, trained on ImageNet and untrained."""

from __future__ import annotations

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import ModelSpec
from plugins.models._weights_files import Published, trained

FILE = "alexnet-owt-7be5be79.pth"
SOURCE = f"https://download.pytorch.org/models/{FILE}"
PUBLISHED = Published(names=(FILE, f"torchvision/{FILE}"), url=SOURCE)
LAYERS = tuple(f"features.{index}" for index in (2, 5, 7, 9, 12))
FLOPS = 1.31e9
"""Operations of the convolutions for one image."""
REFERENCE = "Krizhevsky (2014), https://arxiv.org/abs/1404.5997"


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer AlexNet with the five layers that Kazemian et al. read."""
    return [
        ModelSpec(
            name="alexnet-trained",
            version=1,
            load="plugins.models._alexnet_network:trained",
            layers=LAYERS,
            flops=lambda **_: FLOPS,
            description="AlexNet trained on ImageNet (torchvision); features 2, 5, 7, 9 and 12",
            reference=REFERENCE,
            **trained("alexnet-trained", PUBLISHED),
        ),
        ModelSpec(
            name="alexnet-untrained",
            version=1,
            load="plugins.models._alexnet_network:untrained",
            layers=LAYERS,
            flops=lambda **_: FLOPS,
            parameters=(Parameter("seed", "int", 0, minimum=0, maximum=10**15, help="seed of the random weights"),),
            weights="philox-1",
            description="AlexNet (torchvision), untrained; features 2, 5, 7, 9 and 12",
            reference=REFERENCE,
        ),
    ]
