r"""How long a forecast stays near the truth, in Lyapunov times.

.. math:: m = \lambda_1 \operatorname{median}_x \min \{ t : \|\hat x(t) - x(t)\| > 0.4 \, \sigma \},
    \qquad \sigma^2 = \sum_i \sigma_i^2

for forecasts from noiseless states :math:`x` of an attractor with the root mean square spread :math:`\sigma`. The time
is that of the first sample beyond the threshold. A forecast that never gets there counts with the horizon (it is
censored: once half of them are, the median is a lower bound); one that diverges ends at the latest where it turns NaN.
The norm is that in system units, as above: of components in different units it weighs those most that vary most.

References:
    | Model-free prediction of large spatiotemporally chaotic systems from data (Pathak et al., 2018)
"""

import numpy as np
import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued, lyapunov_rate, median_stderr, spread


def prediction_times(truth: xr.Dataset, forecast: xr.Dataset, *, threshold: float = 0.4) -> xr.DataArray:
    """Compute the valid time of each forecast, in system time, with shape (seed, start)."""
    error = ((forecast["forecasts"] - truth["forecasts"]) ** 2).sum("component", skipna=False) ** 0.5
    beyond = error.fillna(np.inf) > threshold * spread(truth)
    first = truth["lead"].where(beyond).min("lead")
    return first.fillna(truth["lead"].max())


def valid_prediction_time(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the median over the starts, in Lyapunov times, with shape (seed); NaN if the truth is not chaotic."""
    return prediction_times(truth, forecast).median("start") * lyapunov_rate(truth)


def stderr(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Estimate its standard error from the scatter over the starts; NaN where half of the forecasts are censored."""
    times = prediction_times(truth, forecast)
    known = median_stderr(times, "start").where(times.median("start") < truth["lead"].max())
    return known * lyapunov_rate(truth)


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(
        Metric(
            "valid_prediction_time",
            "valid prediction time",
            "Lyapunov times",
            valid_prediction_time,
            better="higher",
            stderr=stderr,
            needs=frozenset({"chaos"}),
        )
    )
