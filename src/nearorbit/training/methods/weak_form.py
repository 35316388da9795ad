r"""The weak form: the equation is integrated against test functions, so that data are never differentiated.

Integration by parts moves the derivative from the data to a test function :math:`\phi` that vanishes where its window
begins and ends,

.. math:: \int \phi \, f(x) \, dt = \int \phi \, \dot{x} \, dt = - \int \dot{\phi} \, x \, dt,

and the noise of all samples of the window is averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error


@dataclass(frozen=True)
class WeakForm(Penalized):
    r"""Fit rollouts, and the field in the weak sense: integrated against test functions over the segments.

    .. math::
        L = L_\text{baseline} + w \, \Big\langle \Big| \frac{\sum_k \phi_k f_\theta(x_{i+k})}{\sum_k \phi_k}
            - \frac{\sum_k \dot{\phi}_k \, x_{i+k}}{\sum_k \dot{\phi}_k \, t_k} \Big|^2 / D \Big\rangle_{i, \phi},
        \qquad \phi(t) = \big(t (s h - t)\big)^p

    over the s intervals h of a segment, for each of the orders p. What is compared are two means of the speed with the
    weight :math:`\phi`: in units of the data's mean speed, which is about 1 in model time, so that w means the same for
    every window and order. A motion at constant speed leaves no residual.

    The sums are the trapezoidal rule. Since :math:`\phi` ends flat, its error at the true field falls with :math:`h^p`
    for even p at the same window (:math:`h^{p+1}` for odd p), faster than Simpson's rule, whose unequal weights would
    add noise besides. The derivative of :math:`\phi` is odd about the middle of the window and :math:`\phi` even: the
    noise of the two means is uncorrelated. It still reaches the field through its arguments.

    At uneven times the error falls with the square of the intervals, and the weights of the states are shifted so that
    they sum to zero, as they do at equal intervals.

    References:
        | A weak penalty neural ODE for learning chaotic dynamics from noisy time series (Li, Harlim, Chakraborty and
          Maulik, arXiv 2511.06609, 2025)
        | Weak SINDy: Galerkin-based data-driven model selection (Messenger and Bortz, Multiscale Model. Simul. 2021)

    Arguments:
        weight: The weight w; the default is from a short trial on Lorenz and Rossler.
        segment: The length of the segments, which are the windows, in samples.
        orders: The orders p of the test functions, 2 or more each; the larger, the narrower.
    """

    weight: float = 10.0
    segment: int = 10
    orders: Sequence[int] = (2, 4)
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self):
        check_weight(self.weight)
        if self.segment < 4:
            raise ValueError(f"segment must be at least 4 samples, not {self.segment}: sums stand for integrals")
        if not self.orders or min(self.orders) < 2:
            raise ValueError(f"orders is a list of whole numbers from 2 on, such as [2, 4], not {self.orders!r}")

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        window = batch.states[..., 1:-1, :]  # nothing is weighted at the ends
        values, slopes = self._functions(batch.ticks[..., : window.shape[-2] + 2])
        speed = slopes @ window / batch.interval.unsqueeze(-1)
        residuals = values @ field(window) - speed
        return trajectory_error(batch.rollout(field), batch), self.weight * member_mean(residuals.square())

    def _functions(self, ticks: Tensor) -> tuple[Tensor, Tensor]:
        """Tabulate the weights of the fields and of the states, per sample interval, with shape (*, orders, T - 2), at
        times (*, T) in sample intervals."""
        k, count = ticks[..., 1:-1], ticks[..., -1:]
        width = (ticks[..., 2:] - ticks[..., :-2]) / 2  # of the trapezoidal rule
        bump, tilt = 4 * k * (count - k) / count**2, (count - 2 * k) / count
        power = torch.pow if ticks.dim() == 1 else _power  # members share the one table of equal intervals
        values = torch.stack([width * power(bump, order) for order in self.orders], -2)
        slopes = torch.stack([width * power(bump, order - 1) * tilt for order in self.orders], -2)
        # The sum, in pairs that cancel exactly where times are even.
        slopes = slopes - (slopes + slopes.flip(-1)).sum(-1, keepdim=True) / (2 * k.shape[-1])
        return values / values.sum(-1, keepdim=True), slopes / (slopes * k.unsqueeze(-2)).sum(-1, keepdim=True)


def _power(x: Tensor, order: int) -> Tensor:
    """Multiply x with itself: of ``x**order`` the last bits depend on where in a tensor it stands."""
    return reduce(torch.mul, [x] * order)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"weak_form": WeakForm}
