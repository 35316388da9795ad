r"""The optimizers: all weights of an ensemble in one tensor, its gradient, and Adam and its relatives on it.

Each keeps its moments in tensors at fixed places, ``state``, so that a step can be captured and a training resumed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nearorbit.dynamics.ensembles import picked
from nearorbit.training.budget import Training

# Elements; rows of the flat weights start at multiples of it, so that all members meet the same vector code.
ALIGNMENT = 16


def flatten(trained: nn.Module) -> Tensor:
    """Lay all weights of an ensemble into one matrix with a row for each member, of which the parameters become views.

    The optimizer and the clipping then work on one tensor, and every member's row starts at the same alignment, so that
    it meets the same vector instructions as a member alone.

    Arguments:
        trained: The ensemble, and what else is trained with it; all parameters have the leading dimension E.

    Returns:
        The weights, with shape (E, P), P rounded up to a multiple of :data:`ALIGNMENT`.
    """
    weights = _rows_of(list(trained.parameters()))
    _attach(trained, weights)
    return weights


def alone(trained: nn.Module, weights: Tensor, member: int) -> nn.Module:
    """Make an ensemble of one member of another; its parameters are views of that member's row of the flat weights."""
    part = picked(trained, [member])
    _attach(part, weights[member : member + 1])
    return part


def gradient(loss: Tensor, trained: nn.Module, *, again: bool = False) -> Tensor:
    """Compute the gradient of a loss, laid out as :func:`flatten` lays out the weights; returns shape (E, P).

    It is zero where the loss does not depend on a weight, as on the constant of an energy.

    Arguments:
        loss: The loss, one number.
        trained: What is trained.
        again: Whether another gradient is computed of what this one is.
    """
    parameters = list(trained.parameters())
    return _rows_of(torch.autograd.grad(loss, parameters, retain_graph=again, materialize_grads=True))


def clipped(gradients: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Clip the gradient of each member by its norm; a gradient that is not finite becomes zero.

    Arguments:
        gradients: The gradients, with shape (E, P).
        bound: The largest norm that is left as it is; infinite to clip nothing.

    Returns:
        The clipped gradients, with shape (E, P), and which members had one that is not finite, with shape (E,).
    """
    norm = gradients.square().sum(1, keepdim=True).sqrt()
    finite = norm.isfinite()
    factor = (bound / norm.clamp(min=1e-12)).clamp(max=1.0)
    return torch.where(finite, gradients * factor, torch.zeros_like(gradients)), ~finite.squeeze(1)


class Adam:
    r"""Adam on one tensor of weights, which it changes in place.

    .. math:: w \leftarrow (1 - \eta \delta) \, w, \qquad m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Equal to ``torch.optim.Adam`` and, with a decay :math:`\delta`, to ``torch.optim.AdamW``, whose import takes a
    process two seconds, as long as a hundred steps of training.

    References:
        | Adam: A method for stochastic optimization (Kingma and Ba, ICLR 2015)
        | Decoupled weight decay regularization (Loshchilov and Hutter, ICLR 2019)

    Arguments:
        weights: The weights, with shape (E, P).
        betas: The decay of the two moments per step.
        epsilon: What keeps the denominator from zero.
        decay: The decay :math:`\delta` of weights, per step and unit of the learning rate.
        decayed: How many of the P columns decay, from the first on; all if None.
    """

    def __init__(
        self,
        weights: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        decay: float = 0.0,
        decayed: int | None = None,
    ):
        self._weights, self._betas, self._epsilon = weights, betas, epsilon
        self._decay, self._decayed = decay, weights[:, :decayed]
        # The decays to the power of the number of steps made.
        powers = torch.ones(2, dtype=torch.float64, device=weights.device)
        self.state = {"first": torch.zeros_like(weights), "second": torch.zeros_like(weights), "powers": powers}
        self._decays = torch.tensor(betas, dtype=torch.float64, device=weights.device)

    def update(self, gradients: Tensor, rate: Tensor) -> None:
        """Make one step with gradients of the shape of the weights, at a learning rate with shape (1,)."""
        first, second, powers = self.state.values()
        if self._decay:
            self._decayed.mul_((1 - rate * self._decay).to(gradients.dtype))
        first.lerp_(gradients, 1 - self._betas[0])
        self._spread(gradients)
        powers.mul_(self._decays)
        rest = 1 - powers
        size = (rate / rest[0]).to(gradients.dtype)
        scale = (second / rest[1]).sqrt_().add_(self._epsilon)
        self._weights.sub_((first * size).div_(scale))

    def _spread(self, gradients: Tensor) -> None:
        """Bring the second moment up to date."""
        self.state["second"].mul_(self._betas[1]).addcmul_(gradients, gradients, value=1 - self._betas[1])


class AdaBelief(Adam):
    r"""AdaBelief: steps are long where gradients are as they were expected, whatever their size.

    As Adam, with the second moment that of what the first did not expect,

    .. math:: s \leftarrow \beta_2 s + (1 - \beta_2) (g - m)^2 + \bar\epsilon, \qquad
        w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon},

    m being the first moment with g in it. Implementations differ in the :math:`\epsilon`, and that matters where
    gradients repeat: there s falls to about 1000 :math:`\bar\epsilon`. Both are 1e-16 here, as in optax. (The paper's
    algorithm has one of 1e-8 for both; optax took the m without g until November 2024.)

    References:
        | AdaBelief optimizer: Adapting stepsizes by the belief in observed gradients (Zhuang et al., NeurIPS 2020)

    Arguments:
        weights: The weights, with shape (E, P).
        betas: The decay of the two moments per step.
        epsilon: What keeps the denominator from zero, :math:`\epsilon`.
        floor: What is added to the second moment in every step, :math:`\bar\epsilon`.
    """

    def __init__(
        self,
        weights: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-16,
        floor: float = 1e-16,
    ):
        super().__init__(weights, betas=betas, epsilon=epsilon)
        self._floor = floor

    def _spread(self, gradients: Tensor) -> None:
        """Bring the second moment up to date; see :class:`Adam`."""
        error = gradients - self.state["first"]
        second = self.state["second"].mul_(self._betas[1]).addcmul_(error, error, value=1 - self._betas[1])
        second.add_(self._floor)


def optimizer(settings: Training, weights: Tensor, network: int) -> Adam:
    """Make the optimizer that a study asks for.

    Arguments:
        settings: The settings of the loop.
        weights: The weights, with shape (E, P).
        network: How many of the P columns are the network's, the first ones. These alone decay: what else a method
            trains is no weight that were better small (free initial states would be drawn to the data).
    """
    if settings.optimizer == "adabelief":
        return AdaBelief(weights)
    decay = settings.decay if settings.optimizer == "adamw" else 0.0
    return Adam(weights, decay=decay, decayed=network)


def conflict_free(first: Tensor, second: Tensor) -> Tensor:
    r"""Join two gradients so that neither loss rises along the step: ConFIG.

    .. math:: g = (g_1 \cdot u + g_2 \cdot u) \, u, \qquad u = U\big(U(O(g_1, g_2)) + U(O(g_2, g_1))\big)
        = U\big(U(g_1) + U(g_2)\big),

    with :math:`O(a, b)` the part of b that is orthogonal to a, and U the unit vector. u has the same cosine with both.
    The second form is the first (both sums are in the plane of the two, and symmetric), and is accurate where they are
    nearly parallel, too. One gradient that is zero leaves the other. Opposite ones have no such direction, and leave
    nothing: what remains of the sum of two that are opposite but for rounding is none either.

    References:
        | ConFIG: Towards conflict-free training of physics informed neural networks (Liu, Chu and Thuerey, ICLR 2025)

    Arguments:
        first: The gradients of one loss, with shape (E, P).
        second: The gradients of the other.

    Returns:
        The joined gradients, with shape (E, P); not finite where one of the two is not.
    """
    way = _unit(first) + _unit(second)
    rounded = way.square().sum(1, keepdim=True).sqrt() < 10 * torch.finfo(way.dtype).eps
    way = _unit(way.masked_fill(rounded, 0.0))
    return ((first + second) * way).sum(1, keepdim=True) * way


def _unit(rows: Tensor) -> Tensor:
    """Scale rows (E, P) to length one; those of zeros stay."""
    largest = rows.abs().amax(1, keepdim=True)  # squares of gradients may be too small, or too large, for a number
    scaled = rows / torch.where(largest > 0, largest, 1.0)
    return scaled / scaled.square().sum(1, keepdim=True).sqrt().clamp(min=1.0)


def _attach(trained: nn.Module, weights: Tensor) -> None:
    """Make all parameters views of flat weights."""
    end = 0
    for p in trained.parameters():
        begin, end = end, end + p[0].numel()
        p.data = weights[:, begin:end].view(p.shape)


def _rows_of(tensors: Sequence[Tensor]) -> Tensor:
    flat = torch.cat([t.detach().flatten(1) for t in tensors], 1)
    return torch.nn.functional.pad(flat, (0, -flat.shape[1] % ALIGNMENT))
