"""Rings: the states at a distance between two radii, from which neighbors are drawn anew for every batch.

Nearest neighbors are the same in every step of a training, and say the same in each. A ring has hundreds of members,
far enough for their displacements to stand out of the noise; what one draw does not show another one does. Candidates
are found once, at random among all members, and stored; which of them are neighbors in a step is decided there
(:mod:`nearorbit.training.draws`).

Members are not looked for but met: all states pass by in one random order, and an anchor takes what is in its ring,
until it has as many candidates as it is to have, or has seen all. For an anchor that takes as long among millions of
states as among thousands. Anchors go in groups, drawn at random too, and each group begins elsewhere in the order.

References:
    | Watch your neighbors: Training statistically accurate chaotic systems with local phase space information (Ko,
      Giraldo and Lee, arXiv 2605.14405, 2026): rings from 0.6 to 0.8 deviations, of which 30 members are drawn
"""

import numpy as np

from nearorbit.data.search import between, blank, chunks
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.study.seeds import generator

MET = 2048  # states that pass by at once
GROUP = 256  # anchors that they pass by together


def ring(
    states: np.ndarray,
    *,
    count: int,
    least: int,
    window: int,
    ahead: int,
    behind: int = 0,
    inner: float,
    outer: float,
    anchors: np.ndarray | None = None,
    clock: Clock | None = None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw candidates from the rings around the states of some orbits, each member of a ring being as likely.

    Arguments:
        states: Orbits, with shape (O, T, D).
        count: The number of candidates, K.
        least: How many an anchor has to have so that its neighbors can be drawn from them.
        window: The Theiler window, in samples: members of the same orbit are more than this apart in time.
        ahead: How many samples must follow a state and its members.
        behind: How many samples must precede them; the distance is that of the states so much earlier.
        inner: The least distance of a member.
        outer: The largest distance of a member.
        anchors: The positions in the flattened (O, T), with shape (A,), that they are drawn for; all if not given.
        clock: When the samples were taken, see :func:`nearorbit.data.neighbors.nearest`.
        seed: The seed of the random numbers.

    Returns:
        Indices into the flattened (O, T) and distances, both with shape (A, K), in a random order; -1 and NaN beyond
        the last member, and in the rows of states that fewer than ``ahead`` samples follow or fewer than ``behind``
        precede. Of more than a million states int32 and float32.

    Raises:
        StudyError: If no state has so many samples around it, or none has ``least`` members.
    """
    orbits, samples, dimension = states.shape
    clock = clock or Clock((1, orbits, samples))
    points, (moment,) = states.reshape(-1, dimension), clock.line(window)
    starts = between(clock, behind=behind, ahead=ahead)
    anchors = np.arange(len(points)) if anchors is None else anchors
    index, distance = blank(len(anchors), count, states=len(points))
    stream = generator("ring", seed)
    passing, found = stream.permutation(starts), np.zeros(len(anchors), int)
    at, squares = points[passing - behind], np.square(points[passing - behind]).sum(1)
    for group in chunks(stream.permutation(np.flatnonzero(np.isin(anchors, starts))), GROUP):
        first = stream.integers(len(starts))
        for seen in range(0, len(starts), MET):
            turns = (first + np.arange(seen, min(seen + MET, len(starts)))) % len(starts)
            here = points[anchors[group] - behind]
            apart = np.square(here).sum(1)[:, None] + squares[turns] - 2 * here @ at[turns].T
            row, turn = np.nonzero((inner**2 <= apart) & (apart <= outer**2))
            there = passing[turns[turn]]
            met = abs(moment[anchors[group[row]]] - moment[there]) > window
            met &= clock.lasts(anchors[group[row]], there, ahead)
            row, there, apart = row[met], there[met], apart[row[met], turn[met]]
            # They come row by row: each row's first one is where all of the rows before end.
            counts = np.bincount(row, minlength=len(group))
            place = found[group[row]] + np.arange(len(row)) - (counts.cumsum() - counts)[row]
            wanted = place < count
            into = group[row[wanted]], place[wanted]
            index[into], distance[into] = there[wanted], np.sqrt(apart[wanted])
            found[group] = np.minimum(found[group] + counts, count)
            group = group[found[group] < count]
            if not len(group):
                break
    if (most := found.max()) < least:
        raise StudyError(
            f"no state of seed {seed} has {least} others at distances from {inner:g} to {outer:g} outside its "
            f"Theiler window of {window} samples, the most are {most}; ask for fewer (count), a wider ring (inner, "
            f"outer), a shorter window (theiler), or more data (data.*.samples, data.*.orbits)"
        )
    return index, distance
