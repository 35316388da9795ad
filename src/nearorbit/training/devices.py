"""Which device a training uses, how trainings share the GPUs of a machine, and how a GPU is kept busy.

The workflow limits how many trainings run at a time (``gpu`` of the profile); here each one finds a GPU. A place on it
is a lock on a file, which the system releases however its process ends. Places are taken in turns, the first of every
GPU before the second of any, so that trainings spread evenly over all GPUs that a process may see.
"""

import fcntl
import os
import resource
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from nearorbit.dynamics.native import processor
from nearorbit.study.catalogue import StudyError
from nearorbit.training.progress import say

PLACES: list[IO] = []  # held until the process ends


def pick_device(name: str) -> torch.device:
    """Find the device that a study asks for.

    Arguments:
        name: ``"auto"`` takes CUDA where there is one, ``"cuda"`` the GPU with the fewest trainings; ``"cpu"``,
            ``"cuda:1"``.

    Raises:
        StudyError: If it does not exist here.
    """
    available, reason = _gpus() if name.startswith(("auto", "cuda")) else (0, "")
    if name == "auto":
        name = "cuda" if available else "cpu"
        if reason:
            say(f"training on the CPU: {reason}")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise StudyError(f"training.device: no device '{name}'; it is auto, cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise StudyError(f"training.device: '{name}' asked for; it is auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= available:
        seen = reason or f"torch sees {available} CUDA devices"
        raise StudyError(f"training.device: '{name}' asked for, but {seen}")
    if device.type == "cuda" and device.index is None and available > 1:
        gpus = [str(torch.cuda.get_device_properties(index).uuid) for index in range(available)]
        return torch.device("cuda", place(gpus))
    return device


def named(device: torch.device) -> str:
    """Name the GPU or the processor of a device: seconds of two trainings compare where both have one name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def _gpus() -> tuple[int, str]:
    """Count the GPUs that can be used; and say why none can, where there is one and it is not for want of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    told = [str(w.message).strip().splitlines()[0].partition(" (Triggered")[0] for w in caught]
    fit = "; install a build of torch that fits the driver, or a newer driver"
    return available, f"{told[0].rstrip('.')}{fit}" if told and not available else ""


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
    turn = 0
    while True:
        for index, gpu in enumerate(gpus):
            lock = (folder / f"{gpu}.{turn}").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                PLACES.append(lock)
                return index
        turn += 1


def captured(function: Callable[[], None], state: Mapping[str, Tensor]) -> Callable[[], None]:
    """Capture a function as a CUDA graph, which is replayed in one launch.

    Arguments:
        function: A function that works on tensors at fixed places, and asks none of them for its value.
        state: The tensors that it changes; they are left as they are.

    Returns:
        What to call in its place: the function itself where its tensors are not on a GPU, or where capture fails, which
        is said in a line on standard error.
    """
    device = state["weights"].device
    if device.type != "cuda":
        return function
    before = {name: tensor.clone() for name, tensor in state.items()}

    def undo() -> None:
        for name, tensor in state.items():
            tensor.copy_(before[name])

    stream, graph = _stream(device), torch.cuda.CUDAGraph()
    try:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(3):  # libraries allocate their workspaces at first
                function()
                undo()
        torch.cuda.current_stream(device).wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream):
            function()
    except RuntimeError as error:
        say(f"no CUDA graph, every operation is launched by itself: {error}")
        undo()
        return function
    return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which all is captured: libraries keep a workspace for every stream that they have seen."""
    return torch.cuda.Stream(device)


def peak_memory(device: torch.device) -> float:
    """Tell the peak memory in MiB: of the device where it is a GPU, of the process otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
