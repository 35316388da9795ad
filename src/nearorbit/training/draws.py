"""What is drawn for a batch, and how what belongs to it is found on the device.

Where segments begin is drawn on the host, from a stream of random numbers of each seed, and so is a number for each of
them, where a need is to draw at random in every batch. All that follows from the numbers is computed on the device: the
same for a seed whatever else is trained beside it, from wherever a training is resumed, and within a captured graph.

So is when their samples were taken: at equal intervals that is the same for all, and else it is gathered, too. A
neighbor has then been seen at other times after its own than the start, and at those of the start it is where the
smoothing spline of its orbit is.
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
        samples: The number of samples of an orbit.
        segment: The number of samples of a segment after its start.
        number: A random number for each, from 0 to 2**31 - 1, with shape (E, B), if a need draws in every batch.
        line: When all samples were taken, in sample intervals, with shape (E, N); None at equal intervals.
    """

    states: Tensor
    start: Tensor
    row: Tensor
    samples: int
    segment: int
    number: Tensor | None = None
    line: Tensor | None = None

    def ticks(self, samples: int, start: Tensor | None = None) -> Tensor:
        """Tell the times of the next samples since the start, or since others (E, ...), in sample intervals.

        Returns:
            With shape (E, ..., samples + 1); at equal intervals 0, 1, 2, ... with shape (samples + 1,), for all.
        """
        start = self.start if start is None else start
        if self.line is None:
            return torch.arange(samples + 1, device=start.device).to(self.states.dtype)
        times = self.pieces(self.line, start, samples + 1)
        return (times - times[..., :1]).to(self.states.dtype)

    def beside(self, values: Tensor, near: Tensor, samples: int, curve: Tensor | None) -> Tensor:
        """Tell what orbits went through in the time of the next samples of the starts.

        Arguments:
            values: The values of all samples, with shape (E, N, D).
            near: Where the orbits are at first, with shape (E, B, K).
            samples: For how many samples of the starts.
            curve: Their splines, from :attr:`nearorbit.training.source.Source.curve`; None at equal intervals.

        Returns:
            The values, with shape (E, B, K, samples + 1, D): at equal intervals those of the samples, and else, from
            the second on, those of the splines.
        """
        if self.line is None or curve is None:
            return self.pieces(values, near, samples + 1)
        times, line = self.pieces(self.line, self.start, samples + 1), self.line.contiguous()
        times = self.at(line, near).unsqueeze(-1) + (times - times[..., :1]).unsqueeze(-2)[..., 1:]
        left = (torch.searchsorted(line, times.flatten(1)) - 1).clamp(0, line.shape[1] - 2).view(times.shape)
        begin, end = self.at(line, left), self.at(line, left + 1)
        s = ((times - begin) / (end - begin)).to(values.dtype).unsqueeze(-1)
        h = (end - begin).to(values.dtype).unsqueeze(-1)
        (x, v), (y, w) = (self.at(curve, place).chunk(2, -1) for place in (left, left + 1))
        later = x + s * (h * v + s * (3 * (y - x) - h * (2 * v + w) + s * (2 * (x - y) + h * (v + w))))
        return torch.cat([self.at(values, near).unsqueeze(-2), later], -2)

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
