r"""Neighborhood-aware training: the displacements of neighbors follow the network's own tangent dynamics.

Two observed states that are close stay, for a while, a tangent apart: how their displacement evolves is what the true
Jacobian does to it. Nearest neighbors therefore carry the Jacobian, in the directions in which they lie.

*Noise makes neighborhoods lie.* A displacement is the difference of two noisy states, so that a fit to it is diluted
(errors in variables): the fitted map comes out smaller than it is, the network contracts too much. Three remedies are
options: neighbors no nearer than the noise (a shell, in the study's ``neighbors``), displacements of smoothed states,
and an instrument.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearorbit.dynamics.fields import TwiceDifferentiable
from nearorbit.training.methods.base import Batch, Penalized, check_weight, trajectory_error

RESIDUALS, WEIGHTING = ("squared", "norm", "huber"), ("equal", "distance", "noise")
DISPLACEMENTS, ABOUT = ("observed", "smoothed"), ("rollout", "orbit")
TINY = 1e-12  # keeps gradients of norms, and ratios of distances, finite at zero


@dataclass(frozen=True)
class Neighborhood(Penalized):
    r"""Fit rollouts, and the displacements of the neighbors of their starts to the tangent dynamics along them.

    .. math::
        L = L_\text{baseline} + w \, \Big\langle \frac{1}{K} \sum_{j} \omega_j \,
            \ell\big(x_{j+k} - c_{i+k} - \delta x_{i,k}^{(j)}\big) \Big\rangle_{i, k}, \qquad
        \dot{\delta x} = J_\theta(\hat{x}) \, \delta x, \quad \delta x_{i,0}^{(j)} = x_j - x_i,

    where j runs over the neighbors of :math:`x_i`, and c is the rollout :math:`\hat x` or the orbit x itself. About the
    rollout the error of a trajectory counts once more, over :math:`r^2`: where neighbors are near it is all that is
    seen. About the orbit they are displacements alone. :math:`\ell` is relative to the size of the neighborhoods of the
    batch, :math:`r^2 = \langle |x_j - x_i|^2 \rangle`, so that the weight means the same however wide they are. What
    remains at the true field is of second order in the distance; with ``order: 2`` of third,

    .. math:: \delta x_k = M \delta x_0 + \tfrac12 T[\delta x_0, \delta x_0], \qquad
        \dot{M} = J M, \quad \dot{T} = J T + H[M, M].

    The D columns of the fundamental matrix M are carried along each rollout and multiplied with the displacements;
    where there are fewer neighbors than components, the displacements themselves are carried.

    *Instrument.* With ``instrument: m`` the displacement m samples earlier, :math:`z_j = x_{j-m} - x_{i-m}`, is what
    the residuals :math:`\rho_j` must not correlate with: its noise is independent of theirs if the neighbors were
    chosen earlier still (``behind`` of the selection). The penalty is the squared moment
    :math:`\| \langle \rho_j z_j^T \rangle_j \|_F^2 / (\langle |z|^2 \rangle \, r^2)`, as the product of the moments of
    two halves of the neighbors, each about its mean: its expectation has no share of the noise, and is zero at the
    truth; a single value may be negative.

    References:
        | The estimation of economic relationships using instrumental variables (Sargan, Econometrica 1958)

    Arguments:
        weight: The weight w; what was chosen with ``order: 2`` is 10, with an instrument 0.01.
        count: The number of neighbors K, at most that of the selection.
        neighbors: The label of the selection of neighbors, a line of ``neighbors`` in the study.
        order: Of the expansion of the flow in the displacement, 1 or 2.
        residual: :math:`\ell`: ``squared`` norm, ``norm``, or ``huber``, which is the squared norm up to ``threshold``
            and grows linearly beyond.
        threshold: Where Huber's loss becomes linear, in units of r.
        weighting: :math:`\omega_j`: ``equal``; ``distance``, :math:`r^2 / |x_j - x_i|^2`, the residual relative to the
            neighbor's own distance; ``noise``, :math:`|x_j - x_i|^2 / (|x_j - x_i|^2 + 2 |\sigma|^2)`, less for
            neighbors within the noise :math:`\sigma`, what smoothing splines leave. Of a ``norm``, the roots of these.
        relative: Whether the loss is relative to :math:`r^2`; of a ``norm``, to the mean distance.
        displacements: ``observed`` states, or ``smoothed`` ones: then displacements, before and after, are those of
            the smoothing splines.
        about: What later displacements are counted from: the ``rollout``, or the observed ``orbit``.
        instrument: How many samples earlier the instrument lies; 0 for none.
    """

    weight: float = 10.0
    count: int = 25
    neighbors: str = "nearest"
    order: int = 1
    residual: str = "squared"
    threshold: float = 0.5
    weighting: str = "equal"
    relative: bool = True
    displacements: str = "observed"
    about: str = "rollout"
    instrument: int = 0

    def __post_init__(self):
        check_weight(self.weight)
        if self.count < 1 or self.order not in (1, 2) or self.threshold <= 0 or self.instrument < 0:
            raise ValueError(
                f"count ({self.count}) must be at least 1, order ({self.order}) 1 or 2, threshold ({self.threshold}) "
                f"positive and instrument ({self.instrument}) not negative"
            )
        options = {"residual": RESIDUALS, "weighting": WEIGHTING, "displacements": DISPLACEMENTS, "about": ABOUT}
        for name, known in options.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not '{value}'")
        plain = (self.residual, self.weighting, self.displacements) == ("squared", "equal", "observed")
        if self.instrument and (self.count < 4 or not plain):
            raise ValueError(
                "an instrument needs at least 4 neighbors, residual 'squared', weighting 'equal' and displacements "
                "'observed' (splines carry noise along)"
            )

    @property
    def needs(self) -> frozenset[str]:
        """What it has to be given; see :mod:`nearorbit.training.methods.base`."""
        optional = "past" if self.instrument else "", "noise" if self.weighting == "noise" else ""
        return frozenset({self._near, self._orbit, *optional} - {""})

    @property
    def _near(self) -> str:
        return "smoothed_neighbors" if self.displacements == "smoothed" else "neighbors"

    @property
    def _orbit(self) -> str:
        """The need that has the orbit which displacements are counted from; none if it is the rollout."""
        if self.displacements == "smoothed":
            return "smoothed"
        return "followed" if self.instrument or self.about == "orbit" else ""

    def terms(self, field: TwiceDifferentiable, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the error and the penalty; see :class:`nearorbit.training.methods.base.Penalized`."""
        near, orbit = batch[self._near], batch[self._orbit] if self._orbit else batch.states
        before = near[..., 0, :] - orbit[..., :1, :]
        states, moved = batch.displaced_rollout(field, before, order=self.order)
        # The neighbor as it is expected from the rollout itself, or from the orbit that the displacements belong to.
        reference = orbit if self._orbit else states
        residuals = (near.transpose(-2, -3) - reference.unsqueeze(-2) - moved)[..., 1:, :, :]
        penalty = self._moment(residuals, batch) if self.instrument else self._mismatch(residuals, before, batch)
        if self.relative:
            size = before.square().sum(-1) if self.residual != "norm" else _norm(before)
            penalty = penalty / batch.mean(size, empty=1.0)
        return trajectory_error(states, batch), self.weight * penalty

    def _mismatch(self, residuals: Tensor, before: Tensor, batch: Batch) -> Tensor:
        """Average the residuals (E, B, T - 1, K, D), whose displacements were ``before`` (E, B, K, D)."""
        squares, distance = residuals.square().sum(-1), before.square().sum(-1)
        size = batch.mean(distance).view(-1, 1, 1)
        if self.residual == "norm":
            values = _norm(residuals)
        elif self.residual == "huber":
            bound = self.threshold**2 * size.unsqueeze(-1)
            values = torch.where(squares <= bound, squares, 2 * (bound * squares.maximum(bound)).sqrt() - bound)
        else:
            values = squares
        if self.weighting == "distance":
            weights = size / (distance + TINY)
        elif self.weighting == "noise":
            weights = distance / (distance + 2 * batch["noise"].square().sum(-1).view(-1, 1, 1) + TINY)
        else:
            return batch.mean(values)
        return batch.mean(values * (weights if self.residual != "norm" else weights.sqrt()).unsqueeze(-2))

    def _moment(self, residuals: Tensor, batch: Batch) -> Tensor:
        """Estimate the squared moment of the residuals (E, B, T - 1, K, D) with the instrument (E, B, K, D)."""
        past, moments = batch["past"].unsqueeze(-3), []
        for half in (slice(0, None, 2), slice(1, None, 2)):
            r, z = (v[..., half, :] - v[..., half, :].mean(-2, keepdim=True) for v in (residuals, past))
            moments.append(r.mT @ z / r.shape[-2])
        return batch.mean((moments[0] * moments[1]).sum((-2, -1))) / batch.mean(past.square().sum(-1), empty=1.0)


def _norm(x: Tensor) -> Tensor:
    return (x.square().sum(-1) + TINY).sqrt()


def entries() -> dict[str, type]:
    """Export the method of this file."""
    return {"neighborhood": Neighborhood}
