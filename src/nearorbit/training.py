r"""The one training loop: the same data, batches, optimizer, budget and rule of selection for every method.

Adam on the sum of the members' losses, with a rate that rises to its peak and falls again (one cycle), and the gradient
of each member clipped by its own norm. A loss of one member does not depend on the weights of another, so that the
stack trains each member as if it were alone. Every so often all members forecast the validation orbits; the best
weights of each are kept, or the last, by one rule for all methods.

A step whose gradient is not finite is skipped for that member and counted (``skipped`` in the history); it never stops
the others.

References:
    | Super-convergence: Very fast training of neural networks using large learning rates (Smith and Topin, 2019)
"""

import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from nearorbit.catalogue import StudyError
from nearorbit.fields import Coordinates, Field, NeuralField
from nearorbit.flow import rollout
from nearorbit.methods.base import Batch, Method, given, segment, trajectory_error
from nearorbit.seeds import generator
from nearorbit.smoothing import smoothed

ALIGNMENT = (
    16  # elements; rows of the flat weights start at multiples of it, so that all members meet the same vector code
)
VALIDATION_SEGMENTS = 256
SECONDS_BETWEEN_LOG_LINES = 5.0


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
        substeps: The number of Runge-Kutta steps between two samples.
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
    substeps: int = 1
    device: str = "auto"

    def rate(self, step: int) -> float:
        """Compute the learning rate of a step: a cosine up over the first 30 %, and a cosine down to nearly nothing."""
        peak, progress = 0.3, (step + 0.5) / self.steps
        if progress < peak:
            return self.learning_rate * (0.04 + 0.96 * _cosine(progress / peak))
        return self.learning_rate * (1e-4 + (1 - 1e-4) * _cosine((1 - progress) / (1 - peak)))


def train(
    observations: xr.Dataset,
    method: Method,
    *,
    network: Mapping[str, Any],
    training: Mapping[str, Any],
    neighbors: xr.Dataset | None = None,
    supervision: xr.Dataset | None = None,
) -> tuple[NeuralField, Coordinates, pd.DataFrame, dict[str, Any]]:
    """Train an ensemble, a member for each seed of the observations.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.observations.observe`.
        method: The training method.
        network: The settings of :class:`nearorbit.fields.NeuralField`.
        training: The settings of :class:`Training`.
        neighbors: The table of neighbors, for methods that need it.
        supervision: The true quantities along the observations, for methods that need them.

    Returns:
        The trained ensemble in model coordinates; the coordinates; the history (seed, step, loss, validation, skipped),
        with the loss averaged since the row before; and the costs (seconds, peak memory, ...).

    Raises:
        StudyError: If the device does not exist, the orbits are too short, or a file that the method needs is missing
            or belongs to other data.
    """
    began = time.perf_counter()
    torch.set_flush_denormal(True)  # denormal activations of saturated units cost several times as much
    settings = Training(**training)
    device, dtype = pick_device(settings.device), getattr(torch, settings.precision)
    seeds = [int(seed) for seed in observations["seed"]]
    coordinates = Coordinates(
        *(torch.from_numpy(observations[name].to_numpy().reshape(len(seeds), -1)) for name in ("mean", "scale", "rate"))
    )
    data = Data(observations, method, settings, neighbors, supervision, device=device, dtype=dtype)
    field = NeuralField(observations.sizes["component"], seeds, **network).to(device, dtype)
    history = pd.DataFrame(list(_fit(field, data, method, settings, seeds)))
    costs = {
        "seconds": time.perf_counter() - began,
        "peak_memory_mib": _peak_memory(device),
        "steps": settings.steps,
        "samples_seen": settings.steps * data.batch * data.segment,
        "parameters": sum(p[0].numel() for p in field.parameters()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "given": given(method),
        "seeds": len(seeds),
    }
    return field, coordinates, history.sort_values(["seed", "step"], ignore_index=True), costs


def pick_device(name: str) -> torch.device:
    """Find the device that a study asks for.

    Raises:
        StudyError: If it does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StudyError(
            f"training.device: '{name}' asked for, but torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device


class Data:
    """The observed orbits of all seeds on the device, in model coordinates, and what else a method needs of them.

    Arguments:
        observations: The observed orbits.
        method: The method, whose ``needs`` are looked after.
        settings: The settings of the loop.
        neighbors: The table of neighbors.
        supervision: The true quantities along the observations.
        device: The device.
        dtype: The precision.

    Raises:
        StudyError: If something is missing, too short, or belongs to other data.
    """

    def __init__(
        self,
        observations: xr.Dataset,
        method: Method,
        settings: Training,
        neighbors: xr.Dataset | None = None,
        supervision: xr.Dataset | None = None,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.segment = segment(method, settings.segment)
        self.batch = max(1, round(settings.batch * settings.segment / self.segment))
        self.substeps = settings.substeps
        states = {name: _standardized(observations, name) for name in ("train", "validation")}
        self.members, self.orbits, self.samples, _ = states["train"].shape
        if self.samples <= self.segment:
            raise StudyError(
                f"training orbits have {self.samples} samples, a segment of {self.segment} needs {self.segment + 1}: "
                f"ask for more (data.*.samples) or a shorter segment (training.segment, or the method's own)"
            )
        neighbors = _matching(neighbors, "neighbors", observations)
        supervision = _matching(supervision, "supervision", observations)
        tensor = lambda array: torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)  # noqa: E731
        self._member = torch.arange(self.members, device=device)
        self._step = tensor((observations["rate"] * observations["step"]).to_numpy()).view(-1, 1, 1)
        self._states = tensor(states["train"]).flatten(1, 2)
        self._validation = tensor(_cut(states["validation"], settings.horizon))
        prepare = {
            "neighbors": lambda: torch.as_tensor(_table(neighbors, self, method)).to(device),
            "spline": lambda: tensor(smoothed(states["train"], refinement=2 * self.substeps)).flatten(1, 2),
            "jacobians": lambda: tensor(_model_jacobians(_required(supervision, "supervision"), observations)),
            "exponents": lambda: tensor(_required(supervision, "supervision")["exponents"] / observations["rate"]),
        }
        self._extras = {need: prepare[need]() for need in method.needs & prepare.keys()}

    def starts(self, steps: int, seeds: list[int]) -> Iterator[Tensor]:
        """Draw the starts of the segments of each step; yields shape (E, B), positions in the flattened (orbit, time).

        They are drawn for each seed from a stream of its own, before the first step: members of an ensemble see the
        batches that they would see alone, and the device waits for nothing.
        """
        per_orbit = self.samples - self.segment
        shape = (steps, self.batch)
        drawn = np.stack([generator("batches", seed).integers(0, self.orbits * per_orbit, shape) for seed in seeds], 1)
        return iter(torch.from_numpy(drawn // per_orbit * self.samples + drawn % per_orbit).to(self._member.device))

    def gather(self, start: Tensor) -> Batch:
        """Gather the segments that begin at given starts, with shape (E, B), and what the method needs of them."""
        member = self._member.view(-1, 1)
        ahead = torch.arange(self.segment + 1, device=start.device)
        extras = {}
        if "neighbors" in self._extras:
            near = self._extras["neighbors"][member, start]
            extras["neighbors"] = self._states[member[..., None, None], near.unsqueeze(-1) + ahead]
        if "spline" in self._extras:
            extras["spline"] = self._spline(start)
        if "jacobians" in self._extras:
            extras["jacobians"] = self._extras["jacobians"][member, start]
        if "exponents" in self._extras:
            extras["exponents"] = self._extras["exponents"]
        states = self._states[member[..., None], start.unsqueeze(-1) + ahead]
        return Batch(self._step * ahead, states, self.substeps, **extras)

    def validation(self) -> Batch:
        """Give the segments of the validation orbits."""
        ahead = torch.arange(self._validation.shape[2], device=self._validation.device)
        return Batch(self._step * ahead, self._validation, self.substeps)

    def _spline(self, start: Tensor) -> Tensor:
        fine = 2 * self.substeps
        per_orbit = fine * (self.samples - 1) + 1
        first = start // self.samples * per_orbit + start % self.samples * fine
        stages = torch.arange(fine * self.segment + 1, device=start.device)
        return self._extras["spline"][self._member.view(-1, 1, 1), first.unsqueeze(-1) + stages]


def flatten(field: NeuralField) -> Tensor:
    """Lay all weights of an ensemble into one matrix with a row for each member, of which the parameters become views.

    The optimizer and the clipping then work on one tensor, and every member's row starts at the same alignment, so that
    it meets the same vector instructions as a member alone.

    Arguments:
        field: The ensemble; its parameters have the leading dimension E.

    Returns:
        The weights, with shape (E, P), P rounded up to a multiple of :data:`ALIGNMENT`.
    """
    parameters = list(field.parameters())
    weights = _rows_of(parameters)
    end = 0
    for p in parameters:
        begin, end = end, end + p[0].numel()
        p.data = weights[:, begin:end].view(p.shape)
    return weights


def gradient(loss: Tensor, field: NeuralField) -> Tensor:
    """Compute the gradient of a loss, laid out as :func:`flatten` lays out the weights; returns shape (E, P)."""
    return _rows_of(torch.autograd.grad(loss, list(field.parameters())))


def _fit(
    field: NeuralField, data: Data, method: Method, settings: Training, seeds: list[int]
) -> Iterator[dict[str, Any]]:
    """Train a field in place; yields the rows of the history."""
    weights = flatten(field)
    adam = Adam(weights)
    validation, log = data.validation(), Log(settings.steps)
    error = validation_error(field, validation)
    best, kept = error.clone(), weights.clone()
    loss, skipped = torch.full_like(error, math.nan), torch.zeros_like(error)
    yield from _rows(seeds, 0, loss, error, skipped)
    total, since = torch.zeros_like(error), 0
    for step, start in enumerate(data.starts(settings.steps, seeds)):
        progress = torch.full((), step / settings.steps, dtype=weights.dtype, device=weights.device)
        losses = method.loss(field, data.gather(start), progress)
        gradients, broken = clipped(gradient(losses.sum(), field), settings.clip)
        skipped += broken
        adam.update(gradients, settings.rate(step))
        total, since = total + losses.detach(), since + 1
        if (step + 1) % settings.validate_every == 0 or step + 1 == settings.steps:
            error = validation_error(field, validation)
            better = ~(error >= best) & error.isfinite()
            best = torch.where(better, error, best)
            kept = torch.where(better.unsqueeze(1), weights, kept)
            yield from _rows(seeds, step + 1, total / since, error, skipped)
            log(step + 1, total / since, error)
            total, since = torch.zeros_like(error), 0
    if settings.keep == "best":
        weights.copy_(kept)


@torch.no_grad()
def validation_error(field: Field, validation: Batch) -> Tensor:
    """Compute the mean squared error of forecasts from the starts of the validation segments; returns shape (E,)."""
    return trajectory_error(
        rollout(field, validation.start, validation.times, substeps=validation.substeps), validation
    )


def clipped(gradients: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Clip the gradient of each member by its norm; a gradient that is not finite becomes zero.

    Arguments:
        gradients: The gradients, with shape (E, P).
        bound: The largest norm that is left as it is.

    Returns:
        The clipped gradients, with shape (E, P), and which members had one that is not finite, with shape (E,).
    """
    norm = gradients.square().sum(1, keepdim=True).sqrt()
    finite = norm.isfinite()
    factor = (bound / norm.clamp(min=1e-12)).clamp(max=1.0)
    return torch.where(finite, gradients * factor, torch.zeros_like(gradients)), ~finite.squeeze(1)


class Adam:
    r"""Adam on one tensor of weights, which it changes in place.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Equal to ``torch.optim.Adam``, whose import takes a process two seconds, as long as a hundred steps of training.

    References:
        | Adam: A method for stochastic optimization (Kingma and Ba, ICLR 2015)

    Arguments:
        weights: The weights.
        betas: The decay of the two moments per step.
        epsilon: What keeps the denominator from zero.
    """

    def __init__(self, weights: Tensor, *, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8):
        self._weights, self._betas, self._epsilon = weights, betas, epsilon
        self._first, self._second = torch.zeros_like(weights), torch.zeros_like(weights)
        self._steps = 0

    def update(self, gradients: Tensor, rate: float) -> None:
        """Make one step with gradients of the shape of the weights, at a learning rate."""
        self._steps += 1
        first, second = self._betas
        self._first.lerp_(gradients, 1 - first)
        self._second.mul_(second).addcmul_(gradients, gradients, value=1 - second)
        scale = (self._second / (1 - second**self._steps)).sqrt_().add_(self._epsilon)
        self._weights.addcdiv_(self._first, scale, value=-rate / (1 - first**self._steps))


class Log:
    """Lines on the progress of a training, on standard error, not more often than every few seconds."""

    def __init__(self, steps: int):
        self._steps = steps
        self._began = time.perf_counter()
        self._last = -math.inf

    def __call__(self, step: int, loss: Tensor, validation: Tensor) -> None:
        """Report a step with the losses and validation errors of the members."""
        now = time.perf_counter()
        if now - self._last < SECONDS_BETWEEN_LOG_LINES and step < self._steps:
            return
        self._last = now
        rate = step / (now - self._began)
        print(
            f"step {step}/{self._steps}  loss {_numbers(loss)}  validation {_numbers(validation)}  "
            f"{rate:.1f} steps/s  {(self._steps - step) / rate:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def _cosine(x: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * x)


def _rows_of(tensors: Sequence[Tensor]) -> Tensor:
    flat = torch.cat([t.detach().flatten(1) for t in tensors], 1)
    return torch.nn.functional.pad(flat, (0, -flat.shape[1] % ALIGNMENT))


def _numbers(values: Tensor) -> str:
    return " ".join(f"{v:.3g}" for v in values.tolist())


def _rows(seeds: list[int], step: int, loss: Tensor, validation: Tensor, skipped: Tensor) -> Iterator[dict[str, Any]]:
    columns = zip(seeds, loss.tolist(), validation.tolist(), skipped.tolist(), strict=True)
    return (
        {"seed": seed, "step": step, "loss": loss, "validation": error, "skipped": int(skips)}
        for seed, loss, error, skips in columns
    )


def _standardized(observations: xr.Dataset, name: str) -> np.ndarray:
    states = (observations[name] - observations["mean"]) / observations["scale"]
    return states.transpose("seed", ..., "component").to_numpy()


def _cut(orbits: np.ndarray, horizon: int) -> np.ndarray:
    """Cut orbits, with shape (E, O, T, D), into segments that follow one another, with shape (E, B, horizon + 1, D)."""
    members, _, samples, dimension = orbits.shape
    length = min(horizon, samples - 1) + 1
    whole = orbits[:, :, : samples // length * length].reshape(members, -1, length, dimension)
    every = -(-whole.shape[1] // VALIDATION_SEGMENTS)
    return whole[:, ::every]


def _matching(file: xr.Dataset | None, name: str, observations: xr.Dataset) -> xr.Dataset | None:
    """Refuse a file that was computed along other observations than these."""
    if file is not None and not np.array_equal(file["fingerprint"], observations["fingerprint"]):
        raise StudyError(
            f"{name}: the file is of other data: the fingerprints of its observations are {_hex(file)}, of these "
            f"{_hex(observations)}; make it again from these observations"
        )
    return file


def _hex(file: xr.Dataset) -> str:
    return " ".join(f"{value:016x}" for value in np.atleast_1d(file["fingerprint"].to_numpy()))


def _required(file: xr.Dataset | None, name: str) -> xr.Dataset:
    if file is None:
        raise StudyError(f"the method needs the file of {name}: give it with --{name}")
    return file


def _table(neighbors: xr.Dataset | None, data: Data, method: Method) -> np.ndarray:
    table = _required(neighbors, "neighbors")
    if table.sizes["neighbor"] < method.count or table.attrs["ahead"] < data.segment:
        raise StudyError(
            f"neighbors: the table has {table.sizes['neighbor']} neighbors that {table.attrs['ahead']} samples follow, "
            f"the method asks for {method.count} and {data.segment}: raise neighbors.count, or lower the method's count"
        )
    return table["index"].to_numpy()[..., : method.count]


def _model_jacobians(supervision: xr.Dataset, observations: xr.Dataset) -> np.ndarray:
    r"""Transform Jacobians to model coordinates, :math:`J_{ij} s_j / (s_i r)`; returns shape (E, O * T, D, D)."""
    jacobian = supervision["jacobian"].transpose("seed", "orbit", "time", "component", "direction").to_numpy()
    scale = observations["scale"].to_numpy()[:, None, None]
    rate = observations["rate"].to_numpy()[:, None, None, None, None]
    jacobian = jacobian * scale[..., None, :] / (scale[..., :, None] * rate)
    return jacobian.reshape(jacobian.shape[0], -1, *jacobian.shape[-2:])


def _peak_memory(device: torch.device) -> float:
    """Tell the peak memory in MiB: of the device where it is a GPU, of the process otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
