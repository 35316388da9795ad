r"""Jacobians and Lyapunov exponents from data alone: linear fits to how the displacements of neighbors evolve.

Neighbors :math:`x_j` of a state x, seen again a time h later, tell the flow map :math:`\Phi_h` around it,

.. math::
    x_j' - x' = A \, (x_j - x) + \tfrac{1}{2} T[x_j - x, x_j - x] + \dots, \qquad
    A = D\Phi_h(x) = \exp(h \bar{J}),

where :math:`\bar{J}` is the Jacobian of the field, averaged over the piece of orbit from x to x' up to terms in h².
Least squares give A, and A gives :math:`\bar{J} = \log(A) / h`, or :math:`(A - I) / h` to first order. The product of
the A along an orbit gives the Lyapunov exponents.

*Where samples are missing or moved* the smoothing splines of the orbits take their place, at equal intervals from the
first sample of each run on, as far as it lasts. A fit asks for no more than the next of these; exponents are those
along the longest run, and blank if it is shorter than :data:`LONG` periods. It is one module since all estimators are
one fit, with one search.

*Three errors.* A linear fit is off by the curvature of the flow over the neighborhood, and most in the directions
across a thin attractor, in which neighbors differ by hardly more than that curvature: quadratic terms take it up, or a
ridge gives those directions up. :math:`\bar{J}` belongs to the middle of the piece and is off by h/2 of its change: two
fits to the same displacements, h ahead and h back, make a map :math:`A_+ A_-^{-1} = \exp(2 h \bar{J})` around x. And
noise in the displacements that are regressed *on* pulls a map toward zero. It pulls both fits alike and cancels in
:math:`A_+ A_-^{-1}`, for which the displacements at x are what is called an instrument; directions in which there is
little but noise stay unknown all the same.

References:
    | Ergodic theory of chaos and strange attractors (Eckmann and Ruelle, Rev. Mod. Phys. 1985)
    | Liapunov exponents from time series (Eckmann, Kamphorst, Ruelle and Ciliberto, Phys. Rev. A 1986)
    | Measurement of the Lyapunov spectrum from a chaotic time series (Sano and Sawada, Phys. Rev. Lett. 1985)
"""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from nearorbit.data.local_maps import flow_maps
from nearorbit.data.neighbors import nearest
from nearorbit.data.search import search
from nearorbit.data.smoothing import evenly
from nearorbit.dynamics.lyapunov import standard_error
from nearorbit.study.clock import Clock

CONDITION = 1e8  # of eigenvectors, beyond which a logarithm loses half of the digits
SETTLING = 0.1  # the share of an orbit in which tangents find their directions
LARGEST = 500  # neighbors; an estimator that needs more is hopeless, and slow
LONG = 10  # periods of a run, without which there are no exponents where samples are missing or moved
NUMBERS = 2**22  # in the features of the fits that are solved side by side


@dataclass(frozen=True)
class Estimator:
    """How the flow map around a state is fitted to its neighbors.

    Arguments:
        degree: 1 for a linear fit, 2 with all quadratic monomials.
        constant: Whether a constant is fitted. Without, displacements are those from an observed state to its
            neighbors, and a state that was not observed has the Jacobian of the nearest one that was.
        ridge: The pull toward the identity, see :func:`flow_maps`.
        cautious: Whether directions are given up in which displacements are small against the residuals, see there.
        multiple: Neighbors per coefficient of a component of the map.
        spare: Neighbors beyond the coefficients, at most; None for no such bound.
        radius: The radius of a ball beyond which neighbors do not count, relative to the root mean square distance of
            the data from their mean; it grows until there are twice as many as coefficients. None for no ball.
        ahead: The number of samples from a state to its image.
        centered: Whether the map is that from ``ahead`` samples before a state to ``ahead`` samples after it.
        logarithm: Whether the Jacobian is the matrix logarithm of the map, or its first order.
    """

    degree: int = 1
    constant: bool = True
    ridge: float = 0.0
    cautious: bool = False
    multiple: float = 8.0
    spare: int | None = None
    radius: float | None = None
    ahead: int = 1
    centered: bool = False
    logarithm: bool = True

    @property
    def span(self) -> int:
        """The number of samples from where the map starts to where it ends."""
        return 2 * self.ahead if self.centered else self.ahead

    def coefficients(self, dimension: int) -> int:
        """Count the coefficients of each component of the map."""
        return self.constant + dimension + (self.degree == 2) * dimension * (dimension + 1) // 2

    def count(self, dimension: int) -> int:
        """Count the neighbors, those that a ball may leave out included."""
        coefficients = self.coefficients(dimension)
        count = int(np.ceil(self.multiple * coefficients))
        return count if self.spare is None else min(count, coefficients + self.spare)


_QUADRATIC = Estimator(degree=2, multiple=3.0)
ESTIMATORS = {
    # The first two are as in the papers as far as these go with all components observed: no delays, no companion
    # matrices; and neighbors are Euclidean and outside a Theiler window. In the papers the maps serve exponents alone.
    # Eckmann et al.: min(2 D, D + 4) neighbors, a linear map without constant over several samples, exponents by QR.
    "eckmann_ruelle": Estimator(constant=False, multiple=2, spare=4, ahead=2),
    # Sano and Sawada: the neighbors in a small ball, a linear map without constant, least squares.
    "sano_sawada": Estimator(constant=False, multiple=16, radius=0.05, logarithm=False),
    "linear_first_order": Estimator(logarithm=False),
    "linear": Estimator(),
    "linear_ridge": Estimator(ridge=0.03),
    "quadratic": _QUADRATIC,
    "quadratic_centered": replace(_QUADRATIC, centered=True),
    "quadratic_cautious": replace(_QUADRATIC, centered=True, cautious=True),
}


def generators(maps: np.ndarray, step: float, *, logarithm: bool = True) -> np.ndarray:
    r"""Take maps of the flow over a step for exponentials of the Jacobian of the field, :math:`A = \exp(h J)`.

    Arguments:
        maps: The maps A, with shape (*, D, D).
        step: The step h.
        logarithm: Whether :math:`J = \log(A) / h`, the principal logarithm, or :math:`(A - I) / h`, with an error of
            order h. It is of first order all the same where an eigenvalue of A lies on the closed negative real axis,
            where there is no principal logarithm, and where the eigenvectors are ill conditioned (above 1e8).

    Returns:
        The Jacobians J, per unit of the time of the step, with shape (*, D, D); NaN where A is not finite.
    """
    first = (maps - np.eye(maps.shape[-1])) / step
    if not logarithm:
        return first
    finite = np.isfinite(maps).all((-1, -2), keepdims=True)
    values, vectors = np.linalg.eig(np.where(finite, maps, np.eye(maps.shape[-1])))
    values, vectors = values.astype(complex), vectors.astype(complex)
    cut = ((values.imag == 0) & (values.real <= 0)).any(-1)
    usable = finite[..., 0, 0] & ~cut & (np.linalg.cond(vectors) < CONDITION)
    vectors = np.where(usable[..., None, None], vectors, np.eye(maps.shape[-1]))
    logs = vectors * np.log(np.where(usable[..., None], values, 1.0))[..., None, :] @ np.linalg.inv(vectors)
    return np.where(usable[..., None, None], logs.real / step, first)


def exponents(maps: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the Lyapunov exponents of products of maps along orbits.

    The first tenth of each orbit is left to the tangents, to find their directions. Short orbits are biased, and their
    standard errors know only of scatter along the orbit, not of errors of the maps.

    Arguments:
        maps: The maps of S orbits, each from where the one before it ends, with shape (*, S, T, D, D).
        step: The time that each map spans.

    Returns:
        The exponents, descending, averaged over the orbits, and their standard errors, both with shape (*, D) and per
        unit of the time of the step; NaN where a map is not finite.
    """
    *groups, samples, dimension, _ = maps.shape
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((dimension, dimension)))[0]
    tangents, growth = np.broadcast_to(basis, (*groups, dimension, dimension)), []
    for time in range(samples):
        tangents, R = np.linalg.qr(maps[..., time, :, :] @ tangents)
        growth.append(np.log(np.abs(np.diagonal(R, axis1=-2, axis2=-1))))
    history = np.stack(growth[int(SETTLING * samples) :]) / step
    rates, stderr = history.mean((0, -2)), standard_error(history)
    order = np.argsort(-rates, axis=-1)
    return np.take_along_axis(rates, order, -1), np.take_along_axis(stderr, order, -1)


def estimate(observations: xr.Dataset, truth: xr.Dataset, *, theiler: float) -> xr.Dataset:
    """Estimate Jacobians at unseen states, and Lyapunov exponents, from the training observations alone.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.data.observations.observe`.
        truth: What has the unseen states, ``points`` (seed, point, component) in system units; nothing else of it is
            used but its coordinates.
        theiler: The Theiler window between observed states, in periods of the system, see
            :mod:`nearorbit.data.neighbors`. Unseen states belong to no orbit and have none.

    Returns:
        ``jacobian`` (estimator, seed, point, component, direction), in system units; ``exponents`` and ``stderr``
        (estimator, seed, exponent); all per unit of system time. NaN where an estimator needs more neighbors than there
        are, or more than 500. ``fingerprint`` (seed) is that of the observations.
    """
    step = float(observations["step"])
    window = int(np.ceil(theiler * float(observations["period"]) / step))
    mean, scale = (observations[name].transpose("seed", "component").to_numpy() for name in ("mean", "scale"))
    states = observations["train"].transpose("seed", "orbit", "time", "component").to_numpy()
    points = truth["points"].transpose("seed", "point", "component").to_numpy()
    states, points = (states - mean[:, None, None]) / scale[:, None, None], (points - mean[:, None]) / scale[:, None]
    clock, period = Clock.of(observations), float(observations["period"])
    members = [(orbits[None], clock[member : member + 1]) for member, orbits in enumerate(states)]
    if not clock.even:
        members = [evenly(*member) for member in members]
    shortest = 0 if clock.even else LONG * period / step
    found = [
        [
            _estimate(estimator, *member, queries, step=step, window=window, shortest=shortest)
            for member, queries in zip(members, points, strict=True)
        ]
        for estimator in ESTIMATORS.values()
    ]
    jacobian, spectra, stderr = (np.array([[seed[i] for seed in seeds] for seeds in found]) for i in range(3))
    jacobian *= scale[:, None, :, None] / scale[:, None, None, :]
    names = ("seed", "point", "component", "direction", "exponent")
    return xr.Dataset(
        {
            "jacobian": (("estimator", *names[:4]), jacobian, {"units": "1 / system time"}),
            "exponents": (("estimator", "seed", "exponent"), spectra, {"units": "1 / system time"}),
            "stderr": (("estimator", "seed", "exponent"), stderr, {"units": "1 / system time"}),
            "fingerprint": observations["fingerprint"],
        },
        coords={"estimator": list(ESTIMATORS)} | {name: truth[name] for name in names if name in truth.coords},
        attrs={**observations.attrs, "theiler": theiler, "window": window},
    )


def _estimate(
    estimator: Estimator,
    states: np.ndarray,
    clock: Clock,
    queries: np.ndarray,
    *,
    step: float,
    window: int,
    shortest: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Jacobians (Q, D, D) at queries (Q, D), exponents (D) and their errors (D), from orbits (1, O, T, D)."""
    dimension, count = states.shape[-1], estimator.count(states.shape[-1])
    # States that have a past and a future, what follows them, and what comes before.
    past, unknown = estimator.span - estimator.ahead, np.full(dimension, np.nan)
    (here,), _ = clock.starts(past, estimator.ahead)
    if not len(here) or count > min(LARGEST, len(here) - 2 * window - 1):
        return np.full((*queries.shape, dimension), np.nan), unknown, unknown
    flat = states.reshape(-1, dimension)
    index, _ = nearest(states[0], count=count, window=window, clock=clock, ahead=estimator.ahead, past=past)
    pieces = np.stack([np.roll(flat, -shift, 0) for shift in (0, estimator.ahead, -past)])
    time = estimator.span * step

    along = _chains(clock, estimator)
    spectrum, stderr = unknown, unknown
    if along.shape[1] * estimator.span >= shortest:
        maps = _maps(estimator, pieces, index[along.ravel()], pieces[:, along.ravel()])
        spectrum, stderr = exponents(maps.reshape(*along.shape, dimension, dimension), time)

    find = search(flat[here])
    if estimator.constant:
        index, origins = here[find(queries, count)[1]], np.stack([queries] * 3)
    else:
        observed = here[find(queries, 1)[1][:, 0]]
        index, origins = index[observed], pieces[:, observed]
    maps = _maps(estimator, pieces, index, origins)
    return generators(maps, time, logarithm=estimator.logarithm), spectrum, stderr


def _chains(clock: Clock, estimator: Estimator) -> np.ndarray:
    """The positions of states whose maps follow one another, from the beginnings of the longest runs on, (S, M)."""
    past = estimator.span - estimator.ahead
    (here,), _ = clock.starts(past, estimator.ahead)
    begins = here[clock.behind.reshape(-1)[here] == past]
    lengths = clock.ahead.reshape(-1)[begins] - estimator.ahead + 1
    return begins[lengths == lengths.max(), None] + np.arange(0, lengths.max(), estimator.span)


def _maps(estimator: Estimator, pieces: np.ndarray, index: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Fit maps (Q, D, D) to the neighbors (Q, K) of origins (3, Q, D) among pieces of orbits (3, N, D)."""
    points, count = index.shape
    rows = max(1, NUMBERS // (count * estimator.coefficients(pieces.shape[-1])))
    chunks = [slice(i, i + rows) for i in range(0, points, rows)]
    return np.concatenate([_fit(estimator, pieces[:, index[c]] - origins[:, c, None]) for c in chunks])


def _fit(estimator: Estimator, displacements: np.ndarray) -> np.ndarray:
    """Fit maps (Q, D, D) to displacements at a state, after it and before it, (3, Q, K, D), from near to far."""
    dimension = displacements.shape[-1]
    if estimator.radius is not None:
        # Displacements of zero say nothing, without a constant.
        inside = np.linalg.norm(displacements[0], axis=-1) <= estimator.radius * np.sqrt(dimension)
        inside[:, : 2 * estimator.coefficients(dimension)] = True
        displacements = displacements * inside[..., None]
    now, later, earlier = displacements
    settings = {name: getattr(estimator, name) for name in ("degree", "ridge", "constant", "cautious")}
    ahead = flow_maps(now, later, **settings)
    return ahead @ np.linalg.inv(flow_maps(now, earlier, **settings)) if estimator.centered else ahead
