"""Fixed filter banks for the first layer of untrained models: 36 filters of 15 x 15 pixels each."""

from __future__ import annotations

import numpy as np

ORIENTATIONS = 12
CURVATURES = 3
WAVELENGTHS = (4.0, 4.0 * 2**0.5, 8.0)
BANDWIDTH = 1.5
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
    x, y = _positions()
    curvature = np.logspace(-2, -0.1, CURVATURES)[:, None, None, None]
    theta = (2 * np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS)[None, :, None, None]
    along = x * np.cos(theta) + y * np.sin(theta)
    across = -x * np.sin(theta) + y * np.cos(theta)
    bent = along + curvature * across**2
    envelope = np.exp(-(frequency**2) / 2 * (bent**2 / sigma_x**2 + across**2 / (sigma_y * size) ** 2))
    filters = envelope * (np.cos(frequency * bent) - np.exp(-sigma_x / 2))
    filters -= filters.mean(axis=(-2, -1), keepdims=True)
    return np.asarray(filters.reshape(CURVATURES * ORIENTATIONS, WIDTH, WIDTH))


def gabor_bank() -> np.ndarray:
    """Return a bank of Gabor filters, the alternative to :func:`curvature_bank` in the expansion model.

    The parameters are ours: the published description says that such a bank exists, not what is in it. Even-symmetric
    filters at 3 wavelengths half an octave apart (4, 5.7 and 8 pixels) by 12 orientations over the half circle, where
    a Gabor repeats. The envelope is round, with a standard deviation that gives a bandwidth of 1.5 octaves (.39
    wavelengths), about the median of simple cells of macaque V1 (De Valois et al., 1982), and that fits the window.
    Every filter has mean zero and unit norm; curvature filters have norms of about one.

    Returns
    -------
    numpy.ndarray
        Shape (36, 15, 15), float64. The wavelength varies slowest, the orientation fastest; axes as in
        :func:`curvature_bank`, so that the first filter varies along its first axis.
    """
    x, y = _positions()
    wavelength = np.array(WAVELENGTHS)[:, None, None, None]
    theta = (np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS)[None, :, None, None]
    octaves = 2.0**BANDWIDTH
    sigma = wavelength / np.pi * np.sqrt(np.log(2) / 2) * (octaves + 1) / (octaves - 1)
    along = x * np.cos(theta) + y * np.sin(theta)
    filters = np.exp(-(x**2 + y**2) / (2 * sigma**2)) * np.cos(2 * np.pi * along / wavelength)
    filters -= filters.mean(axis=(-2, -1), keepdims=True)
    filters /= np.sqrt((filters**2).sum(axis=(-2, -1), keepdims=True))
    return np.asarray(filters.reshape(len(WAVELENGTHS) * ORIENTATIONS, WIDTH, WIDTH))


def _positions() -> tuple[np.ndarray, np.ndarray]:
    """Return x, from -7 to 7 along the first axis, and y, from 7 to -7 along the second."""
    half = WIDTH // 2
    return np.arange(-half, half + 1.0)[:, None], np.arange(half, -half - 1.0, -1.0)[None, :]


BANKS = {"curvature": curvature_bank, "gabor": gabor_bank}
