"""Runge-Kutta methods: how states, and what goes along with them, make a step.

The classical method of order 4, and that of Dormand and Prince of order 8; each as a step of a tuple of tensors, and as
the weights that kernels take.

References:
    | Solving ordinary differential equations I (Hairer, Norsett and Wanner, 1993): DOP853, the method of order 8
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor


def _runge_kutta(rate: Callable, _: int, y: tuple[Tensor, ...], lengths: tuple[Tensor, Tensor, Tensor]) -> tuple:
    """Make one step of the classical Runge-Kutta method for a tuple of tensors; trailing dimensions may differ."""
    h, half, sixth = ([_expand(length, y_i, y[0]) for y_i in y] for length in lengths)
    k1 = rate(*y)
    k2 = rate(*map(torch.addcmul, y, half, k1))
    k3 = rate(*map(torch.addcmul, y, half, k2))
    k4 = rate(*map(torch.addcmul, y, h, k3))
    slopes = [torch.add(a + d, b + c, alpha=2) for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
    return tuple(map(torch.addcmul, y, sixth, slopes))


def _dormand_prince(rate: Callable, _: int, y: tuple[Tensor, ...], lengths: tuple[Tensor]) -> tuple:
    """Make one step of the method of order 8 for a tuple of tensors; trailing dimensions may differ."""
    h = [_expand(lengths[0], y_i, y[0]) for y_i in y]
    begin = [y_i.reshape(-1) for y_i in y]
    slopes = [y_i.new_empty(0, len(y_i)) for y_i in begin]  # times h, a row for each stage
    moved = y
    for row in _order_8(y[0].dtype, y[0].device):
        new = [(slope * h_i).reshape(1, -1) for slope, h_i in zip(rate(*moved), h, strict=True)]
        slopes = [torch.cat(pair) for pair in zip(slopes, new, strict=True)]
        moved = tuple(torch.addmv(b, k.mT, row).view_as(y_i) for b, k, y_i in zip(begin, slopes, y, strict=True))
    return moved


def weights_of(order: int, h: Tensor) -> Tensor:
    """Give the weights of a method of S stages as :func:`nearorbit.dynamics.kernels.rollout` takes them.

    Arguments:
        order: The order of the method, 4 or 8.
        h: The lengths of steps, with shape (*).

    Returns:
        The weights of the state and of the slopes, in the state after each stage and at the end of the step, with shape
        (*, S + 1, S + 1).
    """
    table = _tableau(order, h.dtype)
    begin = torch.zeros_like(table)
    begin[:, 0] = 1
    return begin + h[..., None, None] * table


@cache
def _tableau(order: int, dtype: torch.dtype) -> Tensor:
    """The weights of slopes in the states of all stages, and in the end of the step, after a column for the state."""
    rows = [(), *(ORDER_4 if order == 4 else (row.tolist() for row in _order_8(torch.float64, torch.device("cpu"))))]
    with torch.inference_mode(False):  # kept for callers in any mode
        table = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        for number, row in enumerate(rows):
            table[number, 1 : len(row) + 1] = torch.tensor(row, dtype=table.dtype)
        return table.to(dtype)


@cache
def _order_8(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """The weights of the slopes so far, in the state after each stage; after the last one, the end of the step."""
    from scipy.integrate import DOP853  # here, because its import takes half a second of every training

    rows = [*DOP853.A[1 : len(DOP853.B), : len(DOP853.B)], DOP853.B]
    with torch.inference_mode(False):  # kept for callers in any mode
        return tuple(torch.tensor(row[: n + 1], dtype=dtype, device=device) for n, row in enumerate(rows))


def _expand(length: Tensor, y: Tensor, states: Tensor) -> Tensor:
    return length.unsqueeze(-2) if y.dim() > states.dim() else length


ORDER_4 = (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)  # of slopes in a state, as in _order_8
STAGES = 0, 1, 1, 2  # of the exponential method: half steps after its begin
# By the order of a method: what it makes of the lengths of the steps, and a step.
SCHEMES = {4: (lambda h: (h, h / 2, h / 6), _runge_kutta), 8: (lambda h: (h,), _dormand_prince)}
