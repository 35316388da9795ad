r"""Nearest neighbors in phase space.

The neighbors of an observed state :math:`x_i` are the observed states closest to it in standardized coordinates that
are no part of its own recent past or future: within an orbit they are at least a Theiler window away in time; states of
other orbits all qualify. How the displacement of a neighbor evolves *is* the tangent dynamics, as far as it is linear.

References:
    | Spurious dimension from correlation algorithms applied to limited time-series data (Theiler, Physical Review A,
      1986)
"""

from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

SPARE = 16  # candidates asked for beyond the neighbors wanted; few points have more of them within the Theiler window
TREE_DIMENSION = 15  # above, a k-d tree visits nearly all points and matrix products are faster
CHUNK = 1024

Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def neighbors(observations: xr.Dataset, *, count: int = 25, theiler: float = 0.5, ahead: int = 5) -> xr.Dataset:
    """Find the nearest neighbors of every observed training state that a segment can start from.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.observations.observe`.
        count: The number of neighbors, K.
        theiler: The Theiler window, in periods of the system.
        ahead: How many samples must follow a state, and each of its neighbors, within its orbit.

    Returns:
        ``index`` (seed, point, neighbor): neighbors from near to far as positions in the flattened (orbit, time), the
        same numbering as ``point``; -1 for states that fewer than ``ahead`` samples follow. ``distance`` of the same
        shape, in standardized coordinates; NaN there.

    Raises:
        ValueError: If a state has fewer than ``count`` admissible neighbors.
    """
    window = int(np.ceil(theiler * float(observations["period"]) / float(observations["step"])))
    states = ((observations["train"] - observations["mean"]) / observations["scale"]).transpose(
        "seed", "orbit", "time", "component"
    )
    found = [nearest(orbits, count=count, window=window, ahead=ahead) for orbits in states.to_numpy()]
    index, distance = (np.stack(arrays) for arrays in zip(*found, strict=True))
    dimensions = ("seed", "point", "neighbor")
    return xr.Dataset(
        {"index": (dimensions, index), "distance": (dimensions, distance), "fingerprint": observations["fingerprint"]},
        coords={"seed": observations["seed"]},
        attrs={**observations.attrs, "count": count, "theiler": theiler, "window": window, "ahead": ahead},
    )


def nearest(states: np.ndarray, *, count: int, window: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest neighbors of the states of some orbits; exact.

    Arguments:
        states: Orbits, with shape (O, T, D).
        count: The number of neighbors, K.
        window: The Theiler window, in samples: neighbors of the same orbit are more than this apart in time.
        ahead: How many samples must follow a state and its neighbors.

    Returns:
        Indices into the flattened (O, T) and distances, both with shape (O * T, K); -1 and NaN in the rows of states
        that fewer than ``ahead`` samples follow.

    Raises:
        ValueError: If a state has fewer than K admissible neighbors.
    """
    orbits, samples, dimension = states.shape
    time = np.tile(np.arange(samples), orbits)
    orbit = np.repeat(np.arange(orbits), samples)
    starts = np.flatnonzero(time < samples - ahead)
    points = states.reshape(-1, dimension)[starts]
    search = _tree(points) if dimension <= TREE_DIMENSION else _products(points)
    index = np.full((orbits * samples, count), -1)
    distance = np.full((orbits * samples, count), np.nan)
    rows, asked = np.arange(len(starts)), count + SPARE
    while len(rows):
        asked = min(asked, len(starts))
        starved = []
        for chunk in _chunks(rows):
            distances, near = search(points[chunk], asked)
            here, there = starts[chunk][:, None], starts[near]
            admissible = (orbit[here] != orbit[there]) | (abs(time[here] - time[there]) > window)
            enough = admissible.sum(1) >= count
            # A stable sort brings the admissible candidates to the front and keeps their order of distance.
            chosen = np.argsort(~admissible, axis=1, kind="stable")[:, :count]
            fed = starts[chunk[enough]]
            index[fed] = np.take_along_axis(there, chosen, 1)[enough]
            distance[fed] = np.take_along_axis(distances, chosen, 1)[enough]
            starved.append(chunk[~enough])
        rows = np.concatenate(starved)
        if len(rows) and asked == len(starts):
            raise ValueError(_starvation(starts[rows[0]], samples, count, window, len(starts)))
        asked *= 4
    return index, distance


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK))


def _tree(points: np.ndarray) -> Search:
    tree = cKDTree(points)
    return lambda queries, count: tree.query(queries, k=np.arange(1, count + 1))


def _products(points: np.ndarray) -> Search:
    squares = np.einsum("nd,nd->n", points, points)

    def search(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        # |q|^2 is left out: it changes no order. What the products cancel is computed again for the few that are kept.
        closeness = squares - 2 * queries @ points.T
        near = np.argpartition(closeness, count - 1, axis=1)[:, :count]
        distances = np.linalg.norm(points[near] - queries[:, None], axis=-1)
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, 1), np.take_along_axis(near, order, 1)

    return search


def _starvation(point: int, samples: int, count: int, window: int, starts: int) -> str:
    return (
        f"state {point % samples} of orbit {point // samples} has fewer than {count} neighbors among {starts} states "
        f"outside its Theiler window of {window} samples; ask for fewer neighbors (neighbors.count), a shorter window "
        f"(neighbors.theiler) or more data (data.*.samples, data.*.orbits)"
    )
