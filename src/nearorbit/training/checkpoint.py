"""Checkpoints: files that a training is resumed from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from nearorbit.study.files import replacing
from nearorbit.training.progress import say

SECONDS_BETWEEN_CHECKPOINTS = 30.0


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
