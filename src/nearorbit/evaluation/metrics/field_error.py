r"""Error of the vector field at unseen states of the attractor.

.. math:: m = \operatorname{median}_x \frac{\|f_\theta(x) - f(x)\|}{\|f(x)\|}

A small error says little about the Jacobian: directions that the orbit never takes are weighted only by what they
contribute to :math:`f` on the attractor. The norm is that in system units: of components in different units it weighs
those most whose numbers are large.
"""

import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued, median_stderr


def field_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the median relative error over the points, with shape (seed); defined also where orbits diverge."""
    return _errors(truth, forecast).median("point", skipna=False)


def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Estimate its standard error; points follow one another along the runs of the attractor."""
    return median_stderr(_errors(truth, forecast), "point", groups=truth.sizes["run"])


def _errors(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    return _norm(forecast["field"] - truth["field"]) / _norm(truth["field"])


def _norm(field: xr.DataArray) -> xr.DataArray:
    return (field**2).sum("component", skipna=False) ** 0.5


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("field_error", "vector field error", "1", field_error, stderr=stderr))
