r"""Learning and smoothing together: during a training, observed orbits are smoothed through what has been learned.

At first the states are those of smoothing splines; then, so many times and at equal distances in the training, the most
likely ones given *all noisy samples* and the flow of the network (:mod:`nearorbit.data.kalman`). The levels of noise
and of model error are estimated anew each time, per member. A method sees the smoothed states where its segments start
and in all that it needs, and is measured against the noisy samples.

*Why against the noisy samples.* An optimal estimate :math:`\hat{x}` is uncorrelated with its residuals :math:`y -
\hat{x}`. A rollout from a smoothed state is therefore drawn to the noisy samples without bias, while one from a noisy
state learns to forget where it began (errors in variables), and one that is measured against smoothed states learns
what the network believes already: the likelihood then says that its model error is nil, and nothing moves any more.

*Whose errors are drawn* (``draw_errors: true``). A model error is one number, and a network errs less across the
attractor than along it. There an estimate believes the samples more than it should, and those that a rollout from it is
measured against are among them: :math:`\mathrm{cov}(\hat{x}_t, \epsilon_{t+k}) = P_{t,t+k}`, the covariance of the
posterior. What would balance this, :math:`\mathrm{cov}(\hat{x}_t - x_t) \, M^T` with the covariance :math:`P_{t,t}`
that the posterior claims, is not there: the noise of the samples alone gives :math:`(P R^{-1} P)_{t,t}`. So a flow that
contracts too little does better, the more the longer it is trained. Segments therefore may start at the most likely
states by a flow whose errors :math:`w` are drawn anew in each round: these add :math:`P - P R^{-1} P`, and the errors
of the starts are what the posterior says.

*What is given up.* An orbit along which the flow leaves the data, to where it is not finite or :data:`LEFT` times as
far out as any sample, keeps its spline for the round; and so does one whose smoothed states are farther from its
samples than :data:`FAR` times the noise. So do all orbits of a member whose flow errs in one sample by more than
:data:`TRUSTED` of the noise, as on data without noise: a spline knows more than it. Both are counted.

References:
    | A view of the EM algorithm that justifies incremental, sparse and other variants (Neal and Hinton, 1998)
    | Bayesian inference of chaotic dynamics by merging data assimilation, machine learning and expectation-maximization
      (Bocquet, Brajard, Carrassi and Bertino, 2020)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nearorbit.data.kalman import Chain, Levels, fit, smooth
from nearorbit.data.smoothing import smoothed
from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.study.clock import Clock
from nearorbit.study.sampling import LEAST_SMOOTHED
from nearorbit.study.seeds import generator
from nearorbit.training.batches import Data

KINDS = ("train", "validation")  # of orbits
AT_ONCE = 2**11  # states that tangents are carried from at once: what that takes stays in the cache
FAR = 3.0
LEFT = 10.0
TRUSTED = 0.5
LEAST = 1e-4  # of the first levels, relative to the data


class Mending:
    """The smoothing of the orbits of an ensemble through itself.

    Arguments:
        field: The ensemble.
        data: Its data, whose states are replaced.
        seeds: The seeds of the members.
        steps: The number of steps of the training.
        rounds: How many times orbits are smoothed.
        draws: Whether segments start at states by a flow whose errors are drawn.
    """

    def __init__(
        self,
        field: Ensemble,
        data: Data,
        seeds: Sequence[int],
        *,
        steps: int,
        rounds: int,
        draws: bool = False,
    ):
        self._field, self._data, self._seeds = field, data, seeds
        self._rounds = Counter(steps * number // (rounds + 1) for number in range(1, rounds + 1))
        self._standard = data.standard
        self._observed = {name: self._standard(torch.from_numpy(data.observed(name))).numpy() for name in KINDS}
        self._clocks = {name: data.clock(name) for name in KINDS}
        self._splines = {name: _spline(states, self._clocks[name]) for name, states in self._observed.items()}
        # Of some components a spline may leave all noise: at first each has as much.
        left = (self._observed["train"] - self._splines["train"]) ** 2
        left = left.mean((1, 2, 3), where=self._clocks["train"].known)
        levels = torch.from_numpy(np.maximum(left, LEAST**2)).unsqueeze(1).repeat(1, field.dimension)
        count = torch.zeros(len(seeds), dtype=torch.int64)
        self._states = {name: torch.from_numpy(states.copy()) for name, states in self._splines.items()}
        # All that a checkpoint has to hold: the states, what is known of the levels, as variances, and what was told;
        # in coordinates in which the data have mean 0 and deviation 1.
        self.state = {
            **{f"smoothed_{name}": states for name, states in self._states.items()},
            "noise": levels,
            "model_error": levels.clone(),
            "rounds": count,
            "distrusted": count.clone(),
            "given_up": count.clone(),
        }
        if draws:  # then segments start at these
            self.state["drawn_train"] = self._states["train"].clone()
        self.put()

    def put(self) -> None:
        """Put the smoothed states in the place of those that were observed."""
        begun = (self.state.get(f"drawn_{name}", self._states[name]) for name in KINDS)
        self._data.mend(*(self._standard.undo(states).numpy() for states in begun))

    def smoothed(self, name: str) -> Tensor:
        """Give the smoothed orbits ``train`` or ``validation`` in model coordinates, with shape (E, O, T, D)."""
        return self._standard.undo(self._states[name])

    def before(self, step: int) -> bool:
        """Smooth as many times as is due before a step; returns whether the states are others now."""
        for _ in range(self._rounds[step]):
            chains = {name: self._chains(name) for name in KINDS}
            for member, seed in enumerate(self._seeds):
                self._smooth(member, seed, {name: of[member] for name, of in chains.items()})
        if due := self._rounds[step] > 0:
            self.put()
        return due

    @property
    def found(self) -> dict[str, Tensor]:
        """What was found of each member, with shape (E,).

        The ``noise_estimate`` and the ``model_error`` of a sample, root mean squares over components in deviations of
        the training data; the share of the rounds that were ``distrusted``, and of orbits ``given_up`` in the others.
        """
        state, orbits = self.state, sum(states.shape[1] for states in self._states.values())
        trusted = (state["rounds"] - state["distrusted"]).clamp(min=1)
        return {
            "noise_estimate": state["noise"].mean(1).sqrt(),
            "model_error": state["model_error"].mean(1).sqrt(),
            "distrusted": state["distrusted"] / state["rounds"],
            "given_up": state["given_up"] / trusted / orbits,
        }

    def _smooth(self, member: int, seed: int, chains: dict[str, Chain]) -> None:
        """Smooth the orbits of a member."""
        known = {name: of[member] for name, of in self.state.items()}
        stream = generator("smoothing", seed, int(known["rounds"]))
        finite = {name: np.isfinite(chain.offsets).all((1, 2)) for name, chain in chains.items()}
        levels, told = Levels(known["noise"].numpy(), known["model_error"].numpy()), finite["train"]
        if told.any():
            train = chains["train"][told]
            if not known["rounds"]:  # the model errs as much as it does along the splines
                levels = replace(levels, error=train.errors(self._splines["train"][member][told]))
            levels = fit(train, levels, stream)
            known["noise"].copy_(torch.from_numpy(levels.noise))
            known["model_error"].copy_(torch.from_numpy(levels.error))
        trusted = told.any() and levels.error.mean() <= TRUSTED**2 * levels.noise.mean()
        for name, chain in chains.items():
            states = self._splines[name][member].copy()
            if trusted:
                kept = chain[finite[name]]
                found = smooth(kept, levels)
                near = ((kept.observed - found) ** 2 / levels.noise).mean((1, 2)) <= FAR**2 * kept.there.mean(1)
                rows = np.flatnonzero(finite[name])[near]
                states[rows] = found[near]
                known["given_up"] += len(states) - int(near.sum())
            self._states[name][member].copy_(torch.from_numpy(states))
            if (drawn := known.get(f"drawn_{name}")) is not None:
                if trusted:
                    numbers = generator("model_errors", seed, int(known["rounds"]))
                    states[rows] = smooth(kept[near].erring(levels.error, numbers), levels)
                drawn.copy_(torch.from_numpy(states))
        known["rounds"] += 1
        known["distrusted"] += not trusted

    @torch.no_grad()
    def _chains(self, name: str) -> list[Chain]:
        """Expand the flow of each member about its states."""
        states, segments, clock = self._states[name], self._data.validation(), self._clocks[name]
        starts = self._standard.undo(states[:, :, :-1]).flatten(1, 2).to(segments.states)
        intervals = segments.interval.squeeze(-1)
        if not clock.even:
            intervals = intervals * torch.from_numpy(clock.next()[:, :, :-1].reshape(len(starts), -1)).to(starts)
        intervals = intervals.expand(-1, starts.shape[1])
        pairs = zip(starts.split(AT_ONCE, 1), intervals.split(AT_ONCE, 1), strict=True)
        parts = [segments.tangent_step(self._field, start, interval) for start, interval in pairs]
        ends, maps = (torch.cat(tensors, 1).double().cpu() for tensors in zip(*parts, strict=True))
        shape = states[:, :, 1:].shape
        scale = self._standard.scale[:, None, None]
        ends = self._standard(ends.view(shape))
        maps = maps.view(*shape, shape[-1]) * scale.unsqueeze(-2) / scale.unsqueeze(-1)
        reach = LEFT * torch.from_numpy(abs(self._observed["train"]).max((1, 2), keepdims=True))
        ends = ends.where(ends.abs() <= reach, torch.nan)
        offsets = ends - (maps @ states[:, :, :-1].unsqueeze(-1)).squeeze(-1)
        weights = np.where(clock.follows, 1 / clock.next()[:, :, :-1] ** 2, 0.0)
        weights = np.broadcast_to(weights, offsets.shape[:3])
        of_all = self._observed[name], maps.numpy(), offsets.numpy(), weights, clock.there
        return [Chain(*of) for of in zip(*of_all, strict=True)]


def _spline(orbits: np.ndarray, clock: Clock) -> np.ndarray:
    """The smoothing splines of orbits (E, O, T, D) at their samples; those that are too short for one stay."""
    return clock.each(lambda x, times: x if x.shape[-2] < LEAST_SMOOTHED else smoothed(x, times, refinement=1), orbits)
