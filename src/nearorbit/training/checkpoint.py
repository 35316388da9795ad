"""Checkpoints: files that a training is resumed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from nearorbit.study.files import replacing
from nearorbit.training.progress import say

SECONDS_BETWEEN_CHECKPOINTS = 30.0
ALIKE = ("step", "powers")  # tensors that all members have in common; of the others each has a row,
AXIS = {"history": -1}  # or a place along another axis


@dataclass(frozen=True)
class Checkpoint:
    """A file that a training is resumed from.

    Arguments:
        path: The file.
        key: What the training depends on besides the steps already made: a digest of its settings, sources and inputs.
    """

    path: Path
    key: str

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors, whole or not at all; where the disk refuses, with a line on standard error."""
        content = serialized({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"key": self.key})
        try:
            with replacing(self.path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            say(f"checkpoint {self.path} is not written ({error.strerror}): the training goes on without")

    def read(self) -> dict[str, Tensor] | None:
        """Read the tensors; None, with a line on standard error, if they are of another training or not whole."""
        try:
            with safe_open(self.path, framework="pt") as file:
                if (file.metadata() or {}).get("key") == self.key:
                    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                reason = "it is of other settings, sources or data"
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            reason = f"it is not whole ({error})"
        say(f"checkpoint {self.path} is not used, {reason}: the training starts afresh")
        return None

    def step(self) -> int:
        """Tell how many steps it has; 0 if there is nothing that this training could go on from."""
        try:
            with safe_open(self.path, framework="pt") as file:
                return int(file.get_tensor("step")) if (file.metadata() or {}).get("key") == self.key else 0
        except (SafetensorError, OSError):
            return 0


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of cells that are trained together: of each the one that it would have alone.

    So one of them may go on by itself, or with others.

    Arguments:
        parts: The checkpoints of the cells, of as many seeds each, in the order of the ensemble.
    """

    parts: Sequence[Checkpoint]

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the tensors of each cell, as :meth:`Checkpoint.write` does."""
        parts = {name: _parted(name, tensor, len(self.parts)) for name, tensor in tensors.items()}
        for number, part in enumerate(self.parts):
            part.write({name: tensors[number] for name, tensors in parts.items()})

    def read(self) -> dict[str, Tensor] | None:
        """Read the tensors of all cells; None if they are not there, and of the same step, for each."""
        found = [tensors for part in self.parts if (tensors := part.read()) is not None]
        if len(found) < len(self.parts) or len({int(tensors["step"]) for tensors in found}) > 1:
            return None
        return {name: _joined(name, [tensors[name] for tensors in found]) for name in found[0]}


def _parted(name: str, tensor: Tensor, count: int) -> Sequence[Tensor]:
    if name == "seconds":
        return [tensor / count] * count
    return [tensor] * count if name in ALIKE else tensor.chunk(count, AXIS.get(name, 0))


def _joined(name: str, parts: Sequence[Tensor]) -> Tensor:
    if name == "seconds":
        return torch.stack([*parts]).sum()
    return parts[0] if name in ALIKE else torch.cat([*parts], AXIS.get(name, 0))
