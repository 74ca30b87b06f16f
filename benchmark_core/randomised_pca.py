"""Principal components of more stimuli than a kernel can be held for.

The kernel of 73 000 stimuli takes 43 GB, so a layer is boiled down to its leading principal components instead, from
the same spool and the same blocks (all stimuli x some features). Neither all features nor an n x n matrix is ever held:
a Gaussian sketch of the training stimuli, ``Q`` (n_train x l), is multiplied by the kernel ``X X'`` of the centred
training features block by block (``X X' Q = sum over blocks of B (B' Q)``), orthonormalised, and multiplied again.
The last pass does so for all stimuli, and what it gives is enough to project each of them on the principal axes.

Randomised subspace iteration: Halko, Martinsson & Tropp (2011), SIAM Review 53:217, algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError
from benchmark_core.keys import digest
from benchmark_core.profiling import stage
from benchmark_core.representation import Representation
from benchmark_core.resolution import Resolved
from benchmark_core.splits import Splits
from benchmark_core.standardised import Blocks, DividedBlocks, standardised_key
from benchmark_core.stimuli import name_ids

LARGEST_KERNEL = 16_384
"""Stimuli up to which a kernel is held (2.1 GB in float64)."""
PASSES = 4
"""Readings of all features: the more, the closer the trailing components are to the exact ones."""
SHARE_OVERSAMPLED, LEAST_OVERSAMPLED = 0.25, 20
COLUMNS = 512
"""Features multiplied at a time."""
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Reduction:
    """What layers are boiled down to instead of kernels: leading components of these training stimuli.

    ``standardised``: of features divided by their deviations over these stimuli.
    """

    train_ids: tuple[str, ...]
    n_components: int
    standardised: bool = False

    def key(self, representation_key: str) -> str:
        """Return the key under which the components of a representation are stored."""
        if self.standardised:
            representation_key = standardised_key(representation_key, self.train_ids)
        return components_key(representation_key, self.train_ids, self.n_components)

    def from_spool(
        self,
        spool: Blocks,
        layer: str,
        stimulus_ids: Sequence[str],
        *,
        key: str,
        backend: Backend,
        exact: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Representation:
        """Reduce a layer; in the place of :func:`benchmark_core.representation.from_spool`."""
        source = spool
        if self.standardised:
            row = {stimulus_id: i for i, stimulus_id in enumerate(stimulus_ids)}
            source = DividedBlocks(spool, np.array([row[i] for i in self.train_ids]))
        reduced = components_from_spool(
            source,
            layer,
            stimulus_ids,
            self.train_ids,
            self.n_components,
            key=key,
            backend=backend,
            exact=exact,
            progress=progress,
        )
        return self.mark(reduced)

    def mark(self, reduced: Representation) -> Representation:
        """Note with components of standardised features what they are."""
        if self.standardised:
            reduced.standardised_on[frozenset(self.train_ids)] = reduced
        return reduced

    def prefixes_from_spool(
        self,
        spool: Blocks,
        layer: str,
        stimulus_ids: Sequence[str],
        *,
        keys: Mapping[int, str],
        backend: Backend,
        exact: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Representation]:
        """Reduce a layer and its first features, one after the other, from the narrowest to the widest.

        In the place of :func:`benchmark_core.representation.prefixes_from_spool`.
        """
        for width in sorted(keys):
            narrow = FirstFeatures(spool, width)
            yield self.from_spool(
                narrow, layer, stimulus_ids, key=keys[width], backend=backend, exact=exact, progress=progress
            )


def reduction_for(metric: Resolved, splits: Splits, n_stimuli: int) -> Reduction | None:
    """Return what a metric's layers are reduced to, or None where it gets kernels.

    It gets components where there are more than ``LARGEST_KERNEL`` stimuli, a single training set, and a metric that
    says how many components suffice.
    """
    if n_stimuli <= LARGEST_KERNEL or not metric.spec.components or len(splits.folds) != 1 or splits.by_subject:
        return None
    wanted = metric.parameters[metric.spec.components]
    if wanted is None:
        return None
    standardise = bool(metric.spec.standardise and metric.parameters[metric.spec.standardise])
    return Reduction(splits.folds[0].train, int(wanted), standardise)


@dataclass(frozen=True)
class FirstFeatures:
    """The first features of a layer, by blocks: a narrower model's, where they are a wider one's first."""

    source: Blocks
    width: int

    def n_features(self, layer: str) -> int:
        """Number of features."""
        return self.width

    def blocks(self, layer: str) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first feature, (n, b) float32)."""
        for first, block in self.source.blocks(layer):
            yield first, block[:, : self.width - first]
            if first + block.shape[1] >= self.width:
                return


def components_key(representation_key: str, train_ids: Sequence[str], n_components: int) -> str:
    """Return the key under which the leading components of a representation are stored."""
    return digest(
        {
            "kind": "principal-components",
            "version": 1,
            "representation": representation_key,
            "train": digest(sorted(train_ids)),
            "components": n_components,
        }
    )


@stage("kernel")
def components_from_spool(
    source: Blocks,
    layer: str,
    stimulus_ids: Sequence[str],
    train_ids: Sequence[str],
    n_components: int,
    *,
    key: str = "",
    backend: Backend | None = None,
    exact: bool = True,
    progress: Callable[[int, int], None] | None = None,
    n_passes: int = PASSES,
    seed: int = 0,
) -> Representation:
    """Reduce a layer to its leading principal components, fitted on the training stimuli only.

    Parameters
    ----------
    source
        The features, by blocks; read ``n_passes`` times.
    layer
        Name of the layer.
    stimulus_ids
        Ids of the rows of every block, in any order, shape (n,).
    train_ids
        The stimuli that means and principal axes are computed from; at least two.
    n_components
        Components wanted; fewer come back where the training features have a lower rank.
    key
        To keep with the result; see :func:`components_key`.
    backend
        Where products are computed.
    exact
        Products in float64; otherwise in float32 within a block, accumulated in float64.
    progress
        Called with (features done in all passes, of how many).
    n_passes
        At least 2: the last one projects.
    seed
        Of the sketch.

    Returns
    -------
    Representation whose held ``features`` (n, k) float64 are the components of all stimuli, the training means
    subtracted; those of the training stimuli are uncorrelated, in falling order of variance. ``n_features`` is the
    number of features of the layer. Inner products are those of the projections.

    Raises
    ------
    InputError
        For a training set of fewer than two stimuli or with ids that are not among ``stimulus_ids``.
    """
    backend = backend or Backend()
    where = {stimulus_id: i for i, stimulus_id in enumerate(stimulus_ids)}
    missing = [i for i in train_ids if i not in where]
    if missing:
        raise InputError(f"layer {layer!r} holds no features of stimulus_id {name_ids(missing)}")
    if len(set(train_ids)) < 2 or n_components < 1 or n_passes < 2:
        raise InputError("principal components need two training stimuli, one component and two passes at least")
    train = np.array(sorted({where[i] for i in train_ids}))
    n_features = source.n_features(layer)
    oversampled = n_components + max(LEAST_OVERSAMPLED, int(SHARE_OVERSAMPLED * n_components))
    width = min(len(train), n_features, oversampled)
    if width < oversampled:
        n_passes = 2  # the sketch spans all that there is
    total = n_passes * n_features

    def report(number: int) -> Callable[[int], None]:
        return lambda done: progress(number * n_features + done, total) if progress else None

    xp = backend.xp
    random = np.random.Generator(np.random.Philox(key=int(digest({"what": "sketch", "seed": seed})[:32], 16)))
    sketch = backend.asarray(random.standard_normal((len(train), width)))
    for number in range(n_passes - 1):
        sketch = _multiply(source, layer, train, train, sketch, backend, exact, report(number))
        sketch, _ = xp.linalg.qr(sketch)
    everything = np.arange(len(stimulus_ids))
    products = _multiply(source, layer, train, everything, sketch, backend, exact, report(n_passes - 1))
    scores = _project(sketch, products, train, n_components, backend)
    return _hold(scores, layer, stimulus_ids, n_features, key, backend)


def _multiply(
    source: Blocks,
    layer: str,
    train: np.ndarray,
    rows: np.ndarray,
    sketch: Any,
    backend: Backend,
    exact: bool,
    report: Callable[[int], None],
) -> Any:
    """Return Z X' Q in float64, where X and Z are the features of ``train`` and ``rows`` minus the means of ``train``.

    ``sketch`` is Q (n_train, l); the result is (len(rows), l).
    """
    xp = backend.xp
    convert = backend.asarray if exact else backend.asarray_float32
    factor = sketch if exact else xp.astype(sketch, xp.float32)
    result = backend.asarray(np.zeros((len(rows), sketch.shape[1])))
    same = rows is train
    for first, block in source.blocks(layer):
        for start in range(0, block.shape[1], COLUMNS):
            piece = block[:, start : start + COLUMNS]
            trained = piece[train].astype(np.float64)
            mean = trained.mean(axis=0)
            centred = convert(trained - mean)
            loadings = centred.T @ factor
            left = centred if same else convert(piece.astype(np.float64) - mean)
            result += xp.astype(left @ loadings, xp.float64, copy=False)
        report(first + block.shape[1])
    return result


def _project(sketch: Any, products: Any, train: np.ndarray, n_components: int, backend: Backend) -> np.ndarray:
    """Return the components (n, k) of all stimuli, from Q and Z X' Q (see :func:`_multiply`) for all stimuli Z.

    With Q'XX'Q = W L W' the axes X'Q W L^-1/2 are orthonormal in feature space. Turned so that the projections of the
    training stimuli on them are uncorrelated, they are the principal axes within the span of X'Q.
    """
    xp = backend.xp
    taken = backend.asarray(np.ascontiguousarray(backend.to_numpy(products)[train]))
    small = sketch.T @ taken
    values, vectors = xp.linalg.eigh((small + small.T) / 2)
    values, vectors = xp.flip(values, axis=0), xp.flip(vectors, axis=1)
    rank = _rank(backend.to_numpy(values), len(train))
    axes = vectors[:, :rank] / xp.sqrt(values[:rank])[None, :]
    taken = taken @ axes
    covariance = taken.T @ taken
    values, vectors = xp.linalg.eigh((covariance + covariance.T) / 2)
    turned = axes @ xp.flip(vectors, axis=1)[:, : min(n_components, rank)]
    return backend.to_numpy(products @ turned)


def _rank(values: np.ndarray, n: int) -> int:
    """Return how many of the falling eigenvalues rounding can tell from zero."""
    return int(np.sum(values > max(n, 100) * EPS * max(float(values[0]), 0.0)))


def _hold(
    scores: np.ndarray, layer: str, stimulus_ids: Sequence[str], n_features: int, key: str, backend: Backend
) -> Representation:
    if scores.shape[1] == 0:  # features that are the same for all training stimuli
        scores = np.zeros((len(scores), 1))
    order = sorted(range(len(stimulus_ids)), key=stimulus_ids.__getitem__)
    if order != list(range(len(order))):
        scores = scores[order]
    mean = scores.mean(axis=0)
    return Representation(
        layer=layer,
        stimulus_ids=tuple(stimulus_ids[i] for i in order),
        n_features=n_features,
        features=scores,
        kernel=None,
        row_sums=scores.sum(axis=1),
        mean_products=scores @ mean,
        mean_square=float(mean @ mean),
        key=key,
        backend=backend,
    )
