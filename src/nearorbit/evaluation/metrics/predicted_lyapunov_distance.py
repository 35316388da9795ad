r"""Distance of the Lyapunov spectra that the error of the field predicts at first order.

.. math:: m = \|\delta\lambda\|_2 = \Big(\sum_{i=1}^{D} \delta\lambda_i^2\Big)^{1/2}

with the shifts of the moved attractor (:mod:`nearorbit.dynamics.response`), per unit of system time. It stands beside
``lyapunov_distance``, which is what was found on the field's own attractor: where they differ, the error is too large
for a first order, or the attractor has changed. NaN where no moved orbit is known: covariant vectors that are not, or
an exponent near zero beside that of the flow.
"""

import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued


def predicted_lyapunov_distance(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the distance, with shape (seed); defined also where orbits diverge."""
    return (_of_moved("shift", truth, forecast) ** 2).sum("exponent", skipna=False) ** 0.5


def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    r"""Estimate its standard error from those of the shifts, as if these erred independently of one another.

    .. math:: s^2 = \sum_i \delta\lambda_i^2 s_i^2 / m^2
    """
    shift, error = (_of_moved(name, truth, forecast) for name in ("shift", "shift_stderr"))
    total = (shift**2).sum("exponent", skipna=False)
    return (((shift * error) ** 2).sum("exponent", skipna=False) / total.where(total > 0)) ** 0.5


def _of_moved(name: str, truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    if name not in forecast:
        return xr.full_like(truth["exponents"], float("nan"))
    return forecast[name].sel(prediction="moved", drop=True)


def entries() -> dict[str, Metric]:
    """Export the metric."""
    label = "predicted distance of Lyapunov spectra"
    return catalogued(
        Metric("predicted_lyapunov_distance", label, "1/time", predicted_lyapunov_distance, stderr=stderr)
    )
