r"""Error of the Kaplan-Yorke dimension, :math:`m = |\hat D_{KY} - D_{KY}|`.

.. math:: D_{KY} = k + \frac{\lambda_1 + \dots + \lambda_k}{|\lambda_{k+1}|}

where :math:`k` is the largest number of leading exponents whose sum is not negative. An exponent within two standard
errors of zero counts as zero, so that the dimension of a cycle does not hang on the sign of noise.

References:
    | Chaotic behavior of multidimensional difference equations (Kaplan and Yorke, 1979)
"""

from collections.abc import Callable

import numpy as np
import xarray as xr

from nearorbit.dynamics.lyapunov import kaplan_yorke
from nearorbit.evaluation.metrics.base import Metric, catalogued


def kaplan_yorke_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error, with shape (seed); NaN if the learned spectrum is."""
    return abs(_of_spectra(kaplan_yorke, forecast) - _of_spectra(kaplan_yorke, truth))


def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Estimate its standard error from those of the exponents, as if these erred independently of one another."""
    return (_of_spectra(_variance, forecast) + _of_spectra(_variance, truth)) ** 0.5


def _of_spectra(function: Callable[..., np.ndarray], table: xr.Dataset) -> xr.DataArray:
    return xr.apply_ufunc(function, table["exponents"], table["stderr"], input_core_dims=[["exponent"]] * 2)


def _variance(exponents: np.ndarray, stderr: np.ndarray) -> np.ndarray:
    """The variance of the dimension, from exponents moved by one standard error; all arrays have shape (*, K)."""
    zero = np.abs(exponents) <= 2 * stderr  # counts as known
    center = np.where(zero, 0, exponents)[..., None, :]
    moves = np.where(zero, 0, stderr)[..., None] * np.eye(zero.shape[-1])
    change = kaplan_yorke(center + moves, None) - kaplan_yorke(center - moves, None)
    return ((change / 2) ** 2).sum(-1)


def entries() -> dict[str, Metric]:
    """Export the metric."""
    label, needs = "error of the Kaplan-Yorke dimension", frozenset({"spectrum"})
    return catalogued(Metric("kaplan_yorke_error", label, "1", kaplan_yorke_error, stderr=stderr, needs=needs))
