"""Homotopy: long rollouts, held to the data by a coupling that fades; synchronization alone, where it does not."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nearorbit.dynamics.drive import Drive
from nearorbit.dynamics.fields import Field
from nearorbit.study import catalogue
from nearorbit.training.methods.base import Batch, trajectory_error

TIMES = ("model", "system")


@dataclass(frozen=True)
class Homotopy:
    r"""Fit long rollouts that are synchronized with the data, and let go of them during training.

    .. math:: \dot{x} = f_\theta(x) + \lambda \kappa (\bar{x}(t) - x), \qquad \lambda: 1 \to 0,

    with :math:`\bar{x}` the cubic smoothing spline of the data, or what else ``toward`` names. A coupled rollout cannot
    run away from the data, so that the loss is smooth over segments much longer than the Lyapunov time. :math:`\lambda`
    falls from 1 to 0 in ``steps`` decrements, each ``ratio`` times the one before; every level of it takes an equal
    share of the training.

    References:
        | Homotopy-based training of NeuralODEs for accurate dynamics discovery (Ko, Koh, Park and Jhe, NeurIPS 2023)

    Arguments:
        coupling: The strength :math:`\kappa`; 0 is the uncoupled rollout of the same length, the control in a study.
        segment: The length of the rollouts, in samples; the number of segments in a batch shrinks in proportion, so
            that as many samples are seen as by the other methods.
        steps: The number of decrements of :math:`\lambda`.
        ratio: The ratio of a decrement to the one before.
        constant: Keep :math:`\lambda = 1`: synchronization alone; for this the trials chose a coupling of 2.
        toward: What rollouts are coupled to: the name of a need that is an orbit at the Runge-Kutta stages.
        per: What the strength is per unit of: ``model`` time, or ``system`` time, as the reference has it (with a
            strength of 6); in units of model time it then differs from system to system.
        penalty: That on the squared second derivative of a ``fixed_spline``, of system time; not used otherwise.
    """

    coupling: float = 54.0
    segment: int = 25
    steps: int = 8
    ratio: float = 0.6
    constant: bool = False
    toward: str = "spline"
    per: str = "model"
    penalty: float = 1e-4

    def __post_init__(self):
        if self.coupling < 0 or self.segment < 1 or self.steps < 1 or not 0 < self.ratio < 1:
            raise ValueError(
                f"coupling ({self.coupling}) must not be negative, segment ({self.segment}) and steps ({self.steps}) "
                f"must be at least 1, and ratio ({self.ratio}) between 0 and 1"
            )
        if self.per not in TIMES:
            raise ValueError(f"per is one of {', '.join(TIMES)}, not '{self.per}'{catalogue.hint(self.per, TIMES)}")
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"penalty must be positive, and finite, as {self.penalty} is not")
        orbits = [name for name, need in catalogue.entries("needs").items() if need.stages]
        if self.toward not in orbits:
            raise ValueError(
                f"toward: '{self.toward}' is no orbit to be coupled to{catalogue.hint(self.toward, orbits)}; "
                f"there are {', '.join(orbits)}"
            )

    @property
    def needs(self) -> frozenset[str]:
        """What it has to be given; see :class:`nearorbit.training.methods.base.Method`."""
        return frozenset({self.toward, *(["rate"] if self.per == "system" else [])} if self.coupling else ())

    def loss(self, field: Field, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member; see :class:`nearorbit.training.methods.base.Method`."""
        if not self.coupling:
            return trajectory_error(batch.rollout(field), batch)
        strength = self.coupling if self.constant else self.coupling * self.fade(progress)
        if self.per == "system":
            strength = strength / batch["rate"].view(-1, 1, 1, 1)
        drive = Drive(batch[self.toward], strength)
        return trajectory_error(batch.rollout(field, drive), batch)

    def fade(self, progress: Tensor) -> Tensor:
        r"""Compute :math:`\lambda`, a staircase from 1 down to 0 over the ``steps`` + 1 equal parts of the training."""
        level = torch.floor(progress * (self.steps + 1)).clamp(max=self.steps)
        return 1 - (1 - self.ratio**level) / (1 - self.ratio**self.steps)


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"homotopy": Homotopy}
