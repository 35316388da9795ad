"""Which device a training uses, and how trainings share the GPUs of a machine.

The workflow limits how many trainings run at a time (``gpu`` of the profile); here each one finds a GPU. A place on it
is a lock on a file, which the system releases however its process ends. Places are taken in turns, the first of every
GPU before the second of any, so that trainings spread evenly over all GPUs that a process may see.
"""

import fcntl
import os
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import IO

import torch

from nearorbit.catalogue import StudyError

PLACES: list[IO] = []  # held until the process ends


def pick_device(name: str) -> torch.device:
    """Find the device that a study asks for.

    Arguments:
        name: ``"auto"`` takes CUDA where there is one, ``"cuda"`` the GPU with the fewest trainings; ``"cpu"``,
            ``"cuda:1"``.

    Raises:
        StudyError: If it does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise StudyError(f"training.device: no device '{name}'; it is auto, cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise StudyError(f"training.device: '{name}' asked for; it is auto, cpu, cuda or cuda:1")
    available = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= available:
        raise StudyError(f"training.device: '{name}' asked for, but torch sees {available} CUDA devices")
    if device.type == "cuda" and device.index is None and available > 1:
        gpus = [str(torch.cuda.get_device_properties(index).uuid) for index in range(available)]
        return torch.device("cuda", place(gpus))
    return device


def place(gpus: Sequence[str], folder: Path | None = None) -> int:
    """Take a place on one of several GPUs, for as long as this process lives.

    Arguments:
        gpus: Names of the GPUs, the same in every process of this machine.
        folder: Where the locks lie; a folder of the user's own among the temporary ones if None.

    Returns:
        The index of the GPU.
    """
    folder = folder or Path(tempfile.gettempdir(), f"nearorbit-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for turn in count():
        for index, gpu in enumerate(gpus):
            lock = (folder / f"{gpu}.{turn}").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                PLACES.append(lock)
                return index
