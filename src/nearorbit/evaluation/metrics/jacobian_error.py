r"""Error of the Jacobian at unseen states of the attractor.

.. math:: e(x) = \frac{\|J_\theta(x) - J(x)\|_F}{\|J(x)\|_F}, \qquad m = \operatorname{median}_x \, e(x)

The Jacobian is that of the vector field, :math:`J_{ij} = \partial f_i / \partial x_j` in system units, not that of the
flow over one step. Errors of 1 are what a constant field would make. Of components in different units the norm weighs
those most whose numbers are large.
"""

import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued, median_stderr


def jacobian_errors(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the relative Frobenius error at each point, with shape (seed, point)."""
    return _norm(forecast["jacobian"] - truth["jacobian"]) / _norm(truth["jacobian"])


def jacobian_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the median error over the points, with shape (seed); defined also where orbits diverge."""
    return jacobian_errors(truth, forecast).median("point", skipna=False)


def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Estimate its standard error; points follow one another along the runs of the attractor."""
    return median_stderr(jacobian_errors(truth, forecast), "point", groups=truth.sizes["run"])


def _norm(jacobian: xr.DataArray) -> xr.DataArray:
    return (jacobian**2).sum(("component", "direction"), skipna=False) ** 0.5


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("jacobian_error", "Jacobian error", "1", jacobian_error, stderr=stderr))
