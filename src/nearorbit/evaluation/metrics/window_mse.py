r"""Mean squared errors of rollouts inside the training window (interpolation) and beyond its end (extrapolation).

.. math:: m = \operatorname{median}_w \frac{1}{|R_w|} \sum_{t \in R_w} \frac{1}{D} \sum_{i=1}^{D}
    (\hat x_i(t) - x_i(t))^2

The same as :mod:`nearorbit.evaluation.metrics.window_error` but in system units, as papers on one system report it; of
components in different units it is a sum of different things. Here :math:`x` is the noiseless orbit.

References:
    | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko et al., NeurIPS 2023)
"""

import xarray as xr

from nearorbit.evaluation.metrics.base import EXTRAPOLATION, INTERPOLATION, Metric, catalogued, over_windows


def interpolation_mse(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error before the end of the training orbits, with shape (seed)."""
    return over_windows(truth, forecast["windows"] - truth["windows"], INTERPOLATION)


def extrapolation_mse(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error beyond the training orbits, with shape (seed)."""
    return over_windows(truth, forecast["windows"] - truth["windows"], EXTRAPOLATION)


def entries() -> dict[str, Metric]:
    """Export the two metrics."""
    unit, future = "squared system units", frozenset({"future"})
    return catalogued(
        Metric("interpolation_mse", "mean squared interpolation error", unit, interpolation_mse),
        Metric("extrapolation_mse", "mean squared extrapolation error", unit, extrapolation_mse, needs=future),
    )
