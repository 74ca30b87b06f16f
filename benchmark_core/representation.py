"""Representations: a layer boiled down to inner products between stimuli, and what follows from them.

A kernel is stored for features centred on their mean over all stimuli (float64), together with what is needed to
undo the centring: with column means m, ``x_i . x_j = K_ij + v_i + v_j - m.m`` where ``v_i = x_i . m``. Centring
before multiplying keeps the digits that a large common mean would swallow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark_core.arrays import Backend
from benchmark_core.errors import InputError, ModelError
from benchmark_core.kernel_sums import KernelSums
from benchmark_core.spool import Spool, SpooledBlock
from benchmark_core.standardised import Blocks, TrainingSets, divided, standardise_held, standardised_key
from benchmark_core.stimuli import name_ids

if TYPE_CHECKING:
    from benchmark_core.spectral import Decomposition


@dataclass(eq=False)
class Representation:
    """One layer of one model on a stimulus set.

    Parameters
    ----------
    layer
        Name of the layer.
    stimulus_ids
        Sorted ids, shape (n,).
    n_features
        Number of features P.
    features
        (n, P) where P <= n, else None.
    kernel
        (n, n) float64 Gram matrix of the features centred on their means over all n stimuli; None where the features
        are held.
    row_sums
        (n,) sum of each stimulus's features (uncentred).
    mean_products
        (n,) inner product of each stimulus's features (uncentred) with the column means.
    mean_square
        Inner product of the column means with themselves.
    key
        Representation key, or empty for one made by hand.
    backend
        Where decompositions are computed.
    standardised_on
        By training set: the layer with its features divided by their deviations there (see :meth:`standardised`).
    """

    layer: str
    stimulus_ids: tuple[str, ...]
    n_features: int
    features: np.ndarray | None
    kernel: np.ndarray | None
    row_sums: np.ndarray
    mean_products: np.ndarray
    mean_square: float
    key: str = ""
    backend: Backend = field(default_factory=Backend)
    standardised_on: dict[frozenset[str], Representation] = field(default_factory=dict, repr=False)
    _decompositions: dict[tuple[str, ...], Decomposition] = field(default_factory=dict, repr=False)

    @classmethod
    def from_features(
        cls,
        features: np.ndarray,
        stimulus_ids: Sequence[str],
        layer: str = "features",
        backend: Backend | None = None,
        training_sets: Sequence[Sequence[str]] = (),
    ) -> Representation:
        """Build a representation from features (n, P) held in memory, in any order of stimuli.

        Parameters
        ----------
        training_sets
            Ids of the training sets that :meth:`standardised` is going to be asked for; needed where P > n.

        Raises
        ------
        InputError
            For a wrong shape or repeated ids.
        ModelError
            For features that are not finite.
        """
        values = np.asarray(features, dtype=np.float64)
        ids = tuple(map(str, stimulus_ids))
        if values.ndim != 2 or values.shape[0] != len(ids) or values.shape[1] == 0:
            raise InputError(
                f"features have shape {values.shape} for {len(ids)} stimulus ids; expected (stimuli, features)"
            )
        if len(set(ids)) != len(ids):
            raise InputError("features hold a stimulus_id twice")
        if not np.isfinite(values).all():
            raise ModelError(f"layer {layer!r} holds values that are not finite")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        values = values[order]
        mean = values.mean(axis=0)
        narrow = values.shape[1] <= values.shape[0]
        centred = values - mean
        ids = tuple(ids[i] for i in order)
        made = cls(
            layer=layer,
            stimulus_ids=ids,
            n_features=values.shape[1],
            features=values if narrow else None,
            kernel=None if narrow else centred @ centred.T,
            row_sums=values.sum(axis=1),
            mean_products=values @ mean,
            mean_square=float(mean @ mean),
            backend=backend or Backend(),
        )
        for train in training_sets if not narrow else ():
            one = divided(values, np.array(made.index(train)))
            made.standardised_on[frozenset(train)] = cls.from_features(one, ids, layer, backend)
        return made

    def __len__(self) -> int:
        return len(self.stimulus_ids)

    def index(self, stimulus_ids: Sequence[str]) -> list[int]:
        """Return the positions of ids.

        Raises
        ------
        InputError
            Naming the ids that the representation does not hold.
        """
        where = {stimulus_id: i for i, stimulus_id in enumerate(self.stimulus_ids)}
        missing = [i for i in stimulus_ids if i not in where]
        if missing:
            raise InputError(f"layer {self.layer!r} holds no features of stimulus_id {name_ids(missing)}")
        return [where[i] for i in stimulus_ids]

    def gram(self, centred: bool = True) -> np.ndarray:
        """Return inner products between all stimuli, (n, n) float64, of centred or of raw features."""
        if self.features is not None:
            values = self.features.astype(np.float64)
            values = values - values.mean(axis=0) if centred else values
            return values @ values.T
        assert self.kernel is not None
        if centred:
            return self.kernel
        raw: np.ndarray = self.kernel + self.mean_products[:, None] + self.mean_products[None, :] - self.mean_square
        return raw

    def coordinates(self, centred: bool = False) -> np.ndarray:
        """Return (n, min(n, P)) float64 coordinates with the same inner products as the features.

        These are the features themselves where P <= n; otherwise an orthogonal change of axes that loses nothing
        that inner products between stimuli can tell, so any estimator that depends on features only through inner
        products (ridge, PCA, PLS, linear classifiers, RDMs) gives the same predictions on either.

        Parameters
        ----------
        centred
            Subtract the mean over all stimuli.
        """
        if self.features is not None:
            values = self.features.astype(np.float64)
            return values - values.mean(axis=0) if centred else values
        assert self.kernel is not None
        eigenvalues, vectors = np.linalg.eigh(self.kernel)
        eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
        n = len(self)
        # Rank n - 1 at most: the last axis is free for the part of the mean outside the span of the centred features.
        noise = n * np.finfo(np.float64).eps * max(float(eigenvalues[0]), 0.0)
        keep = eigenvalues > noise
        keep[n - 1] = False
        scales = np.sqrt(np.where(keep, eigenvalues, 0.0))
        coordinates: np.ndarray = vectors * scales
        if centred:
            return coordinates
        products = vectors.T @ (self.mean_products - self.mean_square)
        along = np.divide(products, scales, out=np.zeros(n), where=keep)
        rest = max(self.mean_square - float(along @ along), 0.0)
        # An axis too short to be told from rounding in the kernel may still have a product with a long mean. These
        # are the shortest lengths that give those products; together they use up the rest of the mean.
        weak = np.where(keep, 0.0, np.abs(products))
        if min(rest, noise, weak.max()) > 0:
            short = np.minimum(np.sqrt(weak * (weak.sum() / rest)), np.sqrt(noise))
            coordinates += vectors * short
            along += np.divide(products, short, out=np.zeros(n), where=short > 0)
        else:
            along[n - 1] = np.sqrt(rest)
        return coordinates + along

    def decomposition(self, train: Sequence[str]) -> Decomposition:
        """Return the spectral decomposition of the training stimuli, computed once per training set."""
        from benchmark_core.spectral import decompose

        key = tuple(train)
        if key not in self._decompositions:
            self._decompositions[key] = decompose(self, key)
        return self._decompositions[key]

    def standardised(self, train: Sequence[str]) -> Representation:
        """Return the representation of the features divided by their deviations over training stimuli.

        Features that do not vary there are zero (see :func:`benchmark_core.standardised.divided`).

        Raises
        ------
        InputError
            If only inner products of the features are held, which cannot tell, and none of these training stimuli.
        """
        wanted = frozenset(train)
        if wanted not in self.standardised_on:
            if self.features is None:
                raise InputError(
                    f"layer {self.layer!r} holds inner products of its {self.n_features} features, which cannot be "
                    f"standardised on {len(wanted)} training stimuli; name training_sets where it is made from features"
                )
            self.standardised_on[wanted] = standardise_held(self, train)
        return self.standardised_on[wanted]

    def scaled(self, factor: float) -> Representation:
        """Return the representation of the same features multiplied with a number."""
        if factor == 1:
            return self
        return replace(
            self,
            features=None if self.features is None else self.features * factor,
            kernel=None if self.kernel is None else self.kernel * factor**2,
            row_sums=self.row_sums * factor,
            mean_products=self.mean_products * factor**2,
            mean_square=self.mean_square * factor**2,
            _decompositions={},
        )

    def save(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write the representation to the store, with how it came about."""
        from benchmark_core.store import write_arrays

        meta = {
            "layer": self.layer,
            "stimulus_ids": list(self.stimulus_ids),
            "n_features": self.n_features,
            "mean_square": self.mean_square,
            "key": self.key,
            "provenance": provenance,
        }
        arrays = {"row_sums": self.row_sums, "mean_products": self.mean_products}
        if self.features is not None:
            arrays["features"] = self.features
        if self.kernel is not None:
            arrays["kernel"] = self.kernel
        write_arrays(path, arrays, meta)

    @classmethod
    def load(cls, path: Path, backend: Backend) -> tuple[Representation, dict[str, Any]] | None:
        """Read what :meth:`save` wrote, with its provenance; None if it is absent or was damaged."""
        from benchmark_core.store import read_arrays, touch

        found = read_arrays(path)
        if found is None:
            return None
        arrays, meta = found
        touch(path)
        representation = cls(
            layer=meta["layer"],
            stimulus_ids=tuple(meta["stimulus_ids"]),
            n_features=meta["n_features"],
            features=arrays.get("features"),
            kernel=arrays.get("kernel"),
            row_sums=arrays["row_sums"],
            mean_products=arrays["mean_products"],
            mean_square=meta["mean_square"],
            key=meta["key"],
            backend=backend,
        )
        return representation, meta["provenance"]


def from_spool(
    spool: Blocks,
    layer: str,
    stimulus_ids: Sequence[str],
    *,
    key: str,
    backend: Backend,
    exact: bool = True,
    progress: Callable[[int, int], None] | None = None,
    training_sets: TrainingSets = (),
) -> Representation:
    """Pass 2: read a layer's spool by blocks of features and reduce it to a representation.

    Parameters are those of :func:`prefixes_from_spool`; ``key`` is the representation key to keep.
    """
    keys = {spool.n_features(layer): key}
    (representation,) = prefixes_from_spool(
        spool,
        layer,
        stimulus_ids,
        keys=keys,
        backend=backend,
        exact=exact,
        progress=progress,
        training_sets=training_sets,
    )
    return representation


def prefixes_from_spool(
    spool: Blocks,
    layer: str,
    stimulus_ids: Sequence[str],
    *,
    keys: Mapping[int, str],
    backend: Backend,
    exact: bool = True,
    progress: Callable[[int, int], None] | None = None,
    training_sets: TrainingSets = (),
) -> Iterator[Representation]:
    """Pass 2 for a layer and for narrower layers that are its first features, in one reading of the spool.

    Every block holds all stimuli and is multiplied less about its column means; the rest of them is taken out of the
    kernel. Memory is bounded by the kernel, and a block and a product for each thread, however many features there are.
    Sums run over the same blocks whatever widths are asked for, so a narrow layer's digits do not depend on the wider
    ones it was reduced with.

    Parameters
    ----------
    spool
        Complete spool of pass 1, or the features that a head generates from the spool of its stem.
    stimulus_ids
        Ids of its rows; those of the representation are sorted.
    keys
        Representation key for each number of features that is wanted.
    backend
        Where products are computed.
    exact
        Products in float64; otherwise in float32 within a block, accumulated in float64.
    progress
        Called with (features done, of how many).
    training_sets
        Besides, a kernel of the features standardised on each of these, in the same reading; memory holds all of them.

    Yields
    ------
    Representation
        From the narrowest to the widest.
    """
    n, widest = len(stimulus_ids), max(keys)
    if widest <= n:
        training_sets = ()  # features that are held are standardised when they are asked for
    else:
        _check_memory(n, 1 + len(training_sets))
    row = {stimulus_id: i for i, stimulus_id in enumerate(stimulus_ids)}
    trained = [np.array([row[i] for i in train]) for train in training_sets]
    held = max((w for w in keys if w <= n), default=0)
    # Of several kernels blocks are multiplied one after the other, each by all threads and in the same memory.
    at_once = 1 if trained else None
    sums = [KernelSums.start(n, held, widest > n, backend, exact, at_once)]
    sums += [KernelSums.start(n, 0, True, backend, exact, at_once, sums[0]) for _ in trained]

    def plus(first: int, block: np.ndarray | SpooledBlock, copy: bool = False) -> list[KernelSums]:
        blocks = itertools.chain([block], (divided(np.asarray(block), rows) for rows in trained))
        return [one.plus(first, values, copy) for one, values in zip(sums, blocks, strict=True)]

    def finish(all_sums: Sequence[KernelSums], width: int) -> Representation:
        last = width == widest
        found = _finished(all_sums[0], layer, stimulus_ids, width, keys[width], last)
        if width > n:
            for train, one in zip(training_sets, all_sums[1:], strict=True):
                key = standardised_key(keys[width], train)
                found.standardised_on[frozenset(train)] = _finished(one, layer, stimulus_ids, width, key, last)
        return found

    blocks: Iterator[tuple[int, np.ndarray | SpooledBlock]] = spool.blocks(layer)
    if isinstance(spool, Spool) and not trained and isinstance(sums[0].row_sums, np.ndarray):
        blocks = spool.unread_blocks(layer)
    try:
        for first, block in blocks:
            within = sorted(w for w in keys if first < w < first + block.shape[1])
            if within or first < held:  # looked at more than once
                block = np.asarray(block)
            for width in within:
                yield finish(plus(first, np.asarray(block)[:, : width - first], copy=True), width)
            done = first + block.shape[1]
            if done > widest:
                break
            sums = plus(first, block)
            if done in keys:
                yield finish(sums, done)
            if progress:
                progress(done, widest)
            if done == widest:
                break
    finally:
        for one in sums:
            one.close()


def _check_memory(n: int, n_kernels: int) -> None:
    """Check that kernels of n stimuli can be held at all.

    Raises
    ------
    InputError
        If this machine has less memory.
    """
    import psutil

    needed, there = 8 * n * n * n_kernels, psutil.virtual_memory().total
    if needed > there:
        raise InputError(
            f"the inner products of {n} stimuli{f' ({n_kernels} kernels)' if n_kernels > 1 else ''} take "
            f"{needed / 1e9:.2g} GB and this machine has {there / 1e9:.2g} GB; "
            "score fewer stimuli, or a fixed split by a metric that needs principal components only"
        )


def _finished(
    sums: KernelSums, layer: str, stimulus_ids: Sequence[str], n_features: int, key: str, last: bool
) -> Representation:
    """Return the representation of the features so far, its stimuli sorted by id."""
    ids = tuple(stimulus_ids)
    features, kernel, row_sums, mean_products, mean_square = sums.finish(n_features, last)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    if order != list(range(len(ids))):  # rows of several spools, one after the other
        ids = tuple(ids[i] for i in order)
        features = None if features is None else features[order]
        kernel = None if kernel is None else kernel[np.ix_(order, order)]
        row_sums, mean_products = row_sums[order], mean_products[order]
    return Representation(
        layer=layer,
        stimulus_ids=ids,
        n_features=n_features,
        features=features,
        kernel=kernel,
        row_sums=row_sums,
        mean_products=mean_products,
        mean_square=mean_square,
        key=key,
        backend=sums.backend,
    )
