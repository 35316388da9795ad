r"""What a metric is, and the scales in which metrics measure.

A metric is a pure function :math:`m(\text{truth}, \text{forecast})` of two tables with the same variables and
dimensions: what the true system does, and what the learned field does from the same states. It gives one number per
seed, and :math:`m(\text{truth}, \text{truth})` is the best that there is.

A learned orbit that left is NaN from there on. A metric of orbits *in time* counts it as a forecast that has failed
from then on; a metric of the *attractor* is NaN, since an orbit that leaves has none.

A value comes from a finite sample, and another sample gives another one. Its standard error is that of one seed; how
seeds differ is another question. What is sampled are orbits: for a statistic of the attractor each run is left out in
turn (:func:`jackknife`), a median is as uncertain as the share of the sample below it (:func:`median_stderr`), and
exponents bring their own errors.

References:
    | Confidence intervals for medians and other position measures (Woodruff, 1952)
    | The jackknife, the bootstrap and other resampling plans (Efron, 1982)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from nearorbit.study.files import LEAST

Compute = Callable[[xr.Dataset, xr.Dataset], xr.DataArray]

NEEDS = {  # what a metric may need, and what that is
    "attractor": "long orbits that never leave",
    "spectrum": "Lyapunov exponents; the tables mark those that have not converged",
    "future": "orbits that do not leave beyond the training window",
    "chaos": "a true Lyapunov time",
    "observations": "what was observed, noise included, of the windows",
}
INTERPOLATION, EXTRAPOLATION = 0, 1  # regions of windows: before the end of the training orbits, and beyond


@dataclass(frozen=True)
class Metric:
    """A metric; each module of this package exports one or two through ``entries()``.

    Arguments:
        name: Its name in ``scores.csv``.
        label: Its name for people, on axes and in captions.
        unit: Its unit; ``"1"`` where it has none.
        compute: The function of truth and forecast, to one number per seed, with shape (seed).
        better: Whether ``"lower"`` or ``"higher"`` is better.
        stderr: The function of truth and forecast, to the standard errors of these numbers, with shape (seed); None
            where no honest one is known.
        needs: What there has to be, among NEEDS, for the number of a seed to be defined.
    """

    name: str
    label: str
    unit: str
    compute: Compute
    better: Literal["lower", "higher"] = "lower"
    stderr: Compute | None = None
    needs: frozenset[str] = frozenset()

    def __post_init__(self):
        if unknown := self.needs - NEEDS.keys():
            raise ValueError(f"metric '{self.name}' needs {', '.join(unknown)}; it may need {', '.join(NEEDS)}")

    @property
    def title(self) -> str:
        """The label with its unit."""
        return self.label if self.unit == "1" else f"{self.label} [{self.unit}]"


def catalogued(*metrics: Metric) -> dict[str, Metric]:
    """Index metrics by their names."""
    return {metric.name: metric for metric in metrics}


def deviation(truth: xr.Dataset) -> xr.DataArray:
    """Compute the standard deviation of each component on the true attractor, with shape (seed, component).

    It is NaN for one that rests: nothing can be measured in units of what rounding leaves of zero.
    """
    samples, over = truth["attractor"], ("run", "sample")
    varies = samples.max(over) - samples.min(over) > LEAST * abs(samples).max(over)
    return samples.std(over).where(varies)


def spread(truth: xr.Dataset) -> xr.DataArray:
    r"""Compute the root mean square distance from the mean, :math:`\sqrt{\sum_i \sigma_i^2}`, with shape (seed)."""
    return (deviation(truth) ** 2).sum("component") ** 0.5


def leading_exponent(table: xr.Dataset) -> xr.DataArray:
    r"""Take the largest Lyapunov exponent :math:`\lambda_1`, per unit of system time, with shape (seed)."""
    return table["exponents"].isel(exponent=0)


def chaotic(truth: xr.Dataset) -> bool:
    """Tell whether the truth is chaotic, as it was found to be when its exponents were computed."""
    return truth.attrs["motion"] == "chaotic"


def lyapunov_rate(truth: xr.Dataset) -> xr.DataArray:
    r"""Take :math:`\lambda_1` of a chaotic truth, with shape (seed); NaN if it is not chaotic: no Lyapunov time."""
    return leading_exponent(truth) if chaotic(truth) else xr.full_like(leading_exponent(truth), np.nan)


def over_windows(truth: xr.Dataset, errors: xr.DataArray, region: int) -> xr.DataArray:
    """Average squared errors (seed, window, moment, component) over a region, and take the median over the windows.

    Returns:
        The median, with shape (seed). A window that the forecast leaves has an infinite error; NaN if half of them do.
    """
    squared = (errors**2).mean("component", skipna=False).fillna(np.inf)
    median = squared.where(truth["region"] == region).mean("moment").median("window")
    return median.where(np.isfinite(median))


def jackknife(compute: Compute) -> Compute:
    r"""Make the function that estimates the standard error of a statistic of the attractor by leaving out runs.

    .. math:: s^2 = \frac{R - 1}{R} \sum_{r=1}^{R} (m_r - \bar m)^2

    where :math:`m_r` is the metric without run r of truth and forecast. It sees the scatter, and no bias that all
    samples of this size have; it needs two runs.

    Arguments:
        compute: The metric; of all variables it reads only ``attractor``.
    """

    def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
        tables, runs = (truth[["attractor"]], forecast[["attractor"]]), np.arange(truth.sizes["run"])
        if len(runs) < 2:
            return xr.full_like(leading_exponent(truth), np.nan)
        left = xr.concat([compute(*(t.isel(run=runs != run) for t in tables)) for run in runs], "run")
        return (((left - left.mean("run", skipna=False)) ** 2).sum("run", skipna=False) * (1 - 1 / len(runs))) ** 0.5

    return stderr


def median_stderr(values: xr.DataArray, dim: str, *, groups: int | None = None) -> xr.DataArray:
    r"""Estimate the standard error of a median, whatever the distribution.

    .. math:: s = \tfrac12 \big( Q(\tfrac12 + s_p) - Q(\tfrac12 - s_p) \big)

    where Q are the quantiles and :math:`s_p` the standard error of the share of values below the median:
    :math:`1 / \sqrt{4 n}` for n independent values. Values in groups are alike: there it comes from the shares of the
    groups, which are the independent ones.

    Arguments:
        values: The values, with shape (seed, n).
        dim: The name of the dimension of length n.
        groups: The number of groups of equal length in which the values follow one another; n if None.

    Returns:
        The standard error, with shape (seed); NaN for less than five groups, or if a value is NaN.
    """
    n = values.sizes[dim]
    if (groups := groups or n) < 5:
        return xr.full_like(values.isel({dim: 0}, drop=True), np.nan)
    group = np.arange(n) * groups // n
    return xr.apply_ufunc(lambda row: _median_stderr(row, group), values, input_core_dims=[[dim]], vectorize=True)


def _median_stderr(values: np.ndarray, group: np.ndarray) -> float:
    """The same for the values and their groups, both with shape (n)."""
    median = np.median(values)
    above = ((values > median) + 1.0 * (values >= median)) / 2  # ties count half
    shares = np.bincount(group, above) / np.bincount(group)
    error = min(shares.std(ddof=1) / len(shares) ** 0.5, 0.5)
    low, high = np.quantile(values, [0.5 - error, 0.5 + error])
    return (high - low) / 2
