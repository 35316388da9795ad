"""Phases of a training: segments of one length, and at last of another (``last_segment``), with as many samples a step.

A rollout from a network that knows nothing yet is soon lost, and short segments are where to begin. What noise leaves
uncertain longer ones tell, of a network that can follow them: the same noise in a longer flight is a smaller error of
the velocity. All else goes on: the rate, the smoothing of the orbits, the state of the optimizer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.descent import Descent
from nearorbit.training.methods.base import Method

LAST = 0.15  # of the steps: those with segments of the last length


@dataclass(frozen=True)
class Phase:
    """A part of a training, with segments of one length.

    Arguments:
        data: The data, in segments of that length.
        descent: The steps downhill.
        starts: Where the segments of a step begin, at its number modulo their count, (S, E, B).
        steps: The numbers of its steps.
    """

    data: Data
    descent: Descent
    starts: Tensor
    steps: range

    def draw(self, seeds: Sequence[int], every: int) -> Iterator[tuple[int, Tensor]]:
        """Draw the starts of its steps, up to each that its number says is followed by a validation, and to its end.

        Yields:
            The number of the step after, and the starts, with shape (steps, E, B), on the host.
        """
        first, end = self.steps.start, self.steps.stop
        ends = [*range((first // every + 1) * every, end, every), end]
        lengths = [after - before for before, after in zip([first, *ends], ends, strict=False)]
        yield from zip(ends, self.data.starts(seeds, lengths), strict=True)

    def put(self, end: int, starts: Tensor) -> None:
        """Put starts where the steps before ``end`` find them."""
        place = (end - len(starts)) % len(self.starts)
        self.starts[place : place + len(starts)].copy_(starts)


def phases(data: Data, method: Method, trained: nn.ModuleList, weights: Tensor, settings: Training) -> list[Phase]:
    """Make the phases of a training: one, or two where the method has segments of another length at last.

    Arguments:
        data: The data.
        method: The method.
        trained: What is trained: the ensemble, and what the method adds to it.
        weights: Its flat weights, with shape (E, P).
        settings: The settings of the loop.
    """
    turn = settings.steps if data.last is None else int((1 - LAST) * settings.steps)
    parts = (data, range(turn)), (data.last or data, range(turn, settings.steps))
    rows = min(settings.validate_every, settings.steps)
    made = []
    for part, steps in parts:
        if steps:
            starts = torch.zeros(rows, part.members, part.batch, dtype=torch.int64, device=weights.device)
            descent = Descent(method, trained, weights)
            if settings.compile is not False:
                descent.compile(settings, part.gather(starts[0]))
            made.append(Phase(part, descent, starts, steps))
    return made
