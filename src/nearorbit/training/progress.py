"""Lines on the progress of a training, on standard error."""

import math
import sys
import time
from collections.abc import Sequence

from torch import Tensor

SECONDS_BETWEEN_LOG_LINES = 5.0


class Log:
    """Lines on the progress of a training, on standard error, not more often than every few seconds."""

    def __init__(self, steps: int, done: int = 0):
        self._steps, self._done = steps, done
        self._began = time.perf_counter()
        self._last = -math.inf

    def __call__(self, step: int, loss: Tensor, validation: Tensor) -> None:
        """Report a step with the losses and validation errors of the members."""
        now = time.perf_counter()
        if now - self._last < SECONDS_BETWEEN_LOG_LINES and step < self._steps:
            return
        self._last = now
        rate = (step - self._done) / (now - self._began)
        say(
            f"step {step}/{self._steps}  loss {_numbers(loss)}  validation {_numbers(validation)}  "
            f"{rate:.1f} steps/s  {(self._steps - step) / rate:.0f} s left"
        )


def tell_skipped(seeds: Sequence[int], skipped: Tensor, steps: int) -> None:
    """Say of which seeds steps were skipped, and how many of all."""
    if counts := ", ".join(f"{n:.0f} of seed {seed}" for seed, n in zip(seeds, skipped.tolist(), strict=True) if n):
        say(
            f"skipped of {steps} steps, since their gradients were not finite: {counts}; a lower learning_rate, a clip "
            f"or standardized coordinates may help"
        )


def _numbers(values: Tensor) -> str:
    return " ".join(f"{v:.3g}" for v in values.tolist())


def say(line: str) -> None:
    """Write a line."""
    print(line, file=sys.stderr, flush=True)
