"""Fixed filter banks for the first layer of untrained models."""

from __future__ import annotations

import numpy as np

ORIENTATIONS = 12
CURVATURES = 3
WIDTH = 15


def curvature_bank() -> np.ndarray:
    """Return the curvature filters of Kazemian et al., the fixed first layer of the expansion model.

    Curved Gabor filters (after Krüger and Peters, 1997): 3 curvatures, logarithmically spaced from 10^-2 to 10^-0.1,
    by 12 orientations over the full circle; one size (5) and one frequency (1.2 radians a pixel). Every filter has
    mean zero.

    Returns
    -------
    numpy.ndarray
        Shape (36, 15, 15), float64. The curvature varies slowest, the orientation fastest; x runs along the first
        axis of a filter from -7 to 7, y along the second from 7 to -7.
    """
    size, frequency, sigma_x, sigma_y = 5.0, 1.2, 1.0, 1.0
    half = WIDTH // 2
    x = np.arange(-half, half + 1.0)[:, None]
    y = np.arange(half, -half - 1.0, -1.0)[None, :]
    curvature = np.logspace(-2, -0.1, CURVATURES)[:, None, None, None]
    theta = (2 * np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS)[None, :, None, None]
    along = x * np.cos(theta) + y * np.sin(theta)
    across = -x * np.sin(theta) + y * np.cos(theta)
    bent = along + curvature * across**2
    envelope = np.exp(-(frequency**2) / 2 * (bent**2 / sigma_x**2 + across**2 / (sigma_y * size) ** 2))
    filters = envelope * (np.cos(frequency * bent) - np.exp(-sigma_x / 2))
    filters -= filters.mean(axis=(-2, -1), keepdims=True)
    return np.asarray(filters.reshape(CURVATURES * ORIENTATIONS, WIDTH, WIDTH))
