"""The budget of training: steps, batches, rates; one for all methods of a study."""

import math
from dataclasses import dataclass
from typing import Literal

from nearorbit.study.catalogue import StudyError, hint

CHOICES = {
    "optimizer": ("adam", "adamw", "adabelief"),
    "rate": ("one_cycle", "constant"),
    "coordinates": ("standardized", "raw"),
    "keep": ("best", "training", "last"),
}


@dataclass(frozen=True)
class Training:
    """The settings of the loop, one for all methods of a study.

    Arguments:
        steps: The number of gradient steps.
        batch: The number of segments in a batch, where a method has no segment length of its own; or ``"all"``, of
            whatever length, into which the orbits are cut, each beginning where the one before ends.
        segment: The length of a segment, in samples after its start.
        optimizer: ``"adam"``, ``"adamw"`` or ``"adabelief"`` (:mod:`nearorbit.training.optimizer`).
        decay: The decay of the network's weights by ``"adamw"``, per step and unit of the learning rate.
        learning_rate: The peak of the rate, or the rate.
        rate: ``"one_cycle"``, up and down again, or ``"constant"``.
        clip: The norm that the gradient of a member is clipped to, or ``"none"``.
        precision: ``"float32"`` or ``"float64"``.
        coordinates: What the network sees: ``"standardized"`` states, in a time in which the mean speed is one, or
            ``"raw"``, states in system units and system time. Weights, widths, couplings, losses and validation errors
            are in the same units; neighbors and ``accuracy`` are in deviations either way.
        keep: Which weights are kept: ``"best"``, those of the least error on the held-out orbits; ``"training"``, those
            of the least error of plain rollouts from the observed starts of the segments that the training orbits are
            cut into, of the study's length for all methods, without coupling and penalty; or the ``"last"``.
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
    batch: int | Literal["all"] = 64
    segment: int = 5
    optimizer: str = "adam"
    decay: float = 0.01
    learning_rate: float = 5e-3
    rate: str = "one_cycle"
    clip: float | Literal["none"] = 1.0
    precision: str = "float32"
    coordinates: str = "standardized"
    keep: str = "best"
    validate_every: int = 50
    horizon: int = 25
    substeps: int | Literal["auto"] = "auto"
    accuracy: float = 1e-4
    recompute: bool = False
    compile: bool | Literal["auto"] = "auto"
    device: str = "auto"

    def __post_init__(self):
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                near = hint(value, known)
                raise StudyError(f"training.{name}: expected one of {', '.join(known)}, not {value!r}{near}")

    def segments(self, length: int, *, orbits: int, samples: int) -> int:
        """Tell how many segments of a length make a batch: all methods see as many samples in a step.

        Arguments:
            length: The length of a segment, in samples after its start.
            orbits: The number of orbits of a seed.
            samples: The number of their samples.
        """
        if self.batch == "all":
            return orbits * ((samples - 1) // length)
        return max(1, round(self.batch * self.segment / length))

    def rate_at(self, step: int) -> float:
        """Compute the learning rate of a step.

        One cycle is a cosine up over the first 30 %, and a cosine down to nearly nothing.
        """
        if self.rate == "constant":
            return self.learning_rate
        peak, progress = 0.3, (step + 0.5) / self.steps
        if progress < peak:
            return self.learning_rate * (0.04 + 0.96 * _cosine(progress / peak))
        return self.learning_rate * (1e-4 + (1 - 1e-4) * _cosine((1 - progress) / (1 - peak)))


def _cosine(x: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * x)
