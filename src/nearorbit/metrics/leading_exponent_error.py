r"""Relative error of the largest Lyapunov exponent.

.. math:: m = |\hat\lambda_1 - \lambda_1| / \lambda_1

An error of 1 is that of a limit cycle. It may be small by luck: one number can be right for the wrong spectrum.
"""

import xarray as xr

from nearorbit.metrics.base import Metric, catalogued, chaotic, leading_exponent


def leading_exponent_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error, with shape (seed); NaN if the truth is not chaotic or the learned exponent is NaN."""
    true = leading_exponent(truth).where(chaotic(truth))
    return abs(leading_exponent(forecast) - true) / true


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("leading_exponent_error", "error of the leading exponent", "1", leading_exponent_error))
