r"""Wasserstein-1 distance of the components' distributions on the attractor, in deviations.

.. math:: m = \frac{1}{D} \sum_{i=1}^{D} \frac{W_1(P_i, \hat P_i)}{\sigma_i}, \qquad
    W_1 = \frac1N \sum_{n=1}^{N} |x_{(n)} - \hat x_{(n)}|

of the sorted samples of truth and forecast, which are equally many. Marginals only: ``state_space_divergence`` sees how
the components hang together.
"""

import numpy as np
import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued, deviation, jackknife


def wasserstein(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the mean distance, with shape (seed); NaN if an orbit diverged or a component of the truth rests."""
    distance = abs(_sorted(forecast) - _sorted(truth)).mean("rank", skipna=False)
    return (distance / deviation(truth)).mean("component", skipna=False)


def _sorted(table: xr.Dataset) -> xr.DataArray:
    samples = table["attractor"].stack(rank=("run", "sample"), create_index=False)
    return xr.apply_ufunc(np.sort, samples, input_core_dims=[["rank"]], output_core_dims=[["rank"]])


def entries() -> dict[str, Metric]:
    """Export the metric."""
    label, stderr, needs = "Wasserstein distance", jackknife(wasserstein), frozenset({"attractor"})
    return catalogued(Metric("wasserstein", label, "deviations", wasserstein, stderr=stderr, needs=needs))
