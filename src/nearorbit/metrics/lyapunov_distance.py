r"""Distance between the learned and the true Lyapunov spectrum.

.. math:: m = \|\hat\lambda - \lambda\|_2 = \Big(\sum_{i=1}^{D} (\hat\lambda_i - \lambda_i)^2\Big)^{1/2}

Exponents are in descending order, per unit of system time, with the natural logarithm. The most negative exponents
dominate: a good distance needs the directions across the attractor; see ``leading_exponent_error`` for those along it.
"""

import xarray as xr

from nearorbit.metrics.base import Metric, catalogued


def lyapunov_distance(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the distance, with shape (seed); NaN if the learned spectrum is."""
    return ((forecast["exponents"] - truth["exponents"]) ** 2).sum("exponent", skipna=False) ** 0.5


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("lyapunov_distance", "distance of Lyapunov spectra", "1/time", lyapunov_distance))
