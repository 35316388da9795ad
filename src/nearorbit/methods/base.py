r"""What a training method is: a loss over a batch of segments, and a declaration of what it has to be given.

Everything that could make a comparison unfair (optimizer, budget, seeds, which batches) belongs to the one training
loop, :mod:`nearorbit.training`. A method receives only what it declares in ``needs``:

=============  ==============================================================================================
``states``     the observed states of a segment
``neighbors``  the observed states that the neighbors of the segment's first state went through
``spline``     the smoothing spline of the observed orbit at the Runge-Kutta stages
``jacobians``  the true Jacobian at the observed states
``exponents``  the true Lyapunov exponents
=============  ==============================================================================================
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from nearorbit.fields import Field
from nearorbit.flow import Drive, rollout, tangent_rollout

# What goes beyond the data, and its name in the tables.
PRIVILEGES = {"jacobians": "true J", "fields": "true f", "exponents": "true exponents"}


@dataclass(frozen=True)
class Batch:
    """Segments of observed orbits for an ensemble, in model coordinates and model time.

    Arguments:
        times: The times of the samples since the start of the segment, with shape (E, 1, T).
        states: The observed states, with shape (E, B, T, D); a rollout starts at the first.
        substeps: How many Runge-Kutta steps a rollout makes between two samples.
        recompute: Whether gradients compute what lies between two samples again instead of keeping it.
        neighbors: The states of the K neighbors at the same times, with shape (E, B, K, T, D).
        spline: The smoothing spline at the Runge-Kutta stages, with shape (E, B, 2 * substeps * (T - 1) + 1, D).
        jacobians: The true Jacobian at the first states, with shape (E, B, D, D).
        exponents: The true Lyapunov exponents, with shape (E, D).
    """

    times: Tensor
    states: Tensor
    substeps: int = 1
    recompute: bool = False
    neighbors: Tensor | None = None
    spline: Tensor | None = None
    jacobians: Tensor | None = None
    exponents: Tensor | None = None

    @property
    def start(self) -> Tensor:
        """The states that the segments start from, with shape (E, B, D)."""
        return self.states[..., 0, :]

    def rollout(self, field: Field, drive: Drive | None = None) -> Tensor:
        """Integrate a field from the starts of the segments; see :func:`nearorbit.flow.rollout`."""
        return rollout(field, self.start, self.times, drive=drive, substeps=self.substeps, recompute=self.recompute)

    def tangent_rollout(self, field: Field, tangents: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Integrate a field from the starts of the segments, with tangents; see
        :func:`nearorbit.flow.tangent_rollout`."""
        return tangent_rollout(
            field, self.start, self.times, tangents=tangents, substeps=self.substeps, recompute=self.recompute
        )


class Method(Protocol):
    """A training method: a frozen dataclass whose fields are its settings."""

    needs: ClassVar[frozenset[str]]

    def loss(self, field: Field, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member.

        Arguments:
            field: The ensemble that is trained.
            batch: Segments, with what the method needs.
            progress: How much of the training has passed, from 0 to 1, without dimensions.

        Returns:
            The losses, with shape (E,).
        """
        ...


def segment(method: Method, default: int) -> int:
    """Tell how many steps from sample to sample the segments of a method have: its own setting, or the study's."""
    return getattr(method, "segment", None) or default


def given(method: Method) -> str:
    """Name what a method is given beyond the observations; ``"data"`` where it is nothing."""
    return " + ".join(["data", *(name for need, name in PRIVILEGES.items() if need in method.needs)])


def member_mean(x: Tensor) -> Tensor:
    """Average over all dimensions but the leading one of the ensemble; returns shape (E,)."""
    return x.flatten(1).mean(1)


def trajectory_error(states: Tensor, batch: Batch) -> Tensor:
    r"""Compute the mean squared error of rollouts, :math:`\langle |x_{i+k} - \hat{x}_{i+k}|^2 / D \rangle_{i, k, k>0}`.

    Arguments:
        states: The rollouts from ``batch.start``, with shape (E, B, T, D).
        batch: The segments.

    Returns:
        The errors, with shape (E,), in units of the variance of the data.
    """
    return member_mean((states[..., 1:, :] - batch.states[..., 1:, :]).square())
