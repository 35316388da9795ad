r"""Neighbors in phase space.

The neighbors of an observed state :math:`x_i` are observed states close to it in standardized coordinates that are no
part of its own recent past or future: within an orbit they are more than a Theiler window away in time; states of other
orbits all qualify. How the displacement of a neighbor evolves *is* the tangent dynamics, as far as it is linear.

Which of them say most about it is a trade-off: far ones are beyond the linear, and the displacements of near ones are
mostly noise. There are three selections,

============  =========================================================================================
``nearest``   the K nearest
``shell``     the K nearest that are at a distance from ``inner`` to ``outer``
``spread``    K of the nearest (within the shell, if there is one) whose directions differ most: the nearest, and
              then again and again the one whose largest :math:`|\cos|` with those chosen is least
============  =========================================================================================

Neighbors that follow one another in time say the same thing several times: with ``one_per_pass`` only the nearest of
each pass of an orbit is one, the others being within the Theiler window of it. And a shell from which members are drawn
anew for every batch (``draw: batch``) is a *ring*, see :mod:`nearorbit.data.rings`.

and two ways around the noise, which make neighbors out of states that are close only as observed: to choose among
smoothing splines of the orbits, and to choose among the states ``behind`` samples earlier, :math:`|x_{j-m} - x_{i-m}|`
instead of :math:`|x_j - x_i|`, whose noise is independent of that of the displacements now. (It is not if both are
combined: a spline carries noise along.)

Time and memory grow with the number of states that neighbors are found *for*. Among millions that is a number of
*anchors*, drawn at random; their neighbors are those that they have in the table of all states.

It is one module since the selections share one search.

References:
    | Spurious dimension from correlation algorithms applied to limited time-series data (Theiler, Physical Review A,
      1986)
"""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data import smoothing
from nearorbit.data.rings import ring
from nearorbit.data.search import CANDIDATES, CHUNK, between, blank, chunks, one_per_pass, search
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.study.seeds import generator
from nearorbit.study.selection import UNEVEN, Selection

SPARE = 16  # candidates asked for beyond the neighbors wanted; few points have more of them within the Theiler window
PASS = 3  # states of one pass among the nearest, about


def neighbors(observations: xr.Dataset, *, ahead: int = 5, **settings) -> xr.Dataset:
    """Find neighbors of every observed training state that a segment can start from, or of some drawn among them.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.data.observations.observe`.
        ahead: How many samples must follow a state, and each of its neighbors, within its orbit.
        settings: Those of :class:`nearorbit.study.selection.Selection`.

    Returns:
        ``index`` (seed, point, neighbor): neighbors as positions in the flattened (orbit, time), the same numbering as
        ``point``, from near to far, or with ``spread`` as they were chosen; -1 for states that fewer than ``ahead``
        samples follow or fewer than ``behind`` precede. Of a ring they are the candidates, in a random order, and -1
        beyond the last one. ``distance`` of the same shape, in standardized coordinates,
        between the states that were compared (so smoothed or earlier ones); NaN there. Of more than a million states
        of a seed, indices are int32 and distances float32. With ``anchors`` there are only their rows, and ``anchor``
        (seed, point) are their positions, which ascend. The settings are attributes, and ``window`` is the Theiler
        window in samples.

    Raises:
        StudyError: If a setting is out of range, a state has too few admissible neighbors (of a ring, all states), or
            there are fewer states than anchors.
    """
    try:
        selection = Selection(**settings)
    except (TypeError, ValueError) as error:
        raise StudyError(f"neighbors: {error}") from None
    window = int(np.ceil(selection.theiler * float(observations["period"]) / float(observations["step"])))
    states = ((observations["train"] - observations["mean"]) / observations["scale"]).transpose(
        "seed", "orbit", "time", "component"
    )
    seeds, clock = observations["seed"].to_numpy(), Clock.of(observations)
    if selection.behind and not clock.even:
        raise StudyError(f"neighbors: {UNEVEN}")
    clocks = [clock[member : member + 1] for member in range(len(seeds))]
    drawn = [_anchors(int(seed), selection, of, ahead) for seed, of in zip(seeds, clocks, strict=True)]
    given = zip(seeds, states.to_numpy(), drawn, clocks, strict=True)
    found = [_selected(int(seed), orbits, of, selection, window, ahead, when) for seed, orbits, of, when in given]
    index, distance = (np.stack(arrays) for arrays in zip(*found, strict=True))
    dimensions = ("seed", "point", "neighbor")
    rows = {} if selection.anchors is None else {"anchor": (dimensions[:2], np.stack(drawn).astype(index.dtype))}
    # NetCDF has neither booleans nor None.
    recorded = {k: int(v) if isinstance(v, bool) else v for k, v in asdict(selection).items() if v is not None}
    return xr.Dataset(
        {
            "index": (dimensions, index),
            "distance": (dimensions, distance),
            **rows,
            "fingerprint": observations["fingerprint"],
        },
        coords={"seed": observations["seed"]},
        attrs={**observations.attrs, **recorded, "window": window, "ahead": ahead},
    )


def _anchors(seed: int, selection: Selection, clock: Clock, ahead: int) -> np.ndarray:
    """The positions of the states that neighbors are found for, all or as many as are asked for; they ascend."""
    if selection.anchors is None:
        return np.arange(clock.shape[1] * clock.shape[2])
    (starts,), _ = clock.starts(selection.behind, ahead)
    if selection.anchors > len(starts):
        raise StudyError(
            f"neighbors: {selection.anchors} anchors are more than the {len(starts)} states of seed {seed} that can "
            f"begin a segment; ask for fewer (anchors), leave them out for all states, or ask for more data"
        )
    return np.sort(generator("anchors", seed).choice(starts, selection.anchors, replace=False, shuffle=False))


def _selected(
    seed: int, states: np.ndarray, anchors: np.ndarray, selection: Selection, window: int, ahead: int, clock: Clock
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and distances of the neighbors of anchors (A) in orbits (O, T, D); see :func:`nearest`."""
    if selection.smoothed:
        (states,) = clock.each(partial(smoothing.smoothed, refinement=1), states[None])
    wanted: dict[str, Any] = {"count": min(selection.pool, states.shape[0] * states.shape[1]), "least": selection.count}
    around: dict[str, Any] = {
        "window": window,
        "ahead": ahead,
        "behind": selection.behind,
        "anchors": anchors,
        "clock": clock,
    }
    around |= {"inner": selection.inner, "outer": selection.farthest}
    if selection.draw == "batch":
        return ring(states, **wanted, **around, seed=seed)
    index, distance = nearest(states, **wanted, **around, passes=selection.one_per_pass)
    if selection.selection != "spread":
        return index, distance
    points = states.reshape(-1, states.shape[-1])
    chosen = np.zeros((len(index), selection.count), index.dtype)
    for rows in chunks(np.flatnonzero(index[:, 0] >= 0), CHUNK):
        displacements = points[index[rows] - selection.behind] - points[anchors[rows] - selection.behind, None]
        displacements[index[rows] < 0] = np.nan
        chosen[rows] = spread(displacements, selection.count)
    return np.take_along_axis(index, chosen, 1), np.take_along_axis(distance, chosen, 1)


def nearest(
    states: np.ndarray,
    *,
    count: int,
    least: int | None = None,
    window: int,
    ahead: int,
    behind: int = 0,
    inner: float = 0.0,
    outer: float = np.inf,
    past: int = 0,
    anchors: np.ndarray | None = None,
    passes: bool = False,
    clock: Clock | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest neighbors of the states of some orbits; exact.

    Arguments:
        states: Orbits, with shape (O, T, D).
        count: The number of neighbors, K.
        least: How many a state has to have, K if not given.
        window: The Theiler window, in samples: neighbors of the same orbit are more than this apart in time.
        ahead: How many samples must follow a state and its neighbors.
        behind: How many samples must precede them; the distance is that of the states so much earlier.
        inner: The least distance of a neighbor.
        outer: The largest distance of a neighbor.
        past: How many samples must precede them, too, whichever are compared.
        anchors: The positions in the flattened (O, T), with shape (A,), that they are found for; all if not given.
        passes: Whether only the nearest of each pass of an orbit counts, see
            :func:`nearorbit.data.search.one_per_pass`.
        clock: When the samples were taken; at equal intervals if not given. At uneven times samples follow within a
            run, a Theiler window is that many sample intervals, and as much time follows a neighbor as the state.

    Returns:
        Indices into the flattened (O, T) and distances, both with shape (A, K); -1 and NaN in the rows of states that
        fewer than ``ahead`` samples follow or fewer than ``behind`` precede, and beyond the last neighbor. Of more than
        a million states int32 and float32.

    Raises:
        StudyError: If no state has so many samples around it, or one has fewer than ``least`` admissible neighbors.
    """
    least = count if least is None else least
    orbits, samples, dimension = states.shape
    clock = clock or Clock((1, orbits, samples))
    points, (moment,) = states.reshape(-1, dimension), clock.line(window)
    starts = between(clock, behind=max(behind, past), ahead=ahead)
    find = search(points[starts - behind])
    anchors = np.arange(len(points)) if anchors is None else anchors
    index, distance = blank(len(anchors), count, states=len(points))
    rows, asked = np.flatnonzero(np.isin(anchors, starts)), (PASS if passes else 1) * count + SPARE
    while len(rows):
        asked = min(asked, len(starts))
        starved = []
        for chunk in chunks(rows, min(CHUNK, CANDIDATES // asked + 1)):
            here = anchors[chunk][:, None]
            distances, near = find(points[here[:, 0] - behind], asked)
            there = starts[near]
            admissible = abs(moment[here] - moment[there]) > window
            admissible &= (inner <= distances) & (distances <= outer)
            admissible &= clock.lasts(here, there, ahead)
            if passes:
                admissible = one_per_pass(moment[there], admissible, window=window, count=count)
            found = admissible.sum(1)
            exhausted = (distances[:, -1] > outer) | (asked == len(starts))
            if (few := exhausted & (found < least)).any():
                first = few.argmax()
                number, state = divmod(int(here[first, 0]), samples)
                raise StudyError(_starvation(number, state, found[first], least, window, inner, outer, passes))
            # A stable sort brings the admissible candidates to the front and keeps their order of distance.
            chosen = np.argsort(~admissible, axis=1, kind="stable")[:, :count]
            present = np.take_along_axis(admissible, chosen, 1)
            done = exhausted | (found >= count)
            fed, width = chunk[done], chosen.shape[1]
            index[fed, :width] = np.where(present, np.take_along_axis(there, chosen, 1), -1)[done]
            distance[fed, :width] = np.where(present, np.take_along_axis(distances, chosen, 1), np.nan)[done]
            starved.append(chunk[~done])
        rows = np.concatenate(starved)
        asked *= 4
    return index, distance


def spread(displacements: np.ndarray, count: int) -> np.ndarray:
    r"""Choose displacements whose directions differ: each has the least largest :math:`|\cos|` with those before it.

    Arguments:
        displacements: From near to far, with shape (B, N, D); NaN where there is none.
        count: How many to choose, K, at most as many as there are.

    Returns:
        The positions of the chosen ones, in the order of choice, with shape (B, K). The nearest is the first, and of
        equals the nearer is chosen; one of length zero has no direction, and is chosen last.
    """
    lengths = np.linalg.norm(displacements, axis=-1, keepdims=True)
    directions = np.divide(displacements, lengths, out=np.zeros_like(displacements), where=lengths > 0)
    largest = np.select([lengths > 0, lengths == 0], [0.0, 1.0], np.inf)[..., 0]
    rows = np.arange(len(displacements))
    chosen = np.empty((len(displacements), count), int)
    for k in range(count):
        chosen[:, k] = largest.argmin(1)
        cosines = np.einsum("bnd,bd->bn", directions, directions[rows, chosen[:, k]])
        largest = np.maximum(largest, abs(cosines))
        largest[rows, chosen[:, k]] = np.inf
    return chosen


def _starvation(
    orbit: int, state: int, found: int, count: int, window: int, inner: float, outer: float, passes: bool
) -> str:
    bounded = inner > 0 or outer < np.inf
    distances = f" at distances from {inner:g} to {outer:g}" if bounded else ""
    wider = " a wider shell (inner, outer)," if bounded else ""
    apart = ", each of another pass," if passes else ""
    return (
        f"state {state} of orbit {orbit} needs {count} neighbors{apart} outside its Theiler window of {window} samples"
        f"{distances} and has {found}; ask for fewer (count), a shorter window (theiler),{wider} "
        f"or more data (data.*.samples, data.*.orbits)"
    )
