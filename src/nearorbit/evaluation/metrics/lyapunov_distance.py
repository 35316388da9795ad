r"""Distance between the learned and the true Lyapunov spectrum.

.. math:: m = \|\hat\lambda - \lambda\|_2 = \Big(\sum_{i=1}^{D} (\hat\lambda_i - \lambda_i)^2\Big)^{1/2}

Exponents are in descending order, per unit of system time, with the natural logarithm. The most negative exponents
dominate: a good distance needs the directions across the attractor; see ``leading_exponent_error`` for those along it.
"""

import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued


def lyapunov_distance(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the distance, with shape (seed); NaN if the learned spectrum is."""
    return ((forecast["exponents"] - truth["exponents"]) ** 2).sum("exponent", skipna=False) ** 0.5


def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    r"""Estimate its standard error from those of the exponents, as if these erred independently of one another.

    .. math:: s^2 = \sum_i (\hat\lambda_i - \lambda_i)^2 (\hat s_i^2 + s_i^2) / m^2

    A distance of zero has none: a small one is what the errors of the exponents leave, and larger than the true one.
    """
    squared = (forecast["exponents"] - truth["exponents"]) ** 2
    variance = forecast["stderr"] ** 2 + truth["stderr"] ** 2
    total = squared.sum("exponent", skipna=False)
    return ((squared * variance).sum("exponent", skipna=False) / total.where(total > 0)) ** 0.5


def entries() -> dict[str, Metric]:
    """Export the metric."""
    label, unit, needs = "distance of Lyapunov spectra", "1/time", frozenset({"spectrum"})
    return catalogued(Metric("lyapunov_distance", label, unit, lyapunov_distance, stderr=stderr, needs=needs))
