r"""Discrepancies: how far apart two distributions are, told from samples of them.

A chaotic orbit cannot be followed for long, but the states that it visits can: two clouds of points are compared as
wholes, whichever point belongs to which. One discrepancy weighs the clouds with a kernel (:func:`mmd`), the other moves
one onto the other at the least cost (:func:`sinkhorn`).

Both look at all pairs of points. Their gradients are therefore computed along with their values, so that what is kept
for the backward pass grows with the number of points and not with its square; they can be differentiated once. That of
the kernel is written out: in ``discrepancies.cpp``, which is compiled where it is used on a CPU
(:mod:`nearorbit.dynamics.native`), and for torch, which looks at pairs in parts that a core's cache holds, or at all at
once where one pass over them is compiled.
"""

import math
from collections.abc import Callable, Sequence
from ctypes import c_long, c_void_p
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import pad

from nearorbit.dynamics.kernels import NAMES, here
from nearorbit.dynamics.native import load
from nearorbit.training.compilation import at_once

WIDTHS = (0.2, 0.5, 0.9, 1.3)
# A cloud is filled up to a multiple of this number of points, without weight: all pairs of a member then fill whole
# vectors of 64 elements, and have the same bits in any ensemble (see nearorbit.dynamics.networks.base.VECTOR).
GRAIN = 8
CACHED = 2**16  # pairs that are looked at together on a CPU: 256 kB

Wanted = tuple[bool, bool]  # for which of two clouds the gradient is asked
Values = tuple[Tensor, list[Tensor | None]]  # discrepancies, with shape (B,), and the gradients of their sum
Derived = Callable[[Tensor, Tensor, Wanted], Values]  # of clouds (B, N, D) and (B, M, D)


def check_widths(widths: Sequence[float]) -> None:
    """Refuse widths of a kernel that are none.

    Raises:
        ValueError: If there are none, or they are not positive.
    """
    if not widths or not all(0 < w < math.inf for w in widths):
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
    return _compared(x, y, partial(_differentiated, partial(_sinkhorn, temperatures=[b * b for b in blurs])))


def _compared(x: Tensor, y: Tensor, discrepancy: Derived) -> Tensor:
    center = y.detach().mean(-2, keepdim=True)  # squared distances from products lose digits far from the origin
    flat = ((cloud - center).reshape(-1, *cloud.shape[-2:]) for cloud in (x, y))
    return _Kept.apply(discrepancy, *flat).view(x.shape[:-2])


class _Kept(torch.autograd.Function):
    """A discrepancy of clouds (B, N, D) -> (B,), whose gradients are computed with its values, and kept."""

    @staticmethod
    def forward(ctx, discrepancy: Derived, x: Tensor, y: Tensor) -> Tensor:
        values, gradients = discrepancy(x.detach(), y.detach(), ctx.needs_input_grad[1:])
        ctx.save_for_backward(*gradients)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(None if g is None else outer[:, None, None] * g for g in ctx.saved_tensors)


def _differentiated(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, wanted: Wanted) -> Values:
    """Compute a discrepancy, and its gradients by automatic differentiation."""
    # What is saved in here is freed in here: hooks for what outlives the loss (saved_tensors_hooks) do not see it.
    with torch.enable_grad(), saved_tensors_hooks(lambda t: t, lambda t: t):
        clouds = [t.requires_grad_(want) for t, want in zip((x, y), wanted, strict=True)]
        values = loss(*clouds)
        moving = [cloud for cloud in clouds if cloud.requires_grad]
        gradients = iter(torch.autograd.grad(values.sum(), moving) if moving else ())
    return values.detach(), [next(gradients) if want else None for want in wanted]


def _mmd(x: Tensor, y: Tensor, wanted: Wanted, widths: tuple[float, ...]) -> Values:
    kernel = partial(_mean_kernel, widths=widths)
    (same, along), (mixed, across) = kernel(x, x, wanted[0]), kernel(x, y, wanted[0])
    other, beside = kernel(y, y, wanted[1])
    back = kernel(y, x, True)[1] if wanted[1] else None
    pulls = (along, across), (beside, back)
    return same - 2 * mixed + other, [None if a is None or b is None else 2 * (a - b) for a, b in pulls]


def _mean_kernel(x: Tensor, y: Tensor, moves: bool, widths: tuple[float, ...]) -> tuple[Tensor, Tensor | None]:
    """Average the kernel over all pairs of points of clouds (B, N, D) and (B, M, D), shape (B,); with the gradient of
    the average with respect to x, where y stands still, if it is asked for."""
    if x.numel() and (by_source := _by_source(x)) is not None:
        x, y, means, sizes = x.contiguous(), y.contiguous(), x.new_empty(len(x)), x.new_tensor(widths)
        gradient = torch.empty_like(x)
        given = (tensor.data_ptr() for tensor in (sizes, x, y, means))
        by_source(
            *map(c_long, (*x.shape[:2], *y.shape[1:], len(widths))),
            *map(c_void_p, given),
            c_void_p(gradient.data_ptr() if moves else None),
        )
        return means, gradient if moves else None
    points, others = x.shape[-2], y.shape[-2]
    clouds, rows = len(x), points
    if x.device.type == "cpu" and not at_once():
        x, y = (pad(cloud, (0, 0, 0, -cloud.shape[-2] % GRAIN)) for cloud in (x, y))
        clouds = max(1, CACHED // (x.shape[-2] * y.shape[-2]))
        rows = max(GRAIN, CACHED // y.shape[-2] // GRAIN * GRAIN)
    found = []
    for near, far in zip(x.split(clouds), y.split(clouds), strict=True):
        columns = zip(*(_sums(some, far, others, moves, widths) for some in near.split(rows, -2)), strict=True)
        found.append([torch.cat(column, 1) for column in columns])
    values, *pulls = (torch.cat(column)[:, :points] / (points * others) for column in zip(*found, strict=True))
    return values.sum(-1), pulls[0] if moves else None


def _by_source(x: Tensor) -> Callable | None:
    """The same for clouds on a CPU as ``discrepancies.cpp`` has it; None where that may not do the work."""
    return _sources().get(x.dtype) if here(x) else None


@cache
def _sources() -> dict[torch.dtype, Callable]:
    library = load(Path(__file__).with_suffix(".cpp"))
    return {} if library is None else {dtype: getattr(library, f"mean_kernel_{name}") for dtype, name in NAMES.items()}


def _sums(x: Tensor, y: Tensor, others: int, moves: bool, widths: tuple[float, ...]) -> tuple[Tensor, ...]:
    """Sum the kernel of points x (B, N, D) and the first of points y (B, M, D), shape (B, N); with the gradients with
    respect to x, shape (B, N, D), if they are asked for."""
    apart = [a.unsqueeze(-1) - b.unsqueeze(-2) for a, b in zip(x.unbind(-1), y.unbind(-1), strict=True)]
    squares = apart[0].square()
    for difference in apart[1:]:
        squares.addcmul_(difference, difference)
    kernel, slope = torch.zeros_like(squares), torch.zeros_like(squares)
    for a in widths:
        inverse = (squares + a * a).reciprocal_()
        kernel.add_(inverse, alpha=a * a)
        if moves:
            slope.addcmul_(inverse, inverse, value=-2 * a * a)
    value = kernel[..., :others].sum(-1)
    if not moves:
        return (value,)
    return value, torch.stack([(slope * difference)[..., :others].sum(-1) for difference in apart], -1)


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
