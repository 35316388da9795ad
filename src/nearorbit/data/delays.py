r"""Delays: the past of what is seen, in the place of what is not, and how far apart in time and how many to take.

A state is what is seen now and so many times before, a lag apart,

.. math:: y(t) = \big(x(t), \; x(t - \tau), \; \dots, \; x(t - (m - 1) \tau)\big)

for all components x that are seen. The lag :math:`\tau` is where x first tells least of what it will be: the first
minimum of the mutual information of x(t) and x(t + tau) within a period, and where there is none a quarter of it.

The least dimension :math:`m_0` that tells states apart is that in which neighbors are neighbors, and not false ones
that a projection brings together: neighbors in m dimensions are *false* if x one lag later sets them apart by more than
STRETCH times their distance, or SPREAD deviations. Noise leaves some in any dimension: :math:`m_0` is the first that
has no more than TOLERANCE above the least share. An attractor that does not cross itself there may still be folded so
sharply that no smooth field of those states moves along it. Almost all delays of more than twice the dimension D of an
attractor embed it, with its tangents (Sauer, Yorke and Casdagli 1991), and so the dimension that is taken is

.. math:: m = 2 m_0 - 1 > 2 D \quad \text{where} \quad D < m_0 - 1/2 .

References:
    | Detecting strange attractors in turbulence (Takens, 1981)
    | Independent coordinates for strange attractors from mutual information (Fraser and Swinney, 1986)
    | Embedology (Sauer, Yorke and Casdagli, J. Stat. Phys. 1991)
    | Determining embedding dimension for phase-space reconstruction using a geometrical construction (Kennel, Brown and
      Abarbanel, 1992)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

MOST = 10  # dimensions that are tried
STRETCH, SPREAD = 15.0, 2.0
TOLERANCE = 0.01
BINS, PAIRS = 32, 5  # of each axis of a histogram, at most, and the pairs of a bin on average, at least
QUERIES, LEAST = 2000, 128  # states whose neighbors are looked at, at most, and the states without which none are


@dataclass(frozen=True)
class Delays:
    """What is seen of states.

    Arguments:
        seen: The numbers of the components that are seen.
        dimension: How many times each is taken, m.
        lag: The sample intervals between two of these.
    """

    seen: tuple[int, ...]
    dimension: int = 1
    lag: int = 1

    @classmethod
    def of(cls, observations: xr.Dataset) -> "Delays | None":
        """Read it of observations; None where states are seen as they are."""
        if "seen" not in observations.attrs:
            return None
        seen, dimension, lag = (observations.attrs[name] for name in ("seen", "dimension", "lag"))
        return cls(tuple(np.atleast_1d(seen).tolist()), int(dimension), int(lag))

    @staticmethod
    def now(observations: xr.Dataset) -> int:
        """Tell how many of the components are seen now, the first ones; the future of the others is known for a lag."""
        delays = Delays.of(observations)
        return observations.sizes["component"] if delays is None else len(delays.seen)

    @property
    def attributes(self) -> dict[str, Any]:
        """What a file of observations has of it."""
        return {"seen": list(self.seen), "dimension": self.dimension, "lag": self.lag}

    @property
    def span(self) -> int:
        """The sample intervals that a state looks back."""
        return (self.dimension - 1) * self.lag

    def names(self, components: Sequence[str]) -> list[str]:
        """Name the components of a state: x, x(-8), x(-16) for a lag of eight samples."""
        behind = [self.lag * number for number in range(self.dimension)]
        return [f"{components[i]}(-{late})" if late else str(components[i]) for late in behind for i in self.seen]

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Delay orbits at equal intervals, with shape (*, T, D); returns shape (*, T - span, m * seen)."""
        seen, samples = states[..., list(self.seen)], max(0, states.shape[-2] - self.span)
        ends = [self.span - self.lag * number for number in range(self.dimension)]
        return np.concatenate([seen[..., end : end + samples, :] for end in ends], -1)


def mutual_information(runs: Sequence[np.ndarray], longest: int) -> np.ndarray:
    """Estimate the mutual information of x(t) and x(t + lag), the mean over components, in nats.

    Arguments:
        runs: Orbits at equal intervals, with shapes (T, D).
        longest: The longest lag, in samples.

    Returns:
        It at lags 0 to the longest, with shape (longest + 1), from histograms whose bins have equally many samples;
        NaN where there are no pairs.
    """
    together = np.concatenate(runs)
    bins = int(np.clip(round((len(together) / PAIRS) ** 0.5), 4, BINS))
    edges = np.quantile(together, np.arange(1, bins) / bins, axis=0)
    found = np.full((longest + 1, together.shape[1]), np.nan)
    for component in range(together.shape[1]):
        cells = [np.searchsorted(edges[:, component], run[:, component], side="right") for run in runs]
        for lag in range(longest + 1):
            pairs = np.concatenate([bins * cell[: len(cell) - lag] + cell[lag:] for cell in cells if len(cell) > lag])
            joint = np.bincount(pairs, minlength=bins**2).reshape(bins, bins) / len(pairs)
            alone = np.outer(joint.sum(1), joint.sum(0))
            found[lag, component] = (joint[joint > 0] * np.log(joint[joint > 0] / alone[joint > 0])).sum()
    return found.mean(1)


def first_minimum(information: np.ndarray, period: float) -> int:
    """Find the lag of the first minimum that is the least among its neighbors within a 32nd of a period, at least one
    sample; a quarter of a period if there is none."""
    around = max(1, round(period / 32))
    for lag in range(1, len(information) - around):
        if information[lag] == information[max(0, lag - around) : lag + around + 1].min():
            return lag
    return max(1, round(period / 4))


def false_neighbors(runs: Sequence[np.ndarray], lag: int, *, window: int) -> np.ndarray:
    """Tell the share of false neighbors for embeddings in 1, 2, ... dimensions.

    Arguments:
        runs: Orbits at equal intervals, with shapes (T, D).
        lag: The lag, in samples.
        window: The Theiler window, in samples, within which states of one run are no neighbors.

    Returns:
        The shares, as long as there are states with so long a past, with shape (<= 10).
    """
    from scipy.spatial import cKDTree

    deviation = np.sqrt(np.concatenate(runs).var(0).sum())
    shares = []
    for dimension in range(1, MOST + 1):
        delays = Delays(tuple(range(runs[0].shape[1])), dimension + 1, lag)
        lasting = [run for run in runs if len(run) > delays.span]
        states = np.concatenate([delays(run) for run in lasting]) if lasting else np.empty((0, 1))
        if len(states) < LEAST:
            break
        starts = np.cumsum([0, *(len(run) - delays.span + window for run in lasting)])[:-1]
        moments = np.concatenate(
            [np.arange(len(run) - delays.span) + s for run, s in zip(lasting, starts, strict=True)]
        )
        after, now = np.split(states, [runs[0].shape[1]], 1)
        queries = np.arange(0, len(states), -(-len(states) // QUERIES))
        distances, near = cKDTree(now).query(now[queries], min(len(states), 2 * window + 2))
        distances[np.abs(moments[near] - moments[queries, None]) <= window] = np.inf
        rows, nearest = np.arange(len(queries)), distances.argmin(1)
        distance = distances[rows, nearest]
        apart = np.linalg.norm(after[near[rows, nearest]] - after[queries], axis=1)
        known = np.isfinite(distance)
        if not known.any():
            break
        false = (apart > STRETCH * distance) | (np.hypot(apart, distance) > SPREAD * deviation)
        shares.append(false[known].mean())
    return np.array(shares)


def least_dimension(shares: np.ndarray) -> int:
    """Find the first dimension with hardly more false neighbors than the best one; 1 if nothing is known."""
    return 1 + int(np.argmax(shares <= shares.min() + TOLERANCE)) if len(shares) else 1


def embedding_dimension(shares: np.ndarray) -> int:
    """Find how many delays embed an attractor: 2 m - 1 of the least dimension m that tells its states apart, but no
    more than orbits are long enough for."""
    return min(2 * least_dimension(shares) - 1, len(shares) + 1)
