"""Lyapunov supervision: the true exponents are known, and the network's are to be the same."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nearorbit.dynamics.fields import Field, identity
from nearorbit.training.methods.base import Batch, Penalized, check_weight, trajectory_error


@dataclass(frozen=True)
class Lyapunov(Penalized):
    r"""Fit rollouts, and the Lyapunov spectrum of the network along the data to the true one.

    .. math:: L = L_\text{baseline} + w \, | \langle \hat\lambda \rangle - \lambda |^2 / D, \qquad
        \hat\lambda = \frac{1}{t} \sum_n \log \operatorname{diag} R_n, \quad M_\theta(x_n) Q_n = Q_{n+1} R_n

    in model time. :math:`M_\theta(x_n)` is the network's fundamental matrix over one sample from the *observed* state
    :math:`x_n`, n runs over the second half of a window of the data (in the first, Q finds its directions), and the
    mean is over windows. Since the states are given, all :math:`M_\theta` are computed at once and no gradient runs
    through a chaotic orbit. The square of the mean is estimated by the products of pairs of different windows: their
    scatter, which no field can help, is not in its expectation; a single value may be negative.

    The reference tunes a reservoir computer to the known invariants; a penalty in training is the same idea for
    gradients. Exponents are averages over the attractor: windows on transients teach what is not true of them.

    References:
        | Constraining chaos: Enforcing dynamical invariants in the training of reservoir computers (Platt, Penny,
          Smith, Chen and Abarbanel, Chaos 2023)

    Arguments:
        weight: The weight w.
        window: The length of a window, in samples.
        share: How many samples there are in the windows of a step, relative to those of its segments.
    """

    weight: float = 0.01
    window: int = 80
    share: float = 1.0
    needs: ClassVar[frozenset[str]] = frozenset({"windows", "exponents"})

    def __post_init__(self):
        check_weight(self.weight)
        if self.window < 2 or self.share <= 0:
            raise ValueError(f"window ({self.window}) must be at least 2 and share ({self.share}) positive")

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        windows, ticks = batch["windows"]
        half, intervals = self.window // 2, batch.interval * ticks.diff(dim=-1)
        _, maps = batch.tangent_step(field, windows[..., :-1, :], intervals)
        mean = (ticks[..., -1:] - ticks[..., half : half + 1]) / (self.window - half) * batch.interval
        growth = log_growth(maps)[..., half:, :].mean(-2) / mean
        error = growth - batch["exponents"].unsqueeze(-2)
        windows = error.shape[-2]
        # The sum over pairs of different windows is the square of the sum less the sum of the squares.
        pairs = (error.sum(-2).square() - error.square().sum(-2)) / (windows * (windows - 1))
        return trajectory_error(batch.rollout(field), batch), self.weight * pairs.mean(-1)


def log_growth(maps: Tensor) -> Tensor:
    r"""Compute the growth of orthonormal tangents under one map after the other.

    By Cholesky's factor of :math:`(M Q)^T M Q = R^T R`, which a GPU makes without asking the host; it squares the
    condition of M Q, which is small over one sample.

    Arguments:
        maps: The maps, with shape (*, T, D, D).

    Returns:
        The logarithms of diag R, with shape (*, T, D).
    """
    basis, rows = identity(maps[..., 0, 0, :]), []
    for M in maps.unbind(-3):
        moved = M @ basis
        lower = torch.linalg.cholesky_ex(moved.mT @ moved).L  # R^T
        basis = torch.linalg.solve_triangular(lower, moved.mT, upper=False).mT
        rows.append(lower.diagonal(dim1=-2, dim2=-1).log())
    return torch.stack(rows, -2)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"lyapunov": Lyapunov}
