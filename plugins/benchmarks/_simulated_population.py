"""A simulated population with the hallmarks of V4: complex cells, normalisation, pooling, conjunctions, Poisson spikes.

Rates are exact, so the population's true reliability, and what a perfect model would score, are known.

1. Energy model (Adelson & Bergen 1985): squared outputs of quadrature pairs of Gabor filters, 8 orientations at 4
   wavelengths.
2. Divisive normalisation (Heeger 1992): each energy is divided by a constant plus the energy of all filters around.
3. Pooling: Gaussian windows, 12 pixels apart.
4. Readout: each unit sums a few excitatory and suppressive subunits (an orientation and wavelength at a place), draws a
   little on everything else, and rectifies softly.
5. Rates are scaled to a mean and a modulation of the unit's own and rounded; spikes are counted in 100 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.random import Generator, Philox

SEED = 20230
N_UNITS = 60
N_REPETITIONS = 10
WAVELENGTHS = (4.0, 6.0, 9.0, 14.0)  # pixels
N_ORIENTATIONS = 8
N_CHANNELS = len(WAVELENGTHS) * N_ORIENTATIONS
PAD = 16  # pixels mirrored at each border
STEP = 2  # pixels between the places where energies are taken
SPACING = 12  # pixels between pooling windows
POOL_SIGMA = 6.0  # pixels
SURROUND_SIGMA = 12.0  # pixels
SEMISATURATION = (
    0.005  # contrast (of the full grey range) at which division sets in; most crops have four times as much
)
DECIMALS = 3  # of rates: differences between platforms lie far below


@dataclass(frozen=True, eq=False)
class Population:
    """What is simulated.

    Parameters
    ----------
    rates
        (n_stimuli, n_units) expected spike counts in 100 ms, rounded to three decimals.
    spikes
        (n_stimuli, n_repetitions, n_units) Poisson spike counts.
    """

    rates: np.ndarray
    spikes: np.ndarray


def simulate(grey: np.ndarray, seed: int = SEED) -> Population:
    """Simulate the population's responses.

    Parameters
    ----------
    grey
        (n_stimuli, height, width) grey levels 0..255.
    seed
        Of units and spikes.
    """
    rates = true_rates(pooled_energies(grey), seed)
    return Population(rates, poisson_counts(rates, N_REPETITIONS, seed + 1))


def pooled_energies(grey: np.ndarray) -> np.ndarray:
    """Return normalised Gabor energies in pooling windows, (n_stimuli, n_channels, rows, columns).

    Parameters
    ----------
    grey
        (n_stimuli, height, width) grey levels 0..255; both sides even.
    """
    n, height, width = grey.shape
    filters = gabor_filters(height + 2 * PAD, width + 2 * PAD)
    sizes = height // STEP, width // STEP
    surround = [_gaussian_windows(np.arange(size), size, SURROUND_SIGMA / STEP) for size in sizes]
    centres = [np.arange(SPACING, size * STEP, SPACING) / STEP for size in sizes]
    pool = [_gaussian_windows(c, size, POOL_SIGMA / STEP) for c, size in zip(centres, sizes, strict=True)]
    pooled = np.empty((n, N_CHANNELS, len(pool[0]), len(pool[1])))
    for i, image in enumerate(np.asarray(grey, dtype=np.float64) / 255.0):
        energy = gabor_energies(np.pad(image - image.mean(), PAD, mode="reflect"), filters)
        energy = energy[:, PAD // STEP :, PAD // STEP :][:, : sizes[0], : sizes[1]]
        around = surround[0] @ energy.mean(axis=0) @ surround[1].T
        pooled[i] = pool[0] @ (energy / (SEMISATURATION**2 + around)) @ pool[1].T
    return pooled


@dataclass(frozen=True, eq=False)
class GaborFilters:
    """Complex Gabor filters in the frequency domain, each on a block of frequencies around its preferred one.

    Parameters
    ----------
    places
        (n_channels, height / 2, width / 2) places of the block's frequencies in a flattened spectrum, in the order of an
        inverse transform that has the block's middle at frequency zero.
    gains
        The same shape: gain at each; 1 at the preferred frequency.
    """

    places: np.ndarray
    gains: np.ndarray


def gabor_filters(height: int, width: int) -> GaborFilters:
    """Return the filters for images of a size: Gaussians of 1.1 octaves at half height; wavelength varies slowest."""
    places, gains = [], []
    for wavelength in WAVELENGTHS:
        for theta in np.pi * np.arange(N_ORIENTATIONS) / N_ORIENTATIONS:
            preferred = np.array([np.sin(theta), np.cos(theta)]) / wavelength
            block = [
                round(f * size) + np.arange(-size // (2 * STEP), size // (2 * STEP))
                for f, size in zip(preferred, (height, width), strict=True)
            ]
            dy, dx = block[0] / height - preferred[0], block[1] / width - preferred[1]
            gain = np.exp(-(dy[:, None] ** 2 + dx[None, :] ** 2) / (2 * (0.3 / wavelength) ** 2))
            gain[(block[0] == 0)[:, None] & (block[1] == 0)[None, :]] = 0.0  # blind to mean luminance
            places.append(np.fft.ifftshift(block[0][:, None] % height * width + block[1] % width))
            gains.append(np.fft.ifftshift(gain))
    return GaborFilters(np.stack(places), np.stack(gains))


def gabor_energies(image: np.ndarray, filters: GaborFilters) -> np.ndarray:
    """Return squared amplitudes, (n_channels, height / 2, width / 2), at every second pixel.

    Shifting a block of frequencies to the origin turns the phase of a filter's output and leaves its amplitude, and
    the block is all there is of the output, so nothing but amplitudes between the pixels is left out.
    """
    blocks = np.fft.fft2(image).take(filters.places)
    blocks *= filters.gains
    blocks /= STEP**2
    outputs = scipy.fft.ifft2(blocks, overwrite_x=True)
    return np.asarray(outputs.real**2 + outputs.imag**2)


def _gaussian_windows(centres: np.ndarray, size: int, sigma: float) -> np.ndarray:
    """Return (n_centres, size) Gaussian weights that sum to 1 in each row."""
    weights = np.exp(-((np.arange(size)[None, :] - centres[:, None]) ** 2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def true_rates(pooled: np.ndarray, seed: int = SEED, n_units: int = N_UNITS) -> np.ndarray:
    """Return expected spike counts, (n_stimuli, n_units), rounded to three decimals.

    Parameters
    ----------
    pooled
        (n_stimuli, n_channels, rows, columns) from :func:`pooled_energies`.
    seed
        Of the units; each unit has a random stream of its own.
    n_units
        Number of units.
    """
    n, n_channels, rows, columns = pooled.shape
    features = np.sqrt(pooled).reshape(n, -1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    rates = np.empty((n, n_units))
    for unit in range(n_units):
        random = Generator(Philox(key=[seed, unit]))
        weights = _readout(random, n_channels, rows, columns)
        drive = features @ weights.ravel()
        drive = np.logaddexp(0.0, 1.5 * (drive - drive.mean()) / drive.std())
        drive = (drive - drive.mean()) / drive.std()
        mean = 2.5 * np.exp(1.2 * (2 * random.random() - 1))  # 0.75 to 8.3 spikes
        modulation = 0.25 + 0.55 * random.random()  # standard deviation over mean
        rates[:, unit] = mean * np.maximum(1.0 + modulation * drive, 0.02)
    return np.round(rates, DECIMALS)


def _readout(random: Generator, n_channels: int, rows: int, columns: int) -> np.ndarray:
    """Return a unit's weights, (n_channels, rows, columns): 3 to 5 subunits around its centre, and a little of all else."""
    weights = 0.02 * _normal(random, n_channels * rows * columns).reshape(n_channels, rows, columns)
    row, column = (1 + int(random.random() * (size - 2)) for size in (rows, columns))
    for subunit in range(3 + int(random.random() * 3)):
        wavelength = int(random.random() * len(WAVELENGTHS))
        orientation = random.random() * np.pi
        offsets = [int(random.random() * 3) - 1 for _ in range(2)]
        sign = 1.0 if subunit == 0 or random.random() < 0.6 else -0.7
        tuning = np.exp(2.0 * (np.cos(2 * (np.pi * np.arange(N_ORIENTATIONS) / N_ORIENTATIONS - orientation)) - 1))
        first = wavelength * N_ORIENTATIONS
        weights[first : first + N_ORIENTATIONS, row + offsets[0], column + offsets[1]] += sign * tuning
    return weights


def _normal(random: Generator, n: int) -> np.ndarray:
    """Return n standard normal numbers (Box and Muller 1958), from uniform ones alone."""
    radius = np.sqrt(-2.0 * np.log1p(-random.random(n)))
    return np.asarray(radius * np.cos(2 * np.pi * random.random(n)))


def poisson_counts(rates: np.ndarray, n_repetitions: int, seed: int) -> np.ndarray:
    """Draw Poisson counts by inverting the distribution: one uniform number a count, whatever the rate.

    So a rate that differs in its last digit shifts no other count, and the stream does not depend on NumPy's sampler.

    Parameters
    ----------
    rates
        (n_stimuli, n_units) expected counts, at most a few hundred.
    n_repetitions
        Draws for each stimulus and unit.
    seed
        Key of the Philox stream.

    Returns
    -------
    numpy.ndarray
        (n_stimuli, n_repetitions, n_units) float64 whole numbers.
    """
    uniform = Generator(Philox(key=seed)).random((rates.shape[0], n_repetitions, rates.shape[1]))
    expected = rates[:, None, :]
    probability = np.exp(-expected)
    cumulative = probability.copy()
    counts = np.zeros(uniform.shape)
    k = 0
    while (above := uniform >= cumulative).any() and k < 10_000:
        counts += above
        k += 1
        probability = probability * expected / k
        cumulative = cumulative + probability
    return counts


def true_reliability(rates: np.ndarray, n_repetitions: int = N_REPETITIONS) -> np.ndarray:
    """Return the reliability of averages over repetitions, (n_units,), exactly.

    ``V / (V + mean rate / n_repetitions)`` with V the variance of the rates over stimuli (n - 1 in the denominator):
    what ``1 - mean over stimuli of (s^2 / n_repetitions) / variance of the stimulus means`` estimates, for a Poisson
    count's variance is its rate. Null rates give NaN.

    Parameters
    ----------
    rates
        (n_stimuli, n_units) expected counts, of the stimuli that the estimate is made on.
    n_repetitions
        Repetitions that are averaged.
    """
    variance = rates.var(axis=0, ddof=1)
    noise = rates.mean(axis=0) / n_repetitions
    total = variance + noise
    return np.asarray(np.divide(variance, total, out=np.full(total.shape, np.nan), where=total > 0))
