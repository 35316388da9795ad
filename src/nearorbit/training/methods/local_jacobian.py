"""Local Jacobians: linear fits to the displacements of neighbors, made beforehand, supervise the network's flow."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, Penalized, check_weight, member_mean, trajectory_error


@dataclass(frozen=True)
class LocalJacobian(Penalized):
    r"""Fit rollouts, and the flow's Jacobian over one sample to a local linear fit.

    .. math:: L = L_\text{baseline} + w \, \big\langle \| A_i - M_\theta(x_i) \|_F^2 / (D h^2) \big\rangle_i, \qquad
        A_i = \arg\min_A \sum_j |(x_{j+1} - x_{i+1}) - a - A (x_j - x_i)|^2 + \dots

    with :math:`M_\theta(x_i)` the network's fundamental matrix over the sample interval h, and j the neighbors of
    :math:`x_i`. Divided by h, a difference of such maps is one of Jacobians per unit of model time, as in ``jacobian``.
    The fits are those of :func:`nearorbit.data.local_maps.flow_maps`, made once before training.

    References:
        | Ergodic theory of chaos and strange attractors (Eckmann and Ruelle, Rev. Mod. Phys. 1985)
        | Measurement of the Lyapunov spectrum from a chaotic time series (Sano and Sawada, Phys. Rev. Lett. 1985)

    Arguments:
        weight: The weight w.
        count: The number of neighbors in a fit, at most that of the selection.
        neighbors: The label of the selection of neighbors, a line of ``neighbors`` in the study.
        degree: 1 for linear fits, 2 for quadratic ones, whose linear part counts; these need more neighbors, some three
            times 1 + D + D (D + 1) / 2.
        ridge: What pulls a fit to the identity, relative to the mean squared displacement of its neighbors.
        cautious: Whether what a fit leaves unexplained is added to the ridge.
    """

    weight: float = 0.01
    count: int = 25
    neighbors: str = "nearest"
    degree: int = 1
    ridge: float = 0.03
    cautious: bool = False
    needs: ClassVar[frozenset[str]] = frozenset({"local_maps"})

    def __post_init__(self):
        check_weight(self.weight)
        if self.count < 1 or self.ridge < 0 or self.degree not in (1, 2):
            raise ValueError(
                f"count ({self.count}) must be at least 1, ridge ({self.ridge}) not negative and degree "
                f"({self.degree}) 1 or 2"
            )

    @property
    def fit(self) -> dict[str, Any]:
        """The settings of :func:`nearorbit.data.local_maps.flow_maps`."""
        return {"degree": self.degree, "ridge": self.ridge, "cautious": self.cautious}

    def terms(self, field: Field, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        interval = batch.intervals[..., 0]
        _, maps = batch.tangent_step(field, batch.start, interval)
        rates = (batch["local_maps"] - maps) / interval[..., None, None]
        penalty = rates.square().sum((-2, -1)) / field.dimension
        return trajectory_error(batch.rollout(field), batch), self.weight * member_mean(penalty)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"local_jacobian": LocalJacobian}
