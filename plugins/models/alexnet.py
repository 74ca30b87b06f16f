"""AlexNet, trained on ImageNet and untrained."""

from __future__ import annotations

from pathlib import Path

from benchmark_core.hookspecs import hookimpl
from benchmark_core.identifiers import Parameter
from benchmark_core.specs import ModelSpec
from plugins.models._weights_files import WEIGHTS, find_weights, torch_cache

FILE = "alexnet-owt-7be5be79.pth"
SOURCE = f"https://download.pytorch.org/models/{FILE}"
LAYERS = tuple(f"features.{index}" for index in (2, 5, 7, 9, 12))
REFERENCE = "Krizhevsky (2014), https://arxiv.org/abs/1404.5997"


def weights_file(*, weights: str | None) -> Path:
    """Return the path of the trained weights: the file named, or torchvision's."""
    return find_weights("alexnet-trained", weights, SOURCE, FILE, [torch_cache(FILE)])


@hookimpl
def register_models() -> list[ModelSpec]:
    """Offer AlexNet with the five layers that Kazemian et al. read."""
    return [
        ModelSpec(
            name="alexnet-trained",
            version=1,
            load="plugins.models._alexnet_network:trained",
            layers=LAYERS,
            parameters=(WEIGHTS,),
            weights=weights_file,
            trained=True,
            description="AlexNet trained on ImageNet (torchvision); features 2, 5, 7, 9 and 12",
            reference=REFERENCE,
        ),
        ModelSpec(
            name="alexnet-untrained",
            version=1,
            load="plugins.models._alexnet_network:untrained",
            layers=LAYERS,
            parameters=(Parameter("seed", "int", 0, minimum=0, maximum=10**15, help="seed of the random weights"),),
            weights="philox-1",
            description="AlexNet (torchvision), untrained; features 2, 5, 7, 9 and 12",
            reference=REFERENCE,
        ),
    ]
