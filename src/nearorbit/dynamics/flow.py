r"""The flow of a field: rollouts, and the tangent dynamics along them.

States move by an explicit Runge-Kutta method with a fixed number of steps between two samples: for training the
classical one of order 4, for judging what was learned that of Dormand and Prince of order 8, whose error is at rounding
where the other's is seen (12 evaluations a step; to halve the step of order 4 twice takes 16 and gains 256). A tangent
obeys the variational equation :math:`\dot{v} = J(x) v` and is carried through the same stages. That equation is linear
in :math:`v` and a Runge-Kutta method keeps it so exactly: the D columns of the fundamental matrix say how *every*
tangent moves (:func:`tangent_rollout` with the identity, then a matrix product).

Perceptrons are rolled out by kernels where these may (:mod:`nearorbit.dynamics.kernels`).

It is one module since all rollouts, with and without tangents, are one integration of a tuple of tensors.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nearorbit.dynamics import kernels
from nearorbit.dynamics.drive import Drive
from nearorbit.dynamics.fields import Field, Pairs, TwiceDifferentiable, identity
from nearorbit.dynamics.kernels import Perceptrons, usable
from nearorbit.dynamics.schemes import SCHEMES, STAGES, weights_of


def rollout(
    field: Callable[[Tensor], Tensor],
    start: Tensor,
    times: Tensor,
    *,
    drive: Drive | None = None,
    substeps: int = 1,
    recompute: bool = False,
    order: int = 4,
) -> Tensor:
    """Integrate states over given times.

    Arguments:
        field: The field, of which no tangents are asked.
        start: The states at the first time, with shape (*, D).
        times: The times to report, with a shape (*, T) that broadcasts against the states; segments may differ in
            spacing.
        drive: A coupling to a given orbit; with order 4 only.
        substeps: How many Runge-Kutta steps are made between two times.
        recompute: Whether a gradient keeps only the states at the given times and computes what lies between them
            again: less memory, by about the number of operations of ``substeps`` steps, for a second forward pass.
        order: The order of the method, 4 or 8.

    Returns:
        The states at all times, the first included, with shape (*, T, D).
    """
    assert drive is None or order == 4
    return _integrated(field, (start,), times, substeps, recompute, order, drive)[0]


def tangent_rollout(
    field: Field,
    start: Tensor,
    times: Tensor,
    *,
    tangents: Tensor | None = None,
    substeps: int = 1,
    recompute: bool = False,
    order: int = 4,
) -> tuple[Tensor, Tensor]:
    """Integrate states together with tangents.

    Arguments:
        field: The field.
        start: The states at the first time, with shape (*, D).
        times: The times to report, with a shape (*, T) that broadcasts against the states.
        tangents: The tangents at the first time, with shape (*, K, D); the D unit vectors by default. Row k of the
            result is then column k of the fundamental matrix, M[:, k].
        substeps: How many Runge-Kutta steps are made between two times.
        recompute: As in :func:`rollout`.
        order: The order of the method, 4 or 8.

    Returns:
        The states at all times with shape (*, T, D), and the tangents with shape (*, T, K, D).
    """
    tangents = identity(start) if tangents is None else tangents
    states, moved = _integrated(field, (start, tangents), times, substeps, recompute, order)
    return states, moved


def taylor_rollout(
    field: TwiceDifferentiable,
    start: Tensor,
    times: Tensor,
    *,
    tangents: Tensor | None = None,
    pairs: Pairs | None = None,
    substeps: int = 1,
    recompute: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Integrate states together with tangents and second derivatives: the Taylor expansion of the flow.

    .. math:: x(t; x_0 + \sum_i a_i v_i) = x + \sum_i a_i v_i(t) + \frac{1}{2} \sum_{ij} a_i a_j w_{ij}(t) + O(a^3),
        \qquad \dot{w}_{ij} = J w_{ij} + H[v_i, v_j], \quad w_{ij}(0) = 0

    Arguments:
        field: The field.
        start: The states at the first time, with shape (*, D).
        times: The times to report, with a shape (*, T) that broadcasts against the states.
        tangents: The tangents at the first time, with shape (*, K, D); the D unit vectors by default.
        pairs: The indices i and j of the P pairs of tangents whose second derivative is carried, two tensors with shape
            (P,); all with i <= j by default.
        substeps: How many Runge-Kutta steps are made between two times.
        recompute: As in :func:`rollout`.

    Returns:
        The states with shape (*, T, D), the tangents with shape (*, T, K, D), and the second derivatives with shape
        (*, T, P, D).
    """
    tangents = identity(start) if tangents is None else tangents
    count = tangents.shape[-2]
    i, j = torch.triu_indices(count, count, device=start.device) if pairs is None else pairs
    columns = torch.cat([tangents, torch.zeros_like(tangents[..., i, :])], -2)
    states, moved = _integrated(field, (start, columns), times, substeps, recompute, 4, pairs=(i, j))
    first, second = moved.split([count, len(i)], -2)
    return states, first, second


def adaptive_rollout(field: Field, start: Tensor, times: Tensor, *, rtol: float = 1e-7, atol: float = 1e-9) -> Tensor:
    """Integrate states over given times with the adaptive method dopri5 of torchdiffeq.

    Arguments:
        field: The field.
        start: The states at the first time, with shape (*, D).
        times: The times to report, with shape (T,): one clock for all states.
        rtol: The relative tolerance.
        atol: The absolute tolerance.

    Returns:
        The states at all times, with shape (*, T, D).
    """
    from torchdiffeq import odeint  # here, because its import takes a second of every job's time

    states = odeint(lambda _, x: field(x), start, times, method="dopri5", rtol=rtol, atol=atol)
    return states.movedim(0, -2)


def propagate(field: Field, *, like: Tensor, step: float, rate: Tensor | float = 1.0) -> Callable:
    """Make the propagator of a field that :func:`nearorbit.dynamics.lyapunov.spectrum` asks for.

    Arguments:
        field: The field.
        like: A tensor with shape (*, D), whose shape, precision and device the states of the field take.
        step: The longest step of the method of order 8, in units of the propagator's time.
        rate: The field's time per unit of the propagator's, with a shape that broadcasts against (*, 1).

    Returns:
        A function (x, v, duration) -> (x, v) on NumPy arrays of double precision: states with shape (B, D), B the
        product of *, and tangents with shape (B, D, K), a column each.
    """

    @torch.inference_mode()
    def advance(x: np.ndarray, v: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray]:
        states = torch.tensor(x).to(like).view(like.shape)
        tangents = torch.tensor(v).to(like).mT.reshape(*like.shape[:-1], v.shape[-1], like.shape[-1])
        substeps = max(1, int(np.ceil(duration / step - 1e-9)))
        times = rate * torch.tensor([0.0, duration]).to(like)
        states, tangents = tangent_rollout(field, states, times, tangents=tangents, substeps=substeps, order=8)
        states, tangents = states[..., -1, :], tangents[..., -1, :, :]
        return states.reshape(x.shape).double().cpu().numpy(), tangents.mT.reshape(v.shape).double().cpu().numpy()

    return advance


def _integrated(
    field: Any,
    start: tuple[Tensor, ...],
    times: Tensor,
    substeps: int,
    recompute: bool,
    order: int,
    drive: Drive | None = None,
    pairs: Pairs | None = None,
) -> tuple[Tensor, ...]:
    """Follow states, and tangents if there are any; perceptrons by kernels, where these may.

    With pairs the last tangents are second derivatives along these of the others.
    """
    scheme = SCHEMES[order] if drive is None else (drive.lengths, drive.step)
    fixed = (times,) if drive is None else (times, drive.values, drive.strength)
    net: Perceptrons | None = getattr(field, "perceptrons", None)
    if net is None or times.shape[-1] < 2 or not usable(net, start[0], *fixed):
        return _integrate(_rate(field, len(start), pairs), start, times, substeps, recompute, scheme)
    lead = start[0].shape[:-1]
    members = len(net.weights[0])

    def rows(tensor: Tensor, own: int) -> Tensor:
        """Bring a tensor with shape (*, and `own` more) to (E, N, ...): a view where it is the same for all."""
        return tensor.expand(*lead, *tensor.shape[-own:]).reshape(members, -1, *tensor.shape[-own:])

    h = times.to(start[0]).diff(dim=-1) / substeps
    weights, pulls = (weights_of(order, h), None) if drive is None else (drive.weights(h), drive.pulls)
    x, u = rows(start[0], 1), rows(start[1], 2) if len(start) == 2 else None

    def plain(x: Tensor, u: Tensor | None, *parameters: Sequence[Tensor], pairs: Pairs | None) -> tuple[Tensor, ...]:
        whole = None if drive is None else replace(drive, values=rows(drive.values, 2))
        begin, other = (
            ((x,), scheme if whole is None else (whole.lengths, whole.step)) if u is None else ((x, u), scheme)
        )
        return _integrate(
            lambda y, *v: net.plain(y, *v or [None], *parameters, pairs),
            begin,
            rows(times, 1),
            substeps,
            recompute,
            other,
        )

    made = kernels.rollout(
        net,
        x,
        u,
        weights=rows(weights, 3),
        substeps=substeps,
        pulls=None if pulls is None else (rows(pulls.to(x).contiguous(), 2), STAGES),
        pairs=pairs,
        plain=plain,
    )
    return tuple(tensor.view(*lead, *tensor.shape[2:]) for tensor in made)


def _rate(field: Any, carried: int, pairs: Pairs | None) -> Callable:
    """The slopes of states alone, or of states and tangents, with or without second derivatives among these."""
    if carried == 1:
        return lambda x: (field(x),)
    if pairs is None:
        return cast(Callable, field.push_forward)

    def second(x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        v, w = u.split([u.shape[-2] - len(pairs[0]), len(pairs[0])], -2)
        f, *moved = field.push_forward_second(x, v, w, pairs)
        return f, torch.cat(moved, -2)

    return second


def _integrate(
    rate: Callable, start: tuple[Tensor, ...], times: Tensor, substeps: int, recompute: bool, scheme: tuple
) -> tuple[Tensor, ...]:
    """Follow states, and what goes along with them, over times with shape (*, T), the stage of each step counted."""
    compute_lengths, make_step = scheme
    lengths = compute_lengths(times.diff(dim=-1).unsqueeze(-1) / substeps)

    def advance(sample: int, *y: Tensor) -> tuple[Tensor, ...]:
        steps = tuple(length[..., sample, :] for length in lengths)
        for substep in range(substeps):
            y = make_step(rate, 2 * (sample * substeps + substep), y, steps)
        return y

    if recompute:
        advance = partial(checkpoint, advance, use_reentrant=False, preserve_rng_state=False)
    rows = [start]
    for sample in range(times.shape[-1] - 1):
        rows.append(advance(sample, *rows[-1]))
    # Time goes before the components, of a state (*, D) as of tangents (*, K, D).
    return tuple(torch.stack(column, start[0].dim() - 1) for column in zip(*rows, strict=True))
