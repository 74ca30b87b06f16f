"""A model whose plugin imports numpy at once."""

import numpy as np

from benchmark_core import ModelSpec, Preprocessing, hookimpl


def load():
    """Return a network."""
    import torch

    return torch.nn.Flatten()


@hookimpl
def register_models():
    """Offer it."""
    mean = (float(np.float64(0.0)),)
    small = Preprocessing(size=(8, 8), colour="grey", mean=mean, std=(1.0,))
    return [ModelSpec(name="flaw-eager", version=1, load=load, preprocessing=small, description="imports numpy")]
