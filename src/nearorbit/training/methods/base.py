r"""What a training method is: a loss over a batch of segments, and a declaration of what it has to be given.

Everything that could make a comparison unfair (optimizer, budget, seeds, which batches) belongs to the one training
loop, :mod:`nearorbit.training.loop`. A method receives only what it declares in ``needs``:

==============  ================================================================================================
``states``      the observed states of a segment
``neighbors``   the observed states that the neighbors of the segment's first state went through
``past``        these neighbors, and their displacements ``instrument`` samples before the segment begins
``smoothed``    the smoothing splines of the segment, and of the neighbors if they are needed
``noise``       the standard deviation of the noise, estimated from what the smoothing splines leave
``spline``      the smoothing spline of the observed orbit at the Runge-Kutta stages
``windows``     longer pieces of the observed orbits, of ``window`` samples after their start
``local_maps``  maps of the flow over one sample, fitted to the displacements of neighbors
``jacobians``   the true Jacobian at the observed states
``fields``      the true field at the observed states
``perturbed``   states off the data, perturbed at random, with the true Jacobian there
``exponents``   the true Lyapunov exponents
==============  ================================================================================================

Defaults of weights and strengths are what ``workflow/studies/weights.yaml`` chose, the same way for every method.

A method may declare parameters of its own besides the network's, ``own``; they are trained with it in the same loop and
by the same optimizer, and are gone when the training ends: what is judged is always the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from nearorbit.dynamics.fields import Field
from nearorbit.dynamics.flow import Drive, rollout, tangent_rollout, taylor_rollout

# What goes beyond the data, and its name in the tables.
PRIVILEGES = {
    "jacobians": "true J",
    "fields": "true f",
    "perturbed": "equations",
    "exponents": "true exponents",
}


@dataclass(frozen=True)
class Batch:
    """Segments of observed orbits for an ensemble, in model coordinates and model time.

    Arguments:
        times: The times of the samples since the start of the segment, with shape (E, 1, T).
        states: The observed states, with shape (E, B, T, D); a rollout starts at the first.
        substeps: How many Runge-Kutta steps a rollout makes between two samples.
        recompute: Whether gradients compute what lies between two samples again instead of keeping it.
        index: Which observed states the segments start at, positions in the flattened (orbit, time), with shape (E, B).
        neighbors: The states of the K neighbors at the same times, with shape (E, B, K, T, D).
        past: The displacements of the neighbors some samples earlier, with shape (E, B, K, D).
        smoothed: The smoothing splines at the same times, with shape (E, B, T, D).
        smoothed_neighbors: Those of the neighbors, with shape (E, B, K, T, D).
        noise: The standard deviation of the noise, with shape (E, D).
        spline: The smoothing spline at the Runge-Kutta stages, with shape (E, B, 2 * substeps * (T - 1) + 1, D).
        windows: Longer pieces of the observed orbits, equally spaced in time, with shape (E, W, L + 1, D).
        local_maps: The fitted maps of the flow over the first interval, with shape (E, B, D, D).
        jacobians: The true Jacobian at the first states, with shape (E, B, D, D).
        fields: The true field at the first states, with shape (E, B, D).
        perturbed: The first states, perturbed at random, with shape (E, B, D).
        perturbed_jacobians: The true Jacobian there, with shape (E, B, D, D).
        exponents: The true Lyapunov exponents, per unit of model time, with shape (E, D).
    """

    times: Tensor
    states: Tensor
    substeps: int = 1
    recompute: bool = False
    index: Tensor | None = None
    neighbors: Tensor | None = None
    past: Tensor | None = None
    smoothed: Tensor | None = None
    smoothed_neighbors: Tensor | None = None
    noise: Tensor | None = None
    spline: Tensor | None = None
    windows: Tensor | None = None
    local_maps: Tensor | None = None
    jacobians: Tensor | None = None
    fields: Tensor | None = None
    perturbed: Tensor | None = None
    perturbed_jacobians: Tensor | None = None
    exponents: Tensor | None = None

    @property
    def start(self) -> Tensor:
        """The states that the segments start from, with shape (E, B, D)."""
        return self.states[..., 0, :]

    @property
    def interval(self) -> Tensor:
        """The model time between two samples, with shape (E, 1, 1)."""
        return self.times[..., 1:2]

    def rollout(self, field: Field, drive: Drive | None = None, *, start: Tensor | None = None) -> Tensor:
        """Integrate a field from the starts of the segments, or from others with shape (E, B, *, D), over the same
        times; see :func:`nearorbit.dynamics.flow.rollout`."""
        start = self.start if start is None else start
        return rollout(field, start, self._clock(start), drive=drive, **self._steps)

    def tangent_rollout(self, field: Field, tangents: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Integrate a field from the starts of the segments, with tangents; see
        :func:`nearorbit.dynamics.flow.tangent_rollout`."""
        return tangent_rollout(field, self.start, self.times, tangents=tangents, **self._steps)

    def taylor_rollout(self, field: Field) -> tuple[Tensor, Tensor, Tensor]:
        """Integrate a field from the starts of the segments, with tangents and second derivatives; see
        :func:`nearorbit.dynamics.flow.taylor_rollout`."""
        return taylor_rollout(field, self.start, self.times, **self._steps)

    def step(self, field: Field, start: Tensor) -> Tensor:
        """Integrate a field over one interval between samples, from starts with shape (E, *, D); returns the ends."""
        return rollout(field, start, self._clock(start)[..., :2], **self._steps)[..., 1, :]

    def tangent_step(self, field: Field, start: Tensor) -> tuple[Tensor, Tensor]:
        """Integrate a field over one interval between samples, from starts with shape (E, *, D); returns the ends, and
        the maps M = d end / d start with shape (E, *, D, D)."""
        states, columns = tangent_rollout(field, start, self._clock(start)[..., :2], **self._steps)
        return states[..., 1, :], columns[..., 1, :, :].mT

    def _clock(self, start: Tensor) -> Tensor:
        """Give the times the dimensions that broadcast them against starts with shape (E, *, D)."""
        return self.times.reshape(len(self.times), *[1] * (start.dim() - 2), -1)

    @property
    def _steps(self) -> dict[str, Any]:
        return {"substeps": self.substeps, "recompute": self.recompute}


class Method(Protocol):
    """A training method: a frozen dataclass whose fields are its settings.

    Some settings are read outside. ``segment``, where there is one, is a length of its own. The others go with needs
    (``NEEDS`` in :mod:`nearorbit.study.checks`): with ``neighbors``, ``past`` and ``local_maps`` the label of the
    selection, ``neighbors``, and ``count``; with ``past`` also ``instrument``; with ``local_maps`` also ``fit``, the settings of
    :func:`nearorbit.data.local_maps.flow_maps`; with ``windows``, ``window`` and ``share``.

    A method with parameters of its own has another function, ``own(seeds, points, dimension) -> nn.Module``: it makes
    them for an ensemble of these seeds and this many observed states of each. All have the leading dimension E, and the
    initial values of a member depend on its seed alone.
    """

    needs: ClassVar[frozenset[str]]

    def loss(self, field: Field, batch: Batch, progress: Tensor, *own: nn.Module) -> Tensor:
        """Compute the loss of each member.

        Arguments:
            field: The ensemble that is trained.
            batch: Segments, with what the method needs.
            progress: How much of the training has passed, from 0 to 1, without dimensions.
            own: The parameters of its own, if it has declared any.

        Returns:
            The losses, with shape (E,).
        """
        ...


def segment(method: Method, default: int) -> int:
    """Tell how many steps from sample to sample the segments of a method have: its own setting, or the study's."""
    return getattr(method, "segment", None) or default


def own_parameters(method: Method, seeds: Sequence[int], points: int, dimension: int) -> tuple[nn.Module, ...]:
    """Make what a method trains besides the network: one module, or none."""
    return (method.own(seeds, points, dimension),) if hasattr(method, "own") else ()


def check_weight(weight: float) -> None:
    """Refuse a weight that is negative.

    Raises:
        ValueError: If it is.
    """
    if weight < 0:
        raise ValueError(f"weight must not be negative, as {weight} is")


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
