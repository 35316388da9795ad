"""What is drawn for a batch, and how what belongs to it is found on the device.

Where segments begin is drawn on the host, from a stream of random numbers of each seed, and so is a number for each of
them, where a need is to draw at random in every batch. All that follows from the numbers is computed on the device: the
same for a seed whatever else is trained beside it, from wherever a training is resumed, and within a captured graph.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

WORD = 32  # bits that hold a position; a number that is drawn along with it stands above them
LOW = 2**WORD - 1


@dataclass(frozen=True)
class Draw:
    """Where the segments of a batch lie in the data, as positions in the flattened (orbit, time).

    Arguments:
        states: All observed states, with shape (E, N, D).
        start: Where the segments begin, with shape (E, B).
        row: The rows of the starts in a table of all states or, where a need restricts the starts, of those; (E, B).
        orbit: Where their orbits begin, with shape (E, B).
        moment: A number from 0 to ``moments`` - 1, drawn for each, with shape (E, B).
        moments: How many there are.
        samples: The number of samples of an orbit.
        segment: The number of samples of a segment after its start.
        number: A random number for each, from 0 to 2**31 - 1, with shape (E, B), if a need draws in every batch.
    """

    states: Tensor
    start: Tensor
    row: Tensor
    orbit: Tensor
    moment: Tensor
    moments: int
    samples: int
    segment: int
    number: Tensor | None = None

    def at(self, values: Tensor, index: Tensor) -> Tensor:
        """Take values with shape (E, N, *) at positions with shape (E, ...); returns shape (E, ..., *)."""
        return self.pieces(values, index, 1).squeeze(index.dim())

    def pieces(self, values: Tensor, start: Tensor, length: int | None = None) -> Tensor:
        """Take pieces of values with shape (E, N, *) from starts with shape (E, ...); returns shape (E, ..., T, *).

        A piece is as long as a segment, or as given, and lies in one place: taken as one row, that is several times as
        fast as one by one.
        """
        length, width = length or self.segment + 1, values.shape[2:].numel()
        rows = values.flatten().as_strided((len(values) * values.shape[1] - length + 1, length * width), (width, 1))
        member = values.shape[1] * torch.arange(len(start), device=start.device)
        places = start + member.view(-1, *[1] * (start.dim() - 1))
        return rows.index_select(0, places.flatten()).view(*start.shape, length, *values.shape[2:])

    def among(self, candidates: Tensor, count: int) -> Tensor:
        """Draw some of the candidates of each start, any of which is as likely, and none twice.

        Arguments:
            candidates: With shape (E, B, N), -1 beyond the last.
            count: How many to draw, K, at most N.

        Returns:
            Those drawn, with shape (E, B, K), and -1 where there are fewer. They follow from the start's number alone.
        """
        assert self.number is not None
        places = torch.arange(candidates.shape[-1], device=candidates.device)
        order = mixed(self.number.unsqueeze(-1) + mixed(places)) * len(places) + places  # no two are equal
        drawn = order.masked_fill(candidates < 0, torch.iinfo(order.dtype).max).topk(count, -1, largest=False).indices
        return candidates.gather(-1, drawn)


def mixed(x: Tensor) -> Tensor:
    """Mix the bits of integers below 2**33, so that of two that differ in a bit nothing seems alike.

    References:
        | Wellons, Prospecting for hash functions (2018), and the search of its readers: the constants
    """
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = ((x ^ (x >> shift)) * factor) & LOW
    return x ^ (x >> 15)
