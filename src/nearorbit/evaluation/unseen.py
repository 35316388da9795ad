r"""What a learned field makes of observations that nothing was learned from: judged by them alone, without a truth.

*Forecasts* begin at observed states and are held against the samples that follow, at the times at which these were
taken; a gap in the data is no end. The error of a forecast is

.. math:: e(t) = \Big( \sum_i (\hat x_i(t) - z_i(t))^2 \Big/ \sum_i s_i^2 \Big)^{1/2}

with the samples z and the deviations s of the training data, noise included: what no field can forecast, and alike for
all. Of states with delays only what is seen now counts: the future of the rest is known for a while. It is *valid*
until e first exceeds 0.4. Two forecasts that know no dynamics stand beside it: *persistence* stays where it began, and
the *climatology* is the mean of the training data.

*The attractor* is that of the field's own: an orbit, after a transient, is observed as the held-out recording was, at
the same times and with as much noise as is estimated of the data, and compared with it half by half, by the divergence
in state space and the distance of spectra of :mod:`nearorbit.evaluation.metrics`. What one half of the recording scores
against the other is the floor: a field below it cannot be told from the system by these data.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.data.delays import Delays
from nearorbit.data.pooled import evened, longest, recordings
from nearorbit.data.smoothing import noise
from nearorbit.dynamics.fields import Field, Transformed
from nearorbit.evaluation.held_out import with_held_out
from nearorbit.evaluation.judged import Judged
from nearorbit.evaluation.metrics.spectral_hellinger import spectral_hellinger
from nearorbit.evaluation.metrics.state_space_divergence import mixture_divergence
from nearorbit.study.catalogue import StudyError
from nearorbit.study.clock import Clock
from nearorbit.study.seeds import generator

VALID = 0.4  # of the spread
FINER = 2  # parts of a sample interval that orbits are integrated by; between, they are interpolated


def mixtures(true: xr.Dataset, learned: xr.Dataset) -> xr.DataArray:
    """Compute the divergence in nats, with shape (seed), of Gaussian mixtures: a short recording fills no histogram."""
    orbits = (table["attractor"].to_numpy() for table in (true, learned))
    values = [mixture_divergence(*pair) if np.isfinite(pair[1]).all() else np.nan for pair in zip(*orbits, strict=True)]
    return xr.DataArray(values, dims="seed")


STATISTICS = {"divergence": mixtures, "hellinger": spectral_hellinger}


def unseen(
    field: Transformed[Field],
    observations: xr.Dataset,
    orbits: xr.Dataset | None = None,
    *,
    evaluation: Mapping[str, Any],
) -> xr.Dataset:
    """Hold a field, or an ensemble of them, against orbits that nothing was learned from.

    Arguments:
        field: The field, in system units.
        observations: The observed orbits, from :func:`nearorbit.data.observations.observe`.
        orbits: The recordings of a measured system, from :func:`nearorbit.truth.recordings.orbits`, whose end was held
            out; None of a simulated system, for which the validation orbits serve.
        evaluation: The section of the study: ``starts``, the number of forecasts, at most; their ``longest`` lead in
            periods, at most half of the shortest of the longest recordings held out; and the ``transient`` of
            ``exponents``.

    Returns:
        ``error``, ``persistence_error`` and ``climatology_error`` (seed, lead), medians over the starts, infinite where
        half of the forecasts have left, NaN where no sample is at that lead; ``valid_time``, ``persistence_time`` and
        ``climatology_time`` (seed, start), those never invalid with the longest lead; and ``divergence`` and
        ``hellinger`` (seed) with their ``..._floor``, NaN where the field's orbit leaves. Times in system time.
    """
    observations = observations if orbits is None else with_held_out(observations, orbits)
    judged = Judged(field, _reference(observations))
    plans = _forecasts(observations, evaluation["starts"], evaluation["longest"])
    leads = 1 + np.arange(plans[0]["longest"])
    start = np.stack([plan["start"] for plan in plans])
    reach = judged.step * np.arange(FINER * (len(leads) + 1) + 1) / FINER
    rollouts = judged.orbits(start, reach, longest=judged.step / FINER)
    mean, scale = (observations[name].transpose("seed", ...).to_numpy() for name in ("mean", "scale"))
    made: dict[str, list[np.ndarray]] = {}
    now = Delays.now(observations)
    for plan, followed, m, s in zip(plans, rollouts, mean, scale, strict=True):
        others = np.broadcast_to(plan["start"][:, None], plan["samples"].shape)
        forecasts = {"": _at(followed, plan["times"]), "persistence_": others, "climatology_": m + 0 * others}
        for name, forecast in forecasts.items():
            error = _errors(forecast[..., :now], plan, len(leads), spread=float(np.sqrt((s[:now] ** 2).sum())))
            made.setdefault(f"{name}error", []).append(_medians(error))
            made.setdefault(f"{name}time" if name else "valid_time", []).append(_valid_times(error, judged.step))
    table = {name: (("seed", "start" if name.endswith("time") else "lead"), np.stack(v)) for name, v in made.items()}
    statistics = _statistics(judged, observations, transient=evaluation["exponents"]["transient"])
    coordinates = {"seed": observations["seed"], "lead": judged.step * leads}
    return xr.Dataset(table, coordinates, dict(observations.attrs)).assign(statistics)


def _reference(observations: xr.Dataset) -> xr.Dataset:
    """What of a truth it takes to integrate a field: the extent of the training data, as states of the attractor."""
    states = observations["train"].transpose("seed", "orbit", "time", "component")
    return xr.Dataset(
        {"attractor": (("seed", "run", "sample", "component"), states.to_numpy().astype(float))}
        | {name: observations[name] for name in ("step", "period")}
    )


def _forecasts(observations: xr.Dataset, starts: int, periods: float) -> list[dict[str, Any]]:
    """Plan the forecasts of each seed.

    Raises:
        StudyError: If a recording that is held out has a single sample.

    Returns:
        For each seed its ``start`` (B, D), the ``samples`` (B, N, D) that follow, NaN beyond the last, their ``times``
        (B, N) since the start, in sample intervals, and the ``longest`` lead, as many for all seeds.
    """
    clock = Clock.of(observations, "validation")
    seeds, step = clock.shape[0], float(observations["step"])
    each = [recordings(observations, "validation", member) for member in range(seeds)]
    half = min(int(max(times[-1] for _, times in orbits)) // 2 for orbits in each)
    lead = max(1, min(round(periods * float(observations["period"]) / step), half))
    found = [
        [
            (states, times, i)
            for states, times in orbits
            for i in np.flatnonzero(times + lead <= times[-1] + 1e-9).tolist()
        ]
        for orbits in each
    ]
    if not (count := min([starts, *(len(these) for these in found)])):
        raise StudyError("unseen: too few samples in a recording were held out to forecast any; hold out more")
    chosen = [[these[i * len(these) // count] for i in range(count)] for these in found]
    return [_plan(these, lead) for these in chosen]


def _plan(chosen: list[tuple[np.ndarray, np.ndarray, int]], lead: int) -> dict[str, Any]:
    ends = [int(np.searchsorted(times, times[i] + lead + 0.5)) for _, times, i in chosen]
    width = max(end - i - 1 for (*_, i), end in zip(chosen, ends, strict=True))
    samples = np.full((len(chosen), width, chosen[0][0].shape[1]), np.nan)
    moments = np.zeros((len(chosen), width))
    for row, ((states, times, i), end) in enumerate(zip(chosen, ends, strict=True)):
        samples[row, : end - i - 1], moments[row, : end - i - 1] = states[i + 1 : end], times[i + 1 : end] - times[i]
    start = np.stack([states[i] for states, _, i in chosen])
    return {"start": start, "samples": samples, "times": moments, "longest": lead}


def _at(orbits: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Read orbits (B, T, D), a part of a sample interval apart, at times (B, N), in intervals; NaN where they left."""
    from scipy.interpolate import CubicSpline  # here, because its import takes a third of a second

    grid = np.arange(orbits.shape[1]) / FINER
    left = np.isnan(orbits).any(-1)
    lasting = np.where(left.any(1), left.argmax(1) - 1, len(grid) - 1) / FINER
    known = np.where(left[..., None], 0.0, orbits)
    made = np.stack([CubicSpline(grid, states)(moments) for states, moments in zip(known, times, strict=True)])
    return np.where((times <= lasting[:, None])[..., None], made, np.nan)


def _errors(forecast: np.ndarray, plan: Mapping[str, Any], leads: int, *, spread: float) -> np.ndarray:
    """The errors at leads of whole intervals, (B, leads): infinite where a forecast left, NaN without samples."""
    samples = plan["samples"][..., : forecast.shape[-1]]
    known = np.isfinite(samples).all(-1)
    squares = np.nan_to_num(((forecast - samples) ** 2).sum(-1), nan=np.inf)
    lead = np.clip(np.rint(plan["times"]).astype(int) - 1, 0, leads - 1)
    total, count = np.zeros((2, len(known), leads))
    rows = np.broadcast_to(np.arange(len(known))[:, None], known.shape)[known]
    np.add.at(total, (rows, lead[known]), squares[known])
    np.add.at(count, (rows, lead[known]), 1)
    return np.sqrt(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)) / spread


def _medians(error: np.ndarray) -> np.ndarray:
    """The medians over the starts of errors (B, leads) that are there; NaN where none is."""
    there = ~np.isnan(error)
    ordered = np.sort(error, 0)  # NaN last
    middle = np.take_along_axis(ordered, np.maximum(there.sum(0)[None] - 1, 0) // 2, 0)[0]
    return np.where(there.any(0), middle, np.nan)


def _valid_times(error: np.ndarray, step: float) -> np.ndarray:
    """When the error first exceeds the threshold, in system time, with shape (B)."""
    beyond = error > VALID
    return step * np.where(beyond.any(1), 1 + beyond.argmax(1), error.shape[1])


def _statistics(judged: Judged, observations: xr.Dataset, *, transient: float) -> dict[str, Any]:
    """Compare an orbit of the field with the longest recording held out, half by half."""
    seeds = observations.sizes["seed"]
    held = [longest(observations, "validation", member) for member in range(seeds)]
    start = np.stack([states[0] for states, _ in held])[:, None]
    settled = judged.settle(start, transient, 1 / FINER)[:, :, -1]
    samples = max(int(np.ceil(times[-1])) for _, times in held)
    orbits = judged.orbits(settled, judged.step * np.arange(FINER * samples + 1) / FINER, longest=judged.step / FINER)
    tables: dict[str, list[np.ndarray]] = {"held": [], "learned": []}
    for member, ((states, times), orbit) in enumerate(zip(held, orbits, strict=True)):
        level = noise(*longest(observations, "train", member))
        drawn = level * generator("held out", member).standard_normal(states.shape)
        tables["held"].append(evened(states, times))
        tables["learned"].append(evened(_at(orbit, times[None])[0] + drawn, times))
    half = min(len(series) for series in tables["held"]) // 2
    first, second = (
        {name: _attractor([series[piece] for series in those]) for name, those in tables.items()}
        for piece in (slice(0, half), slice(half, 2 * half))
    )
    made: dict[str, Any] = {}
    for name, distance in STATISTICS.items():
        value = (distance(first["held"], first["learned"]) + distance(second["held"], second["learned"])) / 2
        made[name], made[f"{name}_floor"] = value, distance(first["held"], second["held"])
    return {name: ("seed", value.to_numpy()) for name, value in made.items()}


def _attractor(series: list[np.ndarray]) -> xr.Dataset:
    return xr.Dataset({"attractor": (("seed", "run", "sample", "component"), np.stack(series)[:, None])})
