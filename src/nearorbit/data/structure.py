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
second period to what it will be. So *regular* takes both: little lost, and no growth

.. math:: g = \big\langle e_{\mathrm{far}}^2(t) - e_{\mathrm{mid}}^2(t) \big\rangle_t

from the second and third period to the last, beyond three standard errors. Both errors are those of the same states t,
whose noise is the same, so that little growth is seen behind much noise; its standard error is that of means over
periods. The answers make the *character* of a series (:data:`CHARACTERS`).

*Is it stationary?* A surrogate is, and a random walk or a drift is nonlinear to this test. So nothing more is concluded
where more than half of the variance of a component is in the three slowest oscillations over the length of a recording,
or in as many as a fifth of its periods: nine random walks in ten have that, and no series of many correlation times.

*Several recordings* are one series to all of these questions: the neighbors of a state may lie in any of them, and each
has surrogates of its own (:mod:`nearorbit.data.pooled`).

*Missing samples, uneven times.* The series is read at equal intervals by linear interpolation, and so is each
surrogate: at the times at which the series was observed first, and then as the series was. Whatever that makes of a
series, it makes of both.

References:
    | Discrimination power of measures for nonlinearity in a time series (Schreiber and Schmitz, Phys. Rev. E 1997)
    | Testing for nonlinearity in time series: the method of surrogate data (Theiler et al., Physica D 1992)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.delays import Delays
from nearorbit.data.neighbors import nearest
from nearorbit.data.pooled import evened, pooled, seen_at
from nearorbit.data.smoothing import noise
from nearorbit.data.surrogates import joined
from nearorbit.data.surrogates import surrogates as randomized
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.study.seeds import generator

NEIGHBORS = 8
LEADS = 16  # that are looked at in a period
FAR = 10  # periods, of which the last is far ahead
LEAST = 4  # periods, below which it cannot be told what is lost
SHARE, PART = 4, 2  # a lead is at most this part of the series, and of each of its recordings
UNPREDICTABLE = 0.95  # of the error of the climatology
LOST = 0.1  # of what is predicted: less is lost by no chaos but such whose phase is coherent
SURE = 3  # standard errors of the growth: 7 for Rossler's x (c = 4.6), 200 periods with 20 % noise
MIDDLE = 1, 3  # periods, from whose mean that is counted
SLOWEST, PERIODS = (
    3,
    5,
)  # oscillations over the length of a recording, at most, and no more than a fifth of its periods:
SLOW = 0.5  # of its variance in these makes it a drift
SMALL = 0.1  # of the error of the climatology, far ahead: what grows to less is rounding
CHARACTERS = {  # of a series, in the order in which they are asked for
    "nothing": "its future is not predicted better than by its mean, nor than that of surrogates",
    "short": "no better predicted either, and too short for that to tell anything",
    "regular": "what is predicted of its future is as well predicted many periods ahead",
    "linear": "a linear stochastic process with its spectrum is predicted as well",
    "slow": "most of what it does is as slow as it is long: it drifts, or is too short",
    "nonlinear": "more than a linear process, and too short to tell what is lost with time",
    "irregular": "more than a linear process, and its future is lost with time, as that of chaos is",
}


def structure(observations: xr.Dataset, *, label: str, theiler: float, surrogates: int = 99) -> xr.Dataset:
    """Tell what there is to learn in the longest training orbits of the first seed.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.data.observations.observe`; of more than
            4096 samples of them the first ones of the longest are looked at.
        label: The label of the system, which names the random numbers.
        theiler: The Theiler window, in periods.
        surrogates: The number of surrogates S; the test has the level 1 / (S + 1).

    Returns:
        ``error`` (lead), that of the series, and ``surrogate_error`` (surrogate, lead), those of the surrogates, with
        ``lead`` in system time; ``near``, ``middle`` and ``far``, the root mean squares of the error over the first,
        the second and third, and the last period of the leads, ``growth`` of the square between the latter two with
        ``growth_stderr``, ``p_value``, and the share that is ``lost``, NaN where nothing is predicted or the leads are
        shorter than four periods; the share of the variance that is ``slow``; ``noise`` (component), as smoothing
        splines tell, relative to the deviation of the component; the ``level``; ``recordings``, their ``samples``, and
        the ``periods`` that they last; and the attribute ``character``.

    Raises:
        StudyError: If the orbit has too few samples for neighbors.
    """
    step, period = float(observations["step"]), float(observations["period"])
    orbits, turn = pooled(observations, "train", 0), max(1, round(period / step))
    series = [evened(*orbit) for orbit in orbits]
    pieces = [joined(one) for one in series]  # like their surrogates, which need ends that are alike
    series = [one[piece] for one, piece in zip(series, pieces, strict=True)]
    together, lengths = np.concatenate(series), [len(one) for one in series]
    scale = np.where(together.std(0) > 0, together.std(0), 1.0)
    ahead = max(1, min(FAR * turn, len(together) // SHARE, min(lengths) // PART))
    window = int(np.ceil(theiler * period / step))
    leads = np.arange(1, ahead + 1, max(1, turn // LEADS))
    now = Delays.now(observations)
    settings: dict[str, Any] = {"leads": leads, "window": min(window, len(together) // SHARE), "now": now}
    try:
        levels = np.array([noise(*orbit) for orbit in orbits])
        errors, where = squared_errors([one / scale for one in series], **settings)
        rng = generator("surrogates", label)
        made = [
            _observed(randomized(one, surrogates, rng), times, piece.start or 0)
            for one, (_, times), piece in zip(series, orbits, pieces, strict=True)
        ]
        others = np.array([prediction_error([one / scale for one in of], **settings) for of in zip(*made, strict=True)])
    except (StudyError, ValueError) as failure:
        samples = max(len(states) for states, _ in orbits)
        raise StudyError(f"systems.{label}: nothing can be told of orbits of {samples} samples: {failure}") from None
    error = np.sqrt([of.mean() for of in errors])
    first, last = leads <= turn, leads > ahead - turn
    middle = (leads > MIDDLE[0] * turn) & (leads <= MIDDLE[1] * turn)
    near, those = np.square(error[first]).mean(), np.square(others[:, first]).mean(1)
    far = np.square(error[last]).mean()
    grown = errors[last].mean(0) - errors[middle].mean(0) if middle.any() else np.full(errors.shape[1], np.nan)
    counts = [len(states) for states, _ in orbits]
    level = np.average(levels, 0, weights=np.array(counts) / max(counts))  # of a single one as it is, to the bit
    deviation = np.concatenate([states for states, _ in orbits]).std(0)
    table = xr.Dataset(
        {
            "error": ("lead", error),
            "surrogate_error": (("surrogate", "lead"), others),
            "near": near**0.5,
            "middle": np.square(error[middle]).mean() ** 0.5 if middle.any() else np.nan,
            "far": far**0.5,
            "growth": grown.mean(),
            "growth_stderr": _stderr(grown, where // turn),
            "p_value": (1 + np.count_nonzero(those <= near)) / (1 + surrogates),
            "lost": (far - near) / (1 - near) if near < 1 and ahead >= LEAST * turn else np.nan,
            "slow": max(_slow([one[:, component] for one in series], turn) for component in range(now)),
            "noise": ("component", level / np.where(level > 0, deviation, 1.0), {"units": "deviations"}),
            "level": 1 / (1 + surrogates),
            "recordings": len(orbits),
            "samples": sum(counts),
            "periods": len(together) / turn,
        },
        coords={"lead": step * leads, "component": observations["component"]},
        attrs=dict(observations.attrs),
    )
    return table.assign_attrs(character=character(table))


def character(table: xr.Dataset) -> str:
    """Name the character of a series, of :data:`CHARACTERS`, from its ``near``, ``middle``, ``far``, ``p_value``,
    ``level``, ``lost``, ``growth``, ``growth_stderr``, ``slow`` and ``periods``."""
    steady = table["far"] < SMALL or not table["growth"] > SURE * table["growth_stderr"]
    beaten = bool(table["p_value"] <= table["level"] * (1 + 1e-9))
    if not beaten and table["near"] >= UNPREDICTABLE:
        return "nothing" if table["periods"] >= SHARE * LEAST else "short"
    if beaten and table["slow"] > SLOW:
        return "slow"
    if table["lost"] < LOST and steady:
        return "regular"
    if not beaten:
        return "linear"
    return "nonlinear" if np.isnan(table["lost"]) else "irregular"


def _observed(made: np.ndarray, times: np.ndarray, begin: int) -> np.ndarray:
    """Read surrogates (S, T, D) as the series was, that began at a time and was observed at some, in intervals."""
    seen = times[(times >= begin) & (times <= begin + made.shape[1] - 1)] - begin
    return np.stack([seen_at(one, seen) for one in made])


def _slow(series: Sequence[np.ndarray], turn: int) -> float:
    """The share of the variance of a component, of recordings (T,), that is in few oscillations over the length."""
    power = [np.square(np.abs(np.fft.rfft(one - one.mean()))) / len(one) for one in series]
    few = [int(np.clip(len(one) / turn // PERIODS, 1, SLOWEST)) for one in series]
    slow = sum(of[: 1 + count].sum() for of, count in zip(power, few, strict=True))
    return slow / (sum(of.sum() for of in power) or 1.0)


def _stderr(values: np.ndarray, blocks: np.ndarray) -> float:
    """The standard error of the mean of values (N,), whose blocks, numbers (N,), are independent of one another."""
    _, number, counts = np.unique(blocks, return_inverse=True, return_counts=True)
    means = np.bincount(number, values) / counts
    return means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else np.nan


def prediction_error(
    series: Sequence[np.ndarray], *, leads: np.ndarray, window: int, now: int | None = None
) -> np.ndarray:
    """Compute the error e(h) of forecasts from nearest neighbors.

    Arguments:
        series: Recordings at equal intervals, in standardized components, with shapes (T, D).
        leads: How far ahead, in samples, ascending, with shape (L,).
        window: The Theiler window, in samples.
        now: How many of the components are forecast, the first ones; all if None.

    Returns:
        The error, relative to that of the mean, with shape (L,).

    Raises:
        StudyError: If a state has fewer than eight neighbors.
    """
    errors, _ = squared_errors(series, leads=leads, window=window, now=now)
    return np.sqrt([of.mean() for of in errors])


def squared_errors(
    series: Sequence[np.ndarray], *, leads: np.ndarray, window: int, now: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the squares of the errors of :func:`prediction_error`, with shape (L, N), for N states, and where these
    are: samples since the first one, (N,), a whole number of times the longest recording further in each."""
    longest, counts = max(map(len, series)), np.array([len(one) for one in series])
    states = np.stack([np.pad(one, ((0, longest - len(one)), (0, 0)), mode="edge") for one in series])
    clock = None
    if len(series) > 1:
        times = np.broadcast_to(np.arange(float(longest)), states.shape[:2])
        clock = Clock((1, *states.shape[:2]), times[None], counts[None], np.ones(1))
    index, _ = nearest(states, count=NEIGHBORS, window=window, ahead=int(leads[-1]), clock=clock)
    here = np.flatnonzero(index[:, 0] >= 0)
    told = states.reshape(-1, states.shape[-1])[:, :now]
    spread = np.concatenate(series)[:, :now].var(0).sum()
    error = [np.square(told[here + h] - told[index[here] + h].mean(1)).sum(-1) / spread for h in leads]
    return np.array(error), here
