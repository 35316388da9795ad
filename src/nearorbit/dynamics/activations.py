"""Activations of networks, with their derivatives."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

# An activation at z and its derivatives, as many as are asked for: order -> (h, h', h'')[: order + 1].


def _silu(z: Tensor, order: int) -> tuple[Tensor, ...]:
    if order == 0:
        return (nn.functional.silu(z),)
    s = torch.sigmoid(z)
    h = z * s
    slope = torch.addcmul(s, h, 1 - s)
    return (h, slope) if order == 1 else (h, slope, (1 - s) * (s + slope - h * s))


def _tanh(z: Tensor, order: int) -> tuple[Tensor, ...]:
    h = torch.tanh(z)
    if order == 0:
        return (h,)
    slope = 1 - h * h
    return (h, slope) if order == 1 else (h, slope, -2 * h * slope)


def _gelu(z: Tensor, order: int) -> tuple[Tensor, ...]:
    if order == 0:
        return (nn.functional.gelu(z),)
    mass = 0.5 * (1 + torch.erf(z * 0.5**0.5))
    density = torch.exp(-0.5 * z * z) * (2 * np.pi) ** -0.5
    slope = torch.addcmul(mass, z, density)
    return (z * mass, slope) if order == 1 else (z * mass, slope, density * (2 - z * z))


def _softplus(z: Tensor, order: int) -> tuple[Tensor, ...]:
    h = nn.functional.softplus(z)
    if order == 0:
        return (h,)
    s = torch.sigmoid(z)
    return (h, s) if order == 1 else (h, s, s * (1 - s))


ACTIVATIONS: dict[str, Callable[[Tensor, int], tuple[Tensor, ...]]] = {
    "silu": _silu,
    "tanh": _tanh,
    "gelu": _gelu,
    "softplus": _softplus,
}
