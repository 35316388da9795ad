r"""Relative error of the largest Lyapunov exponent.

.. math:: m = |\hat\lambda_1 - \lambda_1| / \lambda_1

An error of 1 is that of a limit cycle. It may be small by luck: one number can be right for the wrong spectrum.
"""

import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued, leading_exponent, lyapunov_rate


def leading_exponent_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error, with shape (seed); NaN if the truth is not chaotic or the learned exponent is NaN."""
    true = lyapunov_rate(truth)
    return abs(leading_exponent(forecast) - true) / true


def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Estimate its standard error from those of the two exponents."""
    learned, true = (table["stderr"].isel(exponent=0) for table in (forecast, truth))
    ratio = leading_exponent(forecast) / leading_exponent(truth)
    return (learned**2 + (ratio * true) ** 2) ** 0.5 / lyapunov_rate(truth)


def entries() -> dict[str, Metric]:
    """Export the metric."""
    label, needs = "error of the leading exponent", frozenset({"spectrum", "chaos"})
    return catalogued(Metric("leading_exponent_error", label, "1", leading_exponent_error, stderr=stderr, needs=needs))
