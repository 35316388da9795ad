r"""What a metric is, and the scales in which metrics measure.

A metric is a pure function :math:`m(\text{truth}, \text{forecast})` of two tables with the same variables and
dimensions: what the true system does, and what the learned field does from the same states. It gives one number per
seed, and :math:`m(\text{truth}, \text{truth})` is the best that there is.

A learned orbit that left is NaN from there on. A metric of orbits *in time* counts it as a forecast that has failed
from then on; a metric of the *attractor* is NaN, since an orbit that leaves has none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import xarray as xr


@dataclass(frozen=True)
class Metric:
    """A metric; each module of this package exports one or two through ``entries()``.

    Arguments:
        name: Its name in ``scores.csv``.
        label: Its name for people, on axes and in captions.
        unit: Its unit; ``"1"`` where it has none.
        compute: The function of truth and forecast, to one number per seed, with shape (seed).
        better: Whether ``"lower"`` or ``"higher"`` is better.
    """

    name: str
    label: str
    unit: str
    compute: Callable[[xr.Dataset, xr.Dataset], xr.DataArray]
    better: Literal["lower", "higher"] = "lower"

    @property
    def title(self) -> str:
        """The label with its unit."""
        return self.label if self.unit == "1" else f"{self.label} [{self.unit}]"


def catalogued(*metrics: Metric) -> dict[str, Metric]:
    """Index metrics by their names."""
    return {metric.name: metric for metric in metrics}


def deviation(truth: xr.Dataset) -> xr.DataArray:
    """Compute the standard deviation of each component on the true attractor, with shape (seed, component)."""
    return truth["attractor"].std(("run", "sample"))


def spread(truth: xr.Dataset) -> xr.DataArray:
    r"""Compute the root mean square distance from the mean, :math:`\sqrt{\sum_i \sigma_i^2}`, with shape (seed)."""
    return (deviation(truth) ** 2).sum("component") ** 0.5


def leading_exponent(table: xr.Dataset) -> xr.DataArray:
    r"""Take the largest Lyapunov exponent :math:`\lambda_1`, per unit of system time, with shape (seed)."""
    return table["exponents"].isel(exponent=0)


def chaotic(truth: xr.Dataset) -> xr.DataArray:
    r"""Tell whether :math:`\lambda_1` is positive beyond three standard errors, with shape (seed)."""
    return leading_exponent(truth) > 3 * truth["stderr"].isel(exponent=0)
