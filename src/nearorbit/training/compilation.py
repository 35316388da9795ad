"""Whether a step is compiled, and what that would give; decided from counts, never from a clock.

A step of training is hundreds of operations, and all but the products of matrices are a pass over memory each.
``torch.compile`` makes one pass of many, and takes its time for it: some tenths of a minute, which only long trainings
of large batches earn back. What it saves is about in proportion to the elements that such operations write, and what it
costs to the number of operations. Both are counted for a member alone, so that an ensemble is compiled where each of
its seeds alone would be.

What is compiled is kept in a cache on disk, so that cells of one shape compile once. (The workflow has it in
``results/compiled``; ``TORCHINDUCTOR_CACHE_DIR`` is where.)
"""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nearorbit.training.progress import say

PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "addmv", "mv")  # of matrices, which stay what they are
# Seconds: what is saved for each element that an operation writes and for each operation, what compiling takes and that
# for each operation (one core of an AMD EPYC, torch 2.13, November 2026); and how many times over it has to be earned.
ELEMENT, OPERATION, BEGIN, TRANSLATION, MARGIN = 0.4e-9, 3e-6, 10.0, 0.05, 1.5


class Counted(TorchDispatchMode):
    """Counts operations, and the elements that they write where they are no products of matrices."""

    running = False

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.elements = 0, 0

    def __enter__(self) -> "Counted":
        """Begin to count."""
        Counted.running = True
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """Stop counting."""
        Counted.running = False
        super().__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count it."""
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.operations += 1
            written = result if isinstance(result, tuple | list) else [result]
            if function.overloadpacket.__name__ not in PRODUCTS:
                self.elements += sum(t.numel() for t in written if isinstance(t, Tensor))
        return result


def at_once() -> bool:
    """Tell whether a loss is to look at all that it has at once: while it is compiled, or counted for that."""
    return torch.compiler.is_compiling() or Counted.running


def pays(step: Callable[[], object], *, steps: int) -> bool:
    """Tell whether a training is long enough for its steps to be compiled.

    Arguments:
        step: A step of one member, from the batch to the gradient.
        steps: How many are to be made.
    """
    with Counted() as counted:
        step()
    saved = ELEMENT * counted.elements + OPERATION * counted.operations
    return steps * saved > MARGIN * (BEGIN + TRANSLATION * counted.operations)


def compiled(function: Callable[..., Tensor], *example: Any, again: bool = False) -> Callable[..., Tensor] | None:
    """Compile a function of tensors; None where that fails, as without a C++ compiler, which is said.

    Arguments:
        function: The function. All that it reads besides its arguments has to stay where it is.
        example: Arguments to compile it for; others have to have the same shapes.
        again: Whether several gradients are computed of one result.
    """
    if again:
        torch._functorch.config.donated_buffer = False  # a gradient would be computed in what the next one needs
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # a job has the cores that it was given
    fast: Callable[..., Tensor] = torch.compile(function, dynamic=False)
    try:
        fast(*example)
    except RuntimeError as error:
        (first, *_) = str(error).strip().splitlines() or [type(error).__name__]
        say(f"not compiled, every operation runs by itself: {first}")
        return None
    return fast
