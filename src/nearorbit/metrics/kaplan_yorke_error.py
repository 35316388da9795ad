r"""Error of the Kaplan-Yorke dimension, :math:`m = |\hat D_{KY} - D_{KY}|`.

.. math:: D_{KY} = k + \frac{\lambda_1 + \dots + \lambda_k}{|\lambda_{k+1}|}

where :math:`k` is the largest number of leading exponents whose sum is not negative.

References:
    | Chaotic behavior of multidimensional difference equations (Kaplan and Yorke, 1979)
"""

import xarray as xr

from nearorbit.lyapunov import kaplan_yorke
from nearorbit.metrics.base import Metric, catalogued


def kaplan_yorke_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error, with shape (seed); NaN if the learned spectrum is."""
    return abs(_dimension(forecast) - _dimension(truth))


def _dimension(table: xr.Dataset) -> xr.DataArray:
    return xr.apply_ufunc(kaplan_yorke, table["exponents"], input_core_dims=[["exponent"]])


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("kaplan_yorke_error", "error of the Kaplan-Yorke dimension", "1", kaplan_yorke_error))
