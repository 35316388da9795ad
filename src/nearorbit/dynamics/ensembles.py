"""Ensembles: networks for several seeds in one stack of weights.

All parameters and buffers of an ensemble have the leading dimension E of its members, and member e sees only the states
in row e.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import torch
from torch import nn

from nearorbit.dynamics.fields import Differentiated


class Ensemble(Differentiated, nn.Module):
    """Networks for several seeds in one stack of weights: a :class:`nearorbit.dynamics.fields.Field`.

    Subclasses define ``forward``, from states in model coordinates with shape (E, *, D) to derivatives in model time.

    Arguments:
        dimension: The number of components, D.
        members: The number of members, E.
    """

    def __init__(self, dimension: int, members: int):
        nn.Module.__init__(self)
        if min(dimension, members) < 1:
            raise ValueError("network: there must be a component and a seed")
        self.dimension, self.members = dimension, members

    def place(self, name: str, indices: Sequence[int]) -> None:
        """Keep indices on the device, a row for each member: a list goes there anew each time, which no graph holds."""
        self.register_buffer(name, torch.tensor(indices).repeat(self.members, 1), persistent=False)

    def __getitem__(self, members: slice | Sequence[int]) -> "Ensemble":
        """Pick members, one maybe several times; the weights are copied."""
        return cast(Ensemble, picked(self, members))


def picked(module: nn.Module, members: slice | Sequence[int]) -> nn.Module:
    """Pick members of a module of ensembles, all of whose tensors have the leading dimension E; these are copied."""
    part = deepcopy(module)
    for ensemble in part.modules():
        if isinstance(ensemble, Ensemble):
            ensemble.members = len(torch.arange(ensemble.members)[members])
    for tensor in (*part.parameters(), *part.buffers()):
        tensor.data = tensor.data[members].clone()
    return part
