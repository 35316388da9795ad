r"""The error of a field, resolved into the covariant Lyapunov vectors of the truth.

It is taken at states of the true attractor of which the vectors are known, the same for all data, methods and seeds of
a system. What is kept of it:

- `jacobian_within`, `jacobian_across`: with the orthogonal projector P onto the attractor's directions (the unstable
  and neutral vectors span them), :math:`\|\delta J \, P\|_F / \|J\|_F` and :math:`\|\delta J \, (1 - P)\|_F / \|J\|_F`,
  at states that are spread over the orbits. Their squares add up to that of the relative error of the whole Jacobian.
- `resolved`: the root mean square of :math:`w_i^T \delta J v_j` over all states, and `shift_scatter`, the standard
  deviation of its diagonal.
- `shift`: what the error shifts each exponent by at first order, along the true orbit (`fixed`), of the moved orbit
  (`shadowed`) and of the moved attractor (`moved`), with `shift_stderr` (:mod:`nearorbit.dynamics.response`); and the
  `displacement` of the moved orbit, relative to the spread of the attractor. First order holds where it is small.

All is NaN for a system whose vectors are not known, and where the field is not finite on the attractor.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from nearorbit.dynamics.response import response
from nearorbit.dynamics.shadowing import Frames
from nearorbit.evaluation.judged import Judged

PREDICTIONS = ("fixed", "shadowed", "moved")
KEPT = 512  # states at which relative errors are kept
SLOW = 3.0  # standard errors, within which an exponent belongs to the attractor's directions


def resolved(judged: Judged, vectors: xr.Dataset) -> xr.Dataset:
    """Resolve the error of a field, or of each member of an ensemble.

    Arguments:
        judged: The field and the truth.
        vectors: The covariant vectors, from :func:`nearorbit.truth.covariant_vectors.covariant_vectors`.

    Returns:
        `jacobian_within` and `jacobian_across` (seed, state), `resolved` (seed, exponent, along), `shift` and
        `shift_stderr` (seed, prediction, exponent), `shift_scatter` (seed, exponent), `displacement` (seed) and
        `shift_distinct` (exponent), 0 where vectors are not defined one by one.
    """
    states, seeds = vectors["states"].to_numpy(), judged.truth.sizes["seed"]
    flat = states.reshape(1, -1, states.shape[-1])
    learned = judged.evaluated(np.broadcast_to(flat, (seeds, *flat.shape[1:])))
    true = (vectors[name].to_numpy() for name in ("field", "jacobian"))
    return _table(
        vectors, *(values.reshape(seeds, *known.shape) - known for values, known in zip(learned, true, strict=True))
    )


def unresolved(vectors: xr.Dataset, seeds: int) -> xr.Dataset:
    """Make the table of the truth against itself, which has no errors."""
    known = (vectors[name].to_numpy() for name in ("field", "jacobian"))
    return _table(vectors, *(np.broadcast_to(values - values, (seeds, *values.shape)) for values in known))


def _table(vectors: xr.Dataset, field: np.ndarray, jacobian: np.ndarray) -> xr.Dataset:
    """The table of errors of the field (E, S, T, D) and of its Jacobian (E, S, T, D, D)."""
    names = ("field", "jacobian", "vectors", "growth", "curvature", "exponents")
    known: Iterable[Any] = (vectors[name].to_numpy() for name in names)
    frames = Frames(*known, *(vectors[name].item() for name in ("spread", "step", "period")))
    answers = [response(frames, *errors) for errors in zip(field, jacobian, strict=True)]
    inside, outside = np.moveaxis(np.stack([_relative(frames, errors, vectors) for errors in jacobian]), 1, 0)
    shift, stderr = (
        [[getattr(answer, f"{name}{suffix}") for name in PREDICTIONS] for answer in answers]
        for suffix in ("", "_stderr")
    )
    rate = {"units": "1 / system time"}
    return xr.Dataset(
        {
            "jacobian_within": (("seed", "state"), inside),
            "jacobian_across": (("seed", "state"), outside),
            "resolved": (("seed", "exponent", "along"), np.stack([answer.resolved for answer in answers]), rate),
            "shift": (("seed", "prediction", "exponent"), np.array(shift), rate),
            "shift_stderr": (("seed", "prediction", "exponent"), np.array(stderr), rate),
            "shift_scatter": (("seed", "exponent"), np.stack([answer.scatter for answer in answers]), rate),
            "displacement": ("seed", [answer.displacement for answer in answers]),
            "shift_distinct": ("exponent", vectors["distinct"].to_numpy()),
        },
        coords={"prediction": list(PREDICTIONS)},
    )


def _relative(frames: Frames, jacobian: np.ndarray, vectors: xr.Dataset) -> np.ndarray:
    """The relative errors within the attractor's directions and across them, at some states, with shape (2, N)."""
    slow = frames.exponents >= -SLOW * vectors["stderr"].to_numpy()
    if frames.neutral is not None:
        slow[: frames.neutral + 1] = True
    flat = (values.reshape(-1, *values.shape[2:]) for values in (frames.vectors, jacobian, frames.jacobian))
    V, error, J = (values[np.arange(min(KEPT, len(values))) * len(values) // min(KEPT, len(values))] for values in flat)
    basis = np.linalg.qr(V[..., slow])[0]
    within = error @ basis @ np.swapaxes(basis, -1, -2)
    return np.stack([np.linalg.norm(part, axis=(-2, -1)) for part in (within, error - within)]) / np.linalg.norm(
        J, axis=(-2, -1)
    )
