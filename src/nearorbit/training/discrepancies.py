r"""Discrepancies: how far apart two distributions are, told from samples of them.

A chaotic orbit cannot be followed for long, but the states that it visits can: two clouds of points are compared as
wholes, whichever point belongs to which. One discrepancy weighs the clouds with a kernel (:func:`mmd`), the other moves
one onto the other at the least cost (:func:`sinkhorn`).

Both look at all pairs of points. Their gradients are therefore computed along with their values, so that what is kept
for the backward pass grows with the number of points and not with its square; they can be differentiated once.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import pad

WIDTHS = (0.2, 0.5, 0.9, 1.3)
# A cloud is filled up to a multiple of this number of points, without weight: all pairs of a member then fill whole
# vectors of 64 elements, and have the same bits in any ensemble (see nearorbit.dynamics.networks.base.VECTOR).
GRAIN = 8


def check_widths(widths: Sequence[float]) -> None:
    """Refuse widths of a kernel that are none.

    Raises:
        ValueError: If they are no list of positive numbers.
    """
    numbers = [w for w in widths if type(w) in (int, float)] if isinstance(widths, list | tuple) else []
    if not numbers or len(numbers) < len(widths) or not all(0 < w < math.inf for w in numbers):
        raise ValueError(f"widths has to be a list of positive numbers, as [0.2, 0.5, 0.9, 1.3], not {widths!r}")


def mmd(x: Tensor, y: Tensor, widths: Sequence[float] = WIDTHS) -> Tensor:
    r"""Compute the squared maximum mean discrepancy of two clouds.

    .. math:: \langle k(x, x') \rangle + \langle k(y, y') \rangle - 2 \langle k(x, y) \rangle, \qquad
        k(x, y) = \sum_a \frac{a^2}{a^2 + |x - y|^2}

    over all pairs, those of a point with itself included (the V-statistic): never negative but for rounding, and zero
    for equal clouds. For clouds far apart it comes to at most twice the number of widths.

    References:
        | DySLIM: Dynamics stable learning by invariant measure for chaotic systems (Schiff et al., ICML 2024): the
          kernel
        | A kernel two-sample test (Gretton et al., JMLR 2012)

    Arguments:
        x: The samples of one distribution, with shape (*, N, D).
        y: The samples of the other, with shape (*, M, D).
        widths: The widths a of the kernel, in units of x and y.

    Returns:
        The discrepancies, with shape (*).
    """
    return _compared(x, y, partial(_mmd, widths=tuple(widths)))


def sinkhorn(x: Tensor, y: Tensor, *, blur: float = 0.3, scaling: float = 0.7, diameter: float = 4.0) -> Tensor:
    r"""Compute the Sinkhorn divergence of two clouds, the cost of moving one onto the other without its entropic bias.

    .. math:: S(x, y) = W(x, y) - \frac{1}{2} W(x, x) - \frac{1}{2} W(y, y), \qquad
        W(x, y) = \min_\pi \; \Big\langle \frac{1}{2} |x - y|^2 \Big\rangle_\pi
        + \text{blur}^2 \, \text{KL}(\pi \,|\, \alpha \otimes \beta)

    with :math:`\alpha, \beta` the clouds and their squared distances halved: a cloud moved by s is s²/2 from itself.

    Values, gradients and time are those of geomloss 0.3.1 (``SamplesLoss``), whose loop this is; its own makes
    constants on the host in every call. For 3 members at 320 points, D = 3 or 6, that is 60 to 110 ms on a core; POT
    0.9.7 takes 0.8 to 1.2 s in logarithms, gives NaN without them for clouds that are apart, and asks tensors for their
    values. The gradient's cosine to the converged one is 0.99 for clouds that are close, 0.90 to 0.94 half a deviation
    apart.

    References:
        | Interpolating between optimal transport and MMD using Sinkhorn divergences (Feydy et al., AISTATS 2019)
        | Geometric data analysis, beyond convolutions (Feydy, thesis, 2020): the loop, algorithm 3.5

    Arguments:
        x: The samples of one distribution, with shape (*, N, D).
        y: The samples of the other, with shape (*, M, D).
        blur: The distance below which points are not told apart, in units of x and y.
        scaling: The ratio of the blur in one iteration to that in the iteration before, between 0 and 1.
        diameter: The blur to begin with, in units of x and y, about the size of the clouds. There are about
            log(blur / diameter) / log(scaling) + 3 iterations, however far they have come.

    Returns:
        The divergences, with shape (*).
    """
    steps = math.ceil(math.log(blur / diameter) / math.log(scaling))
    blurs = [diameter, *(diameter * scaling**step for step in range(steps)), blur]
    return _compared(x, y, partial(_sinkhorn, temperatures=[b * b for b in blurs]))


def _compared(x: Tensor, y: Tensor, discrepancy: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    center = y.detach().mean(-2, keepdim=True)  # squared distances from products lose digits far from the origin
    flat = ((cloud - center).reshape(-1, *cloud.shape[-2:]) for cloud in (x, y))
    return _Kept.apply(discrepancy, *flat).view(x.shape[:-2])


class _Kept(torch.autograd.Function):
    """A discrepancy of clouds (B, N, D) -> (B,), whose gradients are computed with its values, and kept."""

    @staticmethod
    def forward(ctx, discrepancy: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[1:]
        # What is saved in here is freed in here: hooks for what outlives the loss (saved_tensors_hooks) do not see it.
        with torch.enable_grad(), saved_tensors_hooks(lambda t: t, lambda t: t):
            clouds = [t.detach().requires_grad_(want) for t, want in zip((x, y), wanted, strict=True)]
            values = discrepancy(*clouds)
            moving = [cloud for cloud in clouds if cloud.requires_grad]
            gradients = iter(torch.autograd.grad(values.sum(), moving) if moving else ())
        ctx.save_for_backward(*(next(gradients) if want else None for want in wanted))
        return values.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(None if g is None else outer[:, None, None] * g for g in ctx.saved_tensors)


def _mmd(x: Tensor, y: Tensor, widths: tuple[float, ...]) -> Tensor:
    same, other, mixed = (_mean_kernel(*pair, widths) for pair in ((x, x), (y, y), (x, y)))
    return same + other - 2 * mixed


def _mean_kernel(x: Tensor, y: Tensor, widths: tuple[float, ...]) -> Tensor:
    squares = _squares(x, y)
    kernel = sum((a * a / (a * a + squares) for a in widths), start=squares.new_zeros(()))
    return kernel[..., : x.shape[-2], : y.shape[-2]].flatten(-2).mean(-1)


def _sinkhorn(x: Tensor, y: Tensor, temperatures: list[float]) -> Tensor:
    # Potentials of x against y, y against x, x and y against themselves, each from that of its partner. At the optimum
    # the gradient is that of the last iteration, by what stands on the left.
    left, right, partners = (x, y, x, y), (y, x, x, y), (1, 0, 2, 3)
    costs = [_squares(a, b.detach()) / 2 for a, b in zip(left, right, strict=True)]
    weights = [_log_weights(b) for b in right]

    def improved(potentials: Sequence[Tensor | float], temperature: float) -> list[Tensor]:
        scores = (w + potentials[p] / temperature for w, p in zip(weights, partners, strict=True))
        scores = (torch.sub(s.unsqueeze(-2), c, alpha=1 / temperature) for s, c in zip(scores, costs, strict=True))
        return [-temperature * s.logsumexp(-1) for s in scores]

    with torch.no_grad():
        potentials = improved([0.0] * 4, temperatures[0])
        for temperature in temperatures:
            pairs = zip(potentials, improved(potentials, temperature), strict=True)
            potentials = [(old + new) / 2 for old, new in pairs]
    potentials = improved(potentials, temperatures[-1])
    xy, yx, xx, yy = (f[..., : a.shape[-2]].mean(-1) for f, a in zip(potentials, left, strict=True))
    return xy - xx + yx - yy


def _log_weights(cloud: Tensor) -> Tensor:
    """Tell the logarithm of each point's share, none for what fills the cloud up; returns shape (*, N), filled up."""
    shares = torch.full_like(cloud[..., 0], -math.log(cloud.shape[-2]))
    return pad(shares, (0, -cloud.shape[-2] % GRAIN), value=-math.inf)


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """Compute the squared distances of all pairs of points, those that fill the clouds up included."""
    x, y = (pad(cloud, (0, 0, 0, -cloud.shape[-2] % GRAIN)) for cloud in (x, y))
    squares = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
    return (squares - 2 * (x @ y.mT)).clamp(min=0)
