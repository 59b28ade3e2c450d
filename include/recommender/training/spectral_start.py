"""Start a fit from the leading singular vectors of its weights instead of from noise.

Near zero the loss of alternating least squares is, up to a constant,
``-2 alpha <R, X Y'> + regularization (|X|^2 + |Y|^2)``: a direction grows out of noise only if its
singular value of R exceeds regularization / alpha, and the closer to it, the more iterations that
takes. A random start spends five to fifteen of them on finding these directions, and which
checkpoint looks best meanwhile depends on the seed. Started from the directions, a fit is near its
end after two or three iterations whatever the seed, so that an early judgement of a trial holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recommender import config
from recommender.interactions import Interactions
from recommender.models.als import Factors
from recommender.models.als.weighted import weighted
from recommender.process import one_blas_thread

Array = npt.NDArray[np.float32]

_OVERSAMPLED = 8  # columns beyond those asked for, and
_POWER_ITERATIONS = 2  # passes over the rows: the usual choice (Halko, Martinsson, Tropp 2011)
# A direction that the penalty would silence starts at this share of its length: it may be wrong.
_LEAST = 0.02
_BLOCK = 1 << 14  # rows in float64 at a time: 10 MB at 64 factors
_ROUNDING = 1e-6  # of the greatest value: float32 tells no direction below it
_NOISE = 0.01  # where there are fewer users or items than factors; implicit draws its own so


@dataclass(frozen=True)
class Directions:
    """Hold the leading singular vectors and values of R, what a fit multiplies by alpha.

    Attributes:
        users: (users, n) float32.
        values: (n,) float32, descending.
        items: (items, n) float32.
        seed: of the noise that fills up.
    """

    users: Array
    values: Array
    items: Array
    seed: int

    def start(self, setting: config.Als) -> Factors:
        """Return factors whose products are R with its singular values lowered by the penalty."""
        values = self.values[: setting.factors]
        threshold = setting.regularization / setting.alpha
        lengths = np.sqrt(np.maximum(values - threshold, _LEAST * values))
        generator = np.random.default_rng(self.seed)
        sides = (side[:, : len(values)] * lengths for side in (self.users, self.items))
        return Factors(*(_padded(side, setting.factors, generator) for side in sides))


def directions(
    interactions: Interactions, setting: config.Als, count: int, seed: int
) -> Directions:
    """Find the leading directions by a randomised range finder.

    Args:
        interactions: the rows to fit.
        setting: says how they are weighed.
        count: directions wanted; fewer come back where there are fewer users or items.
        seed: of the projection; other seeds give other digits, not other directions.
    """
    with one_blas_thread():  # repeatable, whatever the cores
        return Directions(*_leading(weighted(interactions, setting), count, seed), seed)


def of_every_half_life(
    interactions: Interactions,
    setting: config.Als,
    half_lives: Collection[float | None],
    count: int,
    seed: int,
) -> dict[float | None, Directions]:
    """Find the directions once for all settings of a search that differ in nothing else."""
    return {
        half_life: directions(
            interactions, setting.model_copy(update={"half_life_days": half_life}), count, seed
        )
        for half_life in half_lives
    }


def _leading(matrix: csr_matrix, count: int, seed: int) -> tuple[Array, Array, Array]:
    kept = min(count, *matrix.shape)
    shape = (matrix.shape[1], min(count + _OVERSAMPLED, *matrix.shape))
    basis = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    for _ in range(_POWER_ITERATIONS):
        basis = _orthonormal(matrix.T @ _orthonormal(matrix @ basis))
    left = _orthonormal(matrix @ basis)
    right = matrix.T @ left  # left.T R, transposed: its decomposition gives that of R
    values, rotation = _gram(right)
    _rotate(left, rotation)
    _rotate(right, rotation * _inverse(values))
    return left[:, :kept], values[:kept].astype(np.float32), right[:, :kept]


def _orthonormal(rows: Array) -> Array:
    """Make the columns orthonormal in place; numpy's QR would hold two copies in float64.

    By the columns' inner products, twice: the second time takes away what the rounding of the first
    has left. Columns that depend on others become zero.
    """
    for _ in range(2):
        values, rotation = _gram(rows)
        _rotate(rows, rotation * _inverse(values))
    return rows


def _gram(rows: Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the singular values, descending, and the right singular vectors, as columns."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for block in _blocks(rows):
        part = block.astype(np.float64)
        total += part.T @ part
    squares, vectors = np.linalg.eigh(total)
    return np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1]


def _inverse(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 1 / value, 0 where a value is nothing but rounding."""
    sound = values > _ROUNDING * values[0]
    return np.divide(1, values, out=np.zeros_like(values), where=sound)


def _rotate(rows: Array, matrix: npt.NDArray[np.float64]) -> None:
    for block in _blocks(rows):
        block[:] = block @ matrix


def _blocks(rows: Array) -> Iterator[Array]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _padded(rows: Array, factors: int, generator: np.random.Generator) -> Array:
    noise = _NOISE * generator.random((len(rows), factors - rows.shape[1]), dtype=np.float32)
    return np.ascontiguousarray(np.hstack([rows, noise])) if noise.size else rows
