r"""Error of the vector field at unseen states of the attractor.

.. math:: m = \operatorname{median}_x \frac{\|f_\theta(x) - f(x)\|}{\|f(x)\|}

A small error says little about the Jacobian: directions that the orbit never takes are weighted only by what they
contribute to :math:`f` on the attractor.
"""

import xarray as xr

from nearorbit.metrics.base import Metric, catalogued


def field_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the median relative error over the points, with shape (seed); defined also where orbits diverge."""
    return (_norm(forecast["field"] - truth["field"]) / _norm(truth["field"])).median("point", skipna=False)


def _norm(field: xr.DataArray) -> xr.DataArray:
    return (field**2).sum("component", skipna=False) ** 0.5


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("field_error", "vector field error", "1", field_error))
