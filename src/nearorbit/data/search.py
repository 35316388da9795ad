r"""The search for points that are near others, and what of an orbit counts once.

Moments of several orbits lie on one line of time (:meth:`nearorbit.study.clock.Clock.line`), on which an orbit begins
beyond the Theiler window after the one before: states that are within the window of one another are then those at a
distance of no more than the window.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.spatial import cKDTree

from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.study.files import MANY

TREE_DIMENSION = 15  # above, a k-d tree visits nearly all points and matrix products are faster
CHUNK = 1024  # states that are searched for at once, less where more than CANDIDATES are looked at
CANDIDATES = 2**18

Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def search(points: np.ndarray) -> Search:
    """Prepare to look for the nearest of some points: by a k-d tree, or by matrix products in many dimensions.

    Arguments:
        points: With shape (N, D).

    Returns:
        A function of queries with shape (Q, D) and a count K, from 1 to N, which returns the distances and the indices
        of the K points nearest to each query, from near to far, both with shape (Q, K). The products hold Q x N
        numbers: ask for some thousand queries at once, not for all.
    """
    return _tree(points) if points.shape[1] <= TREE_DIMENSION else _products(points)


def between(clock: Clock, *, behind: int, ahead: int) -> np.ndarray:
    """Find the states of flattened orbits (O, T) with so many samples behind and ahead of them; returns shape (S,).

    Raises:
        StudyError: If there are none.
    """
    (states,), _ = clock.starts(behind, ahead)
    if not len(states):
        orbits = (
            f"orbits of {clock.shape[2]}" if clock.even else f"a row; at most {clock.longest()} have no gap in them"
        )
        raise StudyError(f"no state has {behind} samples behind and {ahead} ahead of it in {orbits}")
    return states


def blank(rows: int, count: int, *, states: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a table of indices and distances without entries, -1 and NaN, with shape (rows, K); of more than a million
    states in int32 and float32."""
    single = states > MANY
    index = np.full((rows, count), -1, np.int32 if single else np.int64)
    return index, np.full((rows, count), np.nan, np.float32 if single else np.float64)


def one_per_pass(moments: np.ndarray, admissible: np.ndarray, *, window: int, count: int) -> np.ndarray:
    """Keep one of the states that are a single pass of an orbit: those within a window of one another in time.

    Arguments:
        moments: When candidates are, from near to far, with shape (B, N); see :func:`moments`.
        admissible: Which of them may be chosen at all, with shape (B, N).
        window: The Theiler window, in samples.
        count: How many to choose, K.

    Returns:
        Which are chosen, with shape (B, N): the nearest, and then again and again the nearest that is within the window
        of none that is chosen; K of them, or fewer where there are no more.
    """
    left, chosen = admissible.copy(), np.zeros_like(admissible)
    rows = np.arange(len(left))
    for _ in range(count):
        first = left.argmax(1)
        chosen[rows, first] |= left[rows, first]
        left &= abs(moments - moments[rows, first, None]) > window
    return chosen


def chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut an array into pieces."""
    return (rows[i : i + size] for i in range(0, len(rows), size))


def _tree(points: np.ndarray) -> Search:
    tree = cKDTree(points)
    return lambda queries, count: tree.query(queries, k=np.arange(1, count + 1))


def _products(points: np.ndarray) -> Search:
    squares = np.einsum("nd,nd->n", points, points)

    def find(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        # |q|^2 is left out: it changes no order. What the products cancel is computed again for the few that are kept.
        closeness = squares - 2 * queries @ points.T
        near = np.argpartition(closeness, count - 1, axis=1)[:, :count]
        distances = np.linalg.norm(points[near] - queries[:, None], axis=-1)
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, 1), np.take_along_axis(near, order, 1)

    return find
