"""The budget of training: steps, batches, rates; one for all methods of a study."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Training:
    """The settings of the loop, one for all methods of a study.

    Arguments:
        steps: The number of gradient steps.
        batch: The number of segments in a batch, where a method has no segment length of its own.
        segment: The length of a segment, in samples after its start.
        learning_rate: The peak of the rate.
        clip: The norm that the gradient of a member is clipped to.
        precision: ``"float32"`` or ``"float64"``.
        keep: Which weights are kept: ``"best"`` on validation, or ``"last"``.
        validate_every: The number of steps between two validations.
        horizon: The length of the forecasts in validation, in samples.
        substeps: The number of Runge-Kutta steps between two samples; ``"auto"`` takes the least that is accurate.
        accuracy: The error over one sample interval that ``"auto"`` allows, in deviations
            (:mod:`nearorbit.dynamics.integration`).
        recompute: Whether gradients keep only the states at the samples, and compute what lies between again: less
            memory for a second forward pass.
        compile: Whether steps are compiled, ``"auto"`` where that pays (:mod:`nearorbit.training.compilation`); members
            of an ensemble have the bits of their seeds alone either way, but not those of the other way.
        device: ``"auto"`` takes CUDA where there is one; ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    """

    steps: int = 1500
    batch: int = 64
    segment: int = 5
    learning_rate: float = 5e-3
    clip: float = 1.0
    precision: str = "float32"
    keep: str = "best"
    validate_every: int = 50
    horizon: int = 25
    substeps: int | Literal["auto"] = "auto"
    accuracy: float = 1e-4
    recompute: bool = False
    compile: bool | Literal["auto"] = "auto"
    device: str = "auto"

    def rate(self, step: int) -> float:
        """Compute the learning rate of a step: a cosine up over the first 30 %, and a cosine down to nearly nothing."""
        peak, progress = 0.3, (step + 0.5) / self.steps
        if progress < peak:
            return self.learning_rate * (0.04 + 0.96 * _cosine(progress / peak))
        return self.learning_rate * (1e-4 + (1 - 1e-4) * _cosine((1 - progress) / (1 - peak)))


def _cosine(x: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * x)
