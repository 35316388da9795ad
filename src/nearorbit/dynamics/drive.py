"""The coupling of a rollout to a given orbit, and how it is integrated."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import factorial

import torch
from torch import Tensor


@dataclass(frozen=True)
class Drive:
    r"""A coupling :math:`\kappa (\bar{x}(t) - x)` that is added to the field and pulls a rollout toward a given orbit.

    A strong one is stiff: :math:`-\kappa x` is integrated exactly, by an exponential Runge-Kutta method of order 4 (its
    limit without coupling is the classical one, at the same four evaluations a step). With
    :math:`g(x, t) = f(x) + \kappa \bar{x}(t)` and :math:`z = -\kappa h`,

    .. math::
        a &= e^{z/2} x + \tfrac{h}{2} \varphi_1(\tfrac{z}{2})\, g(x), \qquad
        b = e^{z/2} x + \tfrac{h}{2} \varphi_1(\tfrac{z}{2})\, g(a), \qquad
        c = e^{z/2} a + \tfrac{h}{2} \varphi_1(\tfrac{z}{2}) (2 g(b) - g(x)), \\
        x(h) &= e^z x + h \big[(\varphi_1 - 3 \varphi_2 + 4 \varphi_3)\, g(x)
        + 2 (\varphi_2 - 2 \varphi_3)(g(a) + g(b)) + (4 \varphi_3 - \varphi_2)\, g(c)\big],

    where :math:`\varphi_k(z) = (\varphi_{k-1}(z) - \varphi_{k-1}(0)) / z`, :math:`\varphi_0 = e^z`.

    References:
        | Exponential time differencing for stiff systems (Cox and Matthews, J. Comput. Phys. 2002), equations 26 to 29

    Arguments:
        values: The given orbit at the times of the stages of the Runge-Kutta method (the steps' ends and middles), with
            shape (*, 2 * steps + 1, D).
        strength: The strength :math:`\kappa`, per unit of the rollout's time; a number or a tensor without dimensions.
    """

    values: Tensor
    strength: Tensor | float

    @cached_property
    def pulls(self) -> Tensor:
        r"""The coupling without its decay, :math:`\kappa \bar{x}`, in all stages at once."""
        return self.strength * self.values

    def lengths(self, h: Tensor) -> tuple[Tensor, ...]:
        """Compute the weights of a step from its length h, with shape (*): two decays, and those of four slopes."""
        wide = h.double()  # since the weights are differences
        (half, decay), phi_1, phi_2, phi_3 = phi(-self.strength * torch.stack([wide / 2, wide]))
        first = phi_1[1] - 3 * phi_2[1] + 4 * phi_3[1]
        middle, last = 2 * phi_2[1] - 4 * phi_3[1], 4 * phi_3[1] - phi_2[1]
        weights = phi_1[0] / 2, first, middle, last
        return tuple(length.to(h.dtype) for length in (half, decay, *(wide * weight for weight in weights)))

    def weights(self, h: Tensor) -> Tensor:
        """The same as the weights of a Runge-Kutta method (:func:`nearorbit.dynamics.kernels.rollout`), of steps of
        lengths h, with shape (*); returns shape (*, 5, 5)."""
        half, decay, begun, first, middle, last = (length.squeeze(-1) for length in self.lengths(h.unsqueeze(-1)))
        none, one = torch.zeros_like(h), torch.ones_like(h)
        rows = (
            (one, none, none, none, none),
            (half, begun, none, none, none),
            (half, none, begun, none, none),
            (half * half, (half - 1) * begun, none, 2 * begun, none),
            (decay, first, middle, middle, last),
        )
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    def step(self, rate: Callable, stage: int, y: tuple[Tensor], lengths: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Make a step of states, with shape (*, D), whose first stage is given."""
        (x,) = y
        half, decay, begun, first, middle, last = lengths
        begin, half_way, end = self.pulls[..., stage : stage + 3, :].unbind(-2)
        k1 = rate(x)[0] + begin
        held = half * x
        a = torch.addcmul(held, begun, k1)
        k2 = rate(a)[0] + half_way
        k3 = rate(torch.addcmul(held, begun, k2))[0] + half_way
        k4 = rate(torch.addcmul(half * a, begun, 2 * k3 - k1))[0] + end
        return (torch.addcmul(torch.addcmul(decay * x + first * k1, middle, k2 + k3), last, k4),)


def phi(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Compute :math:`\varphi_0` to :math:`\varphi_3` at z up to 0; near it by a series, as differences cancel."""
    small = z.abs() < 1
    large = torch.where(small, -1.0, z)
    phi_3 = (((large.exp() - 1) / large - 1) / large - 0.5) / large
    series = torch.zeros_like(z)
    for power in reversed(range(18)):
        series = series * z + 1 / factorial(power + 3)
    phi_3 = torch.where(small, series, phi_3)
    phi_2 = 0.5 + z * phi_3
    return z.exp(), 1 + z * phi_2, phi_2, phi_3
