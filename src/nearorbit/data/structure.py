r"""What there is to learn in a series, told without training: by forecasts from its nearest neighbors.

The future of a state is taken to be the mean of those of its K nearest neighbors in the same series, outside the
Theiler window: the simple nonlinear prediction, which knows no model. Its error over the lead h is

.. math:: e(h)^2 = \Big\langle \Big\| x_{t+h} - \frac{1}{K} \sum_{j} x_{t_j+h} \Big\|^2 \Big\rangle_t
    \Big/ \big\langle \| x - \bar x \|^2 \big\rangle ,

in standardized components; that of the climatology, the mean of all samples, is 1. Of states with delays it is the
error of what is seen now: of the rest the future is known for a while, even of white noise. Three questions follow.

*Is there anything to predict?* Not if the mean of e² over the first period is about 1, as it is of white noise.

*Is it more than a linear process?* The same error is found of surrogates (:mod:`nearorbit.data.surrogates`), which are
linear ones with the spectra of the series. If that of the series is below all of S surrogates, the hypothesis that it
is one of them is refused at the level :math:`1 / (S + 1)`; the rank gives p.

*Is it lost with time?* Of what is predicted over the first period, this share is lost over later ones,

.. math:: \ell = \frac{e_{\mathrm{far}}^2 - e_{\mathrm{near}}^2}{1 - e_{\mathrm{near}}^2} .

Noise on the samples raises both errors alike, and a cycle or torus loses nothing; chaos does. Where its phase goes on
as that of a cycle, as Rossler's, it loses little, but goes on losing, while the error of a torus has grown in the
second period to what it will be. So *regular* takes both: little lost, and no growth from the second and third period
to the last. The answers make the *character* of a series (:data:`CHARACTERS`).

*Missing samples, uneven times.* The series is read at equal intervals by linear interpolation, and so is each
surrogate: at the times at which the series was observed first, and then as the series was. Whatever that makes of a
series, it makes of both.

References:
    | Discrimination power of measures for nonlinearity in a time series (Schreiber and Schmitz, Phys. Rev. E 1997)
    | Testing for nonlinearity in time series: the method of surrogate data (Theiler et al., Physica D 1992)
"""

from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.delays import Delays
from nearorbit.data.neighbors import nearest
from nearorbit.data.smoothing import noise
from nearorbit.data.surrogates import joined
from nearorbit.data.surrogates import surrogates as randomized
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import PREFIXES, Clock
from nearorbit.study.sampling import shortened
from nearorbit.study.seeds import generator

NEIGHBORS = 8
LEADS = 16  # that are looked at in a period
FAR = 10  # periods, of which the last is far ahead
LEAST = 4  # periods, below which it cannot be told what is lost
LONGEST = 4096  # samples that are looked at
BRIDGED = 10  # sample intervals, that a gap is taken for at most
SHARE = 4  # a lead is at most this part of the series
UNPREDICTABLE = 0.95  # of the error of the climatology
LOST = 0.1  # of what is predicted: less is lost by no chaos but such whose phase is coherent
GROWTH = (
    1.5  # of the squared error: 4.1 for Rossler's x (c = 4.6) with 2 % noise and 1.6 with 10 %, at most 1.0 for tori
)
MIDDLE = 1, 3  # periods, from whose mean that is counted
SMALL = 0.1  # of the error of the climatology, far ahead: what grows to less is rounding
CHARACTERS = {  # of a series, in the order in which they are asked for
    "nothing": "its future is not predicted better than by its mean, nor than that of surrogates",
    "short": "no better predicted either, and too short for that to tell anything",
    "regular": "what is predicted of its future is as well predicted many periods ahead",
    "linear": "a linear stochastic process with its spectrum is predicted as well",
    "nonlinear": "more than a linear process, and too short to tell what is lost with time",
    "irregular": "more than a linear process, and its future is lost with time, as that of chaos is",
}


def structure(observations: xr.Dataset, *, label: str, theiler: float, surrogates: int = 99) -> xr.Dataset:
    """Tell what there is to learn in the longest training orbit of the first seed.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.data.observations.observe`; of more than
            4096 samples of an orbit the first ones are looked at.
        label: The label of the system, which names the random numbers.
        theiler: The Theiler window, in periods.
        surrogates: The number of surrogates S; the test has the level 1 / (S + 1).

    Returns:
        ``error`` (lead), that of the series, and ``surrogate_error`` (surrogate, lead), those of the surrogates, with
        ``lead`` in system time; ``near``, ``middle`` and ``far``, the root mean squares of the error over the first,
        the second and third, and the last period of the leads, ``p_value``, and the share that is ``lost``, NaN where
        nothing is predicted or the leads are shorter than four periods; ``noise`` (component), as its smoothing spline
        tells, relative to the deviation of the component; the ``level``; ``samples``, and the ``periods`` that they
        last; and the attribute ``character``.

    Raises:
        StudyError: If the orbit has too few samples for neighbors.
    """
    step, period = float(observations["step"]), float(observations["period"])
    states, times = longest(observations, "train", 0)
    series = evened(states, times)
    series = series[piece := joined(series)]  # like its surrogates, which need ends that are alike
    scale = np.where(series.std(0) > 0, series.std(0), 1.0)
    turn = max(1, round(period / step))
    ahead = max(1, min(FAR * turn, len(series) // SHARE))
    window = int(np.ceil(theiler * period / step))
    leads = np.arange(1, ahead + 1, max(1, turn // LEADS))
    settings: dict[str, Any] = {
        "leads": leads,
        "window": min(window, len(series) // SHARE),
        "now": Delays.now(observations),
    }
    try:
        level = noise(states, times)
        error = prediction_error(series / scale, **settings)
        made, begin = randomized(series, surrogates, generator("surrogates", label)), piece.start or 0
        seen = times[(times >= begin) & (times <= begin + len(series) - 1)] - begin
        others = [prediction_error(_seen(one, seen) / scale, **settings) for one in made]
    except (StudyError, ValueError) as failure:
        raise StudyError(
            f"systems.{label}: nothing can be told of orbits of {len(states)} samples: {failure}"
        ) from None
    first, last = leads <= turn, leads > ahead - turn
    middle = (leads > MIDDLE[0] * turn) & (leads <= MIDDLE[1] * turn)
    near, those = np.square(error[first]).mean(), np.square(np.array(others)[:, first]).mean(1)
    far = np.square(error[last]).mean()
    table = xr.Dataset(
        {
            "error": ("lead", error),
            "surrogate_error": (("surrogate", "lead"), np.array(others)),
            "near": near**0.5,
            "middle": np.square(error[middle]).mean() ** 0.5 if middle.any() else np.nan,
            "far": far**0.5,
            "p_value": (1 + np.count_nonzero(those <= near)) / (1 + surrogates),
            "lost": (far - near) / (1 - near) if near < 1 and ahead >= LEAST * turn else np.nan,
            "noise": ("component", level / np.where(level > 0, states.std(0), 1.0), {"units": "deviations"}),
            "level": 1 / (1 + surrogates),
            "samples": len(states),
            "periods": len(series) / turn,
        },
        coords={"lead": step * leads, "component": observations["component"]},
        attrs=dict(observations.attrs),
    )
    return table.assign_attrs(character=character(table))


def character(table: xr.Dataset) -> str:
    """Name the character of a series, of :data:`CHARACTERS`, from its ``near``, ``middle``, ``far``, ``p_value``,
    ``level``, ``lost`` and ``periods``."""
    steady = table["far"] < max(SMALL, GROWTH**0.5 * table["middle"])
    beaten = bool(table["p_value"] <= table["level"] * (1 + 1e-9))
    if not beaten and table["near"] >= UNPREDICTABLE:
        return "nothing" if table["periods"] >= SHARE * LEAST else "short"
    if table["lost"] < LOST and steady:
        return "regular"
    if not beaten:
        return "linear"
    return "nonlinear" if np.isnan(table["lost"]) else "irregular"


def recordings(observations: xr.Dataset, name: str, member: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """List the orbits of a seed, ``train`` or ``validation``: states (T, D) and the times of the samples, in intervals
    since the first, (T,)."""
    prefix, clock = PREFIXES[name], Clock.of(observations, name)
    states = observations[name].transpose("seed", f"{prefix}orbit", f"{prefix}time", "component").to_numpy()[member]
    if clock.times is None or clock.counts is None:
        return [(orbit.astype(float), np.arange(len(orbit), dtype=float)) for orbit in states]
    return [
        (orbit[:count].astype(float), times[:count])
        for orbit, times, count in zip(states, clock.times[member], clock.counts[member], strict=True)
    ]


def longest(observations: xr.Dataset, name: str, member: int) -> tuple[np.ndarray, np.ndarray]:
    """Take the longest of the :func:`recordings`, as far as it is looked at, with long gaps cut short."""
    states, times = max(recordings(observations, name, member), key=lambda orbit: len(orbit[1]))
    return states[:LONGEST], shortened(times[:LONGEST], BRIDGED)


def evened(states: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Read states (T, D) at ascending times (T,), in intervals, at equal ones by linear interpolation, (S, D)."""
    grid = times[0] + np.arange(int(times[-1] - times[0] + 1e-9) + 1)
    return np.stack([np.interp(grid, times, line) for line in states.T], -1)


def _seen(series: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Observe a series (S, D) at given times, in intervals, and read it at equal ones."""
    moments = np.arange(len(series))
    return evened(np.stack([np.interp(times, moments, line) for line in series.T], -1), times)


def prediction_error(series: np.ndarray, *, leads: np.ndarray, window: int, now: int | None = None) -> np.ndarray:
    """Compute the error e(h) of forecasts from nearest neighbors.

    Arguments:
        series: States at equal intervals, in standardized components, with shape (T, D).
        leads: How far ahead, in samples, ascending, with shape (L,).
        window: The Theiler window, in samples.
        now: How many of the components are forecast, the first ones; all if None.

    Returns:
        The error, relative to that of the mean, with shape (L,).

    Raises:
        StudyError: If a state has fewer than eight neighbors.
    """
    index, _ = nearest(series[None], count=NEIGHBORS, window=window, ahead=int(leads[-1]))
    here = np.flatnonzero(index[:, 0] >= 0)
    told = series[:, :now]
    error = [np.square(told[here + h] - told[index[here] + h].mean(1)).sum(-1).mean() for h in leads]
    return np.sqrt(np.array(error) / told.var(0).sum())
