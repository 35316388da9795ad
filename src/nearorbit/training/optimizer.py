"""The optimizer: all weights of an ensemble in one tensor, its gradient, and Adam on it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
    parameters = list(trained.parameters())
    weights = _rows_of(parameters)
    end = 0
    for p in parameters:
        begin, end = end, end + p[0].numel()
        p.data = weights[:, begin:end].view(p.shape)
    return weights


def gradient(loss: Tensor, trained: nn.Module) -> Tensor:
    """Compute the gradient of a loss, laid out as :func:`flatten` lays out the weights; returns shape (E, P).

    It is zero where the loss does not depend on a weight, as on the constant of an energy.
    """
    return _rows_of(torch.autograd.grad(loss, list(trained.parameters()), materialize_grads=True))


def clipped(gradients: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Clip the gradient of each member by its norm; a gradient that is not finite becomes zero.

    Arguments:
        gradients: The gradients, with shape (E, P).
        bound: The largest norm that is left as it is.

    Returns:
        The clipped gradients, with shape (E, P), and which members had one that is not finite, with shape (E,).
    """
    norm = gradients.square().sum(1, keepdim=True).sqrt()
    finite = norm.isfinite()
    factor = (bound / norm.clamp(min=1e-12)).clamp(max=1.0)
    return torch.where(finite, gradients * factor, torch.zeros_like(gradients)), ~finite.squeeze(1)


class Adam:
    r"""Adam on one tensor of weights, which it changes in place.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Equal to ``torch.optim.Adam``, whose import takes a process two seconds, as long as a hundred steps of training.

    References:
        | Adam: A method for stochastic optimization (Kingma and Ba, ICLR 2015)

    Arguments:
        weights: The weights.
        betas: The decay of the two moments per step.
        epsilon: What keeps the denominator from zero.
    """

    def __init__(self, weights: Tensor, *, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8):
        self._weights, self._betas, self._epsilon = weights, betas, epsilon
        # The decays to the power of the number of steps made.
        powers = torch.ones(2, dtype=torch.float64, device=weights.device)
        self.state = {"first": torch.zeros_like(weights), "second": torch.zeros_like(weights), "powers": powers}
        self._decays = torch.tensor(betas, dtype=torch.float64, device=weights.device)

    def update(self, gradients: Tensor, rate: Tensor) -> None:
        """Make one step with gradients of the shape of the weights, at a learning rate with shape (1,)."""
        first, second, powers = self.state.values()
        decays = self._betas
        first.lerp_(gradients, 1 - decays[0])
        second.mul_(decays[1]).addcmul_(gradients, gradients, value=1 - decays[1])
        powers.mul_(self._decays)
        rest = 1 - powers
        size = (rate / rest[0]).to(gradients.dtype)
        scale = (second / rest[1]).sqrt_().add_(self._epsilon)
        self._weights.sub_((first * size).div_(scale))


def _rows_of(tensors: Sequence[Tensor]) -> Tensor:
    flat = torch.cat([t.detach().flatten(1) for t in tensors], 1)
    return torch.nn.functional.pad(flat, (0, -flat.shape[1] % ALIGNMENT))
