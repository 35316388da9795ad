"""Collocation, or gradient matching: the field is the derivative of a smoothing spline; nothing is integrated."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nearorbit.dynamics.fields import Field
from nearorbit.training.methods.base import Batch, member_mean


@dataclass(frozen=True)
class Collocation:
    r"""Fit the field to the derivative of the smoothing spline; nothing is integrated.

    .. math:: L = \big\langle | f_\theta(\bar{x}(t_k)) - \dot{\bar{x}}(t_k) |^2 / D \big\rangle_k

    over all samples of the segments, in units of the data's mean speed, which is about 1 in model time.
    :math:`\bar{x}` is the smoothing spline of the observed orbit, see :mod:`nearorbit.data.smoothing`. What it gets
    wrong, the field learns: at the true field the loss is the error of the spline, in its states and more in their
    derivative.

    References:
        | A spline least squares method for numerical parameter estimation in differential equations (Varah, SIAM J.
          Sci. Stat. Comput. 1982)
        | Parameter estimation of ODE's via nonparametric estimators (Brunel, Electron. J. Stat. 2008)
        | Collocation based training of neural ordinary differential equations (Roesch, Rackauckas and Stumpf, Stat.
          Appl. Genet. Mol. Biol. 2021)

    Arguments:
        trim: How many samples at either end of an orbit are left out, where the derivative of the spline is poor.
    """

    trim: int = 4
    needs: ClassVar[frozenset[str]] = frozenset({"smoothed", "slopes"})

    def __post_init__(self):
        if self.trim < 0:
            raise ValueError(f"trim must not be negative, as {self.trim} is")

    def loss(self, field: Field, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member; see :class:`nearorbit.training.methods.base.Method`."""
        return member_mean((field(batch["smoothed"]) - batch["slopes"]).square())


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"collocation": Collocation}
