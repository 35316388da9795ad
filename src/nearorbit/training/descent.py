"""A step downhill: the losses of all members on a batch, and the direction in which the weights are to go.

Losses are computed for the whole ensemble at once, or compiled. On a CPU it is the loss of one member that is compiled,
and called for each in turn: what is compiled for three sums up in another order than what is compiled for one, and a
member would not have the bits of its seed alone. Batches that compiling pays for fill a core by themselves.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from nearorbit.dynamics.fields import TwiceDifferentiable
from nearorbit.training.budget import Training
from nearorbit.training.compilation import compiled, pays
from nearorbit.training.methods.base import Batch, Method, Penalized
from nearorbit.training.optimizer import alone, conflict_free, gradient


class Descent:
    """The losses of a method, and their gradients or what else is to be made of them.

    Arguments:
        method: The method.
        trained: What is trained: the ensemble, and what the method adds to it.
        weights: Its flat weights, with shape (E, P).
    """

    def __init__(self, method: Method, trained: nn.ModuleList, weights: Tensor):
        self._method, self._trained, self._weights = method, trained, weights
        self._joined = getattr(method, "join", "sum") == "config"
        self._parts: list[nn.ModuleList] = []  # an ensemble of each member, if they are called one by one
        self._fast: Callable[..., Tensor] | None = None

    @property
    def compiled(self) -> bool:
        """Whether losses are compiled."""
        return self._fast is not None

    def compile(self, settings: Training, batch: Batch) -> None:
        """Compile the losses, if that is asked for, or pays for the loss of a member of such a batch."""
        progress, members = self._weights.new_zeros(()), range(len(self._weights))
        first, one = cast(nn.ModuleList, alone(self._trained, self._weights, 0)), batch.member(0)
        wanted = settings.compile
        if wanted == "auto":
            wanted = pays(lambda: self._descent(first, one, progress), steps=settings.steps)
        if not wanted:
            return
        together = self._weights.is_cuda
        example = (self._trained, batch) if together else (first, one)
        self._fast = compiled(self._losses, *example, progress, again=self._joined)
        if self.compiled and not together:
            self._parts = [first, *(cast(nn.ModuleList, alone(self._trained, self._weights, e)) for e in members[1:])]

    def __call__(self, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the losses, with shape (E,), and the direction whose negative the weights are to go, (E, P).

        Arguments:
            batch: The segments.
            progress: How much of the training has passed, from 0 to 1, without dimensions.
        """
        if not self._parts:
            return self._descent(self._trained, batch, progress)
        steps = [self._descent(part, batch.member(e), progress) for e, part in enumerate(self._parts)]
        losses, directions = map(torch.cat, zip(*steps, strict=True))
        return losses, directions

    def _descent(self, trained: nn.ModuleList, batch: Batch, progress: Tensor) -> tuple[Tensor, Tensor]:
        losses = (self._fast or self._losses)(trained, batch, progress)
        if not self._joined:
            return losses, gradient(losses.sum(), trained)
        error, penalty = losses
        ways = gradient(error.sum(), trained, again=True), gradient(penalty.sum(), trained)
        return error + penalty, conflict_free(*ways)

    def _losses(self, trained: nn.ModuleList, batch: Batch, progress: Tensor) -> Tensor:
        """Compute the loss of each member: its two terms, (2, E), if their gradients are to be joined."""
        field, *own = trained
        network = cast(TwiceDifferentiable, field)
        if self._joined:
            return torch.stack(cast(Penalized, self._method).terms(network, batch, progress, *own))
        return self._method.loss(network, batch, progress, *own)
