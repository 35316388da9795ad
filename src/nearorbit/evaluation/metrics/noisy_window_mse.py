r"""Mean squared errors of rollouts against the data themselves, noise included: what papers without a truth report.

.. math:: m = \operatorname{median}_w \frac{1}{|R_w|} \sum_{t \in R_w} \frac{1}{D} \sum_{i=1}^{D}
    (\hat x_i(t) - z_i(t))^2

where :math:`z` is the orbit as it was observed. Beyond the training orbits the noise is one that nobody has seen, and
the true field has the variance of the noise for its error; before their end a model that follows the noise has less.
Of smoothed data :math:`z` is the spline up to the end of the training orbits. NaN where no observations were given.

References:
    | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko et al., NeurIPS 2023)
"""

import numpy as np
import xarray as xr

from nearorbit.evaluation.metrics.base import EXTRAPOLATION, INTERPOLATION, Metric, catalogued, over_windows


def interpolation_mse(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error before the end of the training orbits, with shape (seed)."""
    return _mse(truth, forecast, INTERPOLATION)


def extrapolation_mse(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error beyond the training orbits, with shape (seed)."""
    return _mse(truth, forecast, EXTRAPOLATION)


def _mse(truth: xr.Dataset, forecast: xr.Dataset, region: int) -> xr.DataArray:
    if "observed" not in truth:
        return xr.full_like(truth["diverged"], np.nan, dtype=float)
    return over_windows(truth, forecast["windows"] - truth["observed"], region)


def entries() -> dict[str, Metric]:
    """Export the two metrics."""
    unit, needs = "squared system units", frozenset({"observations"})
    return catalogued(
        Metric("noisy_interpolation_mse", "mean squared error inside the data", unit, interpolation_mse, needs=needs),
        Metric(
            "noisy_extrapolation_mse",
            "mean squared error beyond the data",
            unit,
            extrapolation_mse,
            needs=needs | {"future"},
        ),
    )
