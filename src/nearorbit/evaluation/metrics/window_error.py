r"""Errors of rollouts that start inside the training window: before its end (interpolation) and beyond (extrapolation).

.. math:: m = \operatorname{median}_w \frac{1}{|R_w|} \sum_{t \in R_w} \frac{1}{D} \sum_{i=1}^{D}
    \frac{(\hat x_i(t) - x_i(t))^2}{\sigma_i^2}

where :math:`R_w` are the moments of window :math:`w` in the region, :math:`x` the noiseless orbit and :math:`\sigma_i`
the deviation of component :math:`i` on the true attractor. Two unrelated orbits have an error of about 2. A window
whose rollout leaves has an infinite error, and the median keeps one of many from deciding. Windows of one orbit
overlap, so that their scatter tells no standard error.

References:
    | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko et al., NeurIPS 2023)
"""

import xarray as xr

from nearorbit.evaluation.metrics.base import (
    EXTRAPOLATION,
    INTERPOLATION,
    Metric,
    catalogued,
    deviation,
    over_windows,
)


def interpolation_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error before the end of the training window, with shape (seed)."""
    return _window_error(truth, forecast, INTERPOLATION)


def extrapolation_error(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the error beyond the training window, with shape (seed)."""
    return _window_error(truth, forecast, EXTRAPOLATION)


def _window_error(truth: xr.Dataset, forecast: xr.Dataset, region: int) -> xr.DataArray:
    """Compute the median error over the windows, with shape (seed); NaN if half of them leave, or a component of
    the truth rests."""
    return over_windows(truth, (forecast["windows"] - truth["windows"]) / deviation(truth), region)


def entries() -> dict[str, Metric]:
    """Export the two metrics."""
    return catalogued(
        Metric("interpolation_error", "interpolation error", "variance", interpolation_error),
        Metric(
            "extrapolation_error", "extrapolation error", "variance", extrapolation_error, needs=frozenset({"future"})
        ),
    )
