r"""Error of the Jacobian within the attractor's directions, and across them.

With the orthogonal projector P(x) onto the span of the unstable and neutral covariant Lyapunov vectors at a state of
the true attractor,

.. math:: m_\text{within} = \operatorname{median}_x \frac{\|(J_\theta - J) P\|_F}{\|J\|_F}, \qquad
    m_\text{across} = \operatorname{median}_x \frac{\|(J_\theta - J) (1 - P)\|_F}{\|J\|_F}

At each state their squares add up to that of the error that ``jacobian_error`` takes the median of, at other states.
Displacements between states of the attractor lie within; across it, to the thickness of a fractal, data show nothing.
NaN for a system whose covariant vectors are not known.
"""

from functools import partial

import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued, median_stderr

GROUPS = 16  # of states that follow one another along the orbits


def error(name: str, truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the median error over the states, with shape (seed); defined also where orbits diverge."""
    return _errors(name, truth, forecast).median("state", skipna=False)


def stderr(name: str, truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Estimate its standard error; states follow one another along the orbits that have covariant vectors."""
    errors = _errors(name, truth, forecast)
    return median_stderr(errors, "state", groups=min(GROUPS, errors.sizes["state"]))


def _errors(name: str, truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    if name not in forecast:
        return xr.full_like(truth["diverged"], float("nan"), dtype=float).expand_dims(state=1, axis=-1)
    return forecast[name]


def entries() -> dict[str, Metric]:
    """Export the two metrics."""
    labels = {
        "jacobian_within": "Jacobian error within the attractor's directions",
        "jacobian_across": "Jacobian error across the attractor's directions",
    }
    return catalogued(
        *(
            Metric(name, label, "1", partial(error, name), stderr=partial(stderr, name))
            for name, label in labels.items()
        )
    )
