"""The training step after which the validation error was smallest; a large one is not worse in itself, only slower."""

import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued


def steps_to_best(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Take the step from the forecast, with shape (seed); the truth needed none."""
    return forecast["best_step"].astype(float)


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("steps_to_best", "steps to best validation", "steps", steps_to_best))
