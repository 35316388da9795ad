r"""The one training loop: the same data, batches, optimizer, budget and rule of selection for every method.

Adam on the sum of the members' losses, with a rate that rises to its peak and falls again (one cycle), and the gradient
of each member clipped by its own norm. A loss of one member does not depend on the weights of another, so that the
stack trains each member as if it were alone. Every so often all members forecast the validation orbits; the best
weights of each are kept, or the last, by one rule for all methods.

A step whose gradient is not finite is skipped for that member and counted (``skipped`` in the history); it never stops
the others.

All that a step reads and changes, its number included, is in tensors at fixed places on the device. On a GPU the step
is therefore captured once, from the batch to the new weights, and replayed in one launch; the host waits for it only
where a row of the history is written. And the same tensors, in a file, are a checkpoint.

References:
    | Super-convergence: Very fast training of neural networks using large learning rates (Smith and Topin, 2019)
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor, nn

from nearorbit.batches import Data
from nearorbit.budget import Training
from nearorbit.catalogue import StudyError
from nearorbit.devices import pick_device
from nearorbit.fields import Coordinates, Field, NeuralField
from nearorbit.files import replacing
from nearorbit.integration import fitted_errors, least_steps
from nearorbit.methods.base import Batch, Method, given, own_parameters, trajectory_error

ALIGNMENT = (
    16  # elements; rows of the flat weights start at multiples of it, so that all members meet the same vector code
)
SECONDS_BETWEEN_LOG_LINES = 5.0
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
            _say(f"checkpoint {self.path} is not written ({error.strerror}): the training goes on without")

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
        _say(f"checkpoint {self.path} is not used, {reason}: the training starts afresh")
        return None


def train(
    observations: xr.Dataset,
    method: Method,
    *,
    network: Mapping[str, Any],
    training: Mapping[str, Any],
    neighbors: xr.Dataset | None = None,
    supervision: xr.Dataset | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[NeuralField, Coordinates, list[pd.DataFrame], dict[str, Any]]:
    """Train an ensemble, a member for each seed of the observations.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.observations.observe`; or of several cells, from
            :func:`nearorbit.batches.stacked`.
        method: The training method.
        network: The settings of :class:`nearorbit.fields.NeuralField`.
        training: The settings of :class:`nearorbit.budget.Training`.
        neighbors: The table of neighbors, for methods that need it.
        supervision: The true quantities along the observations, for methods that need them.
        checkpoint: The file to resume from and to write now and then.

    Returns:
        The trained ensemble in model coordinates; the coordinates; the history of each member (seed, step, loss,
        validation, skipped), with the loss averaged since the row before; and the costs (seconds, peak memory, ...).

    Raises:
        StudyError: If the device does not exist, the orbits are too short, or a file that the method needs is missing
            or belongs to other data.
    """
    began = time.perf_counter()
    torch.set_flush_denormal(True)  # denormal activations of saturated units cost several times as much
    settings = Training(**training)
    settings = replace(settings, substeps=substeps(observations, settings))
    device, dtype = pick_device(settings.device), getattr(torch, settings.precision)
    seeds = [int(seed) for seed in observations["seed"]]
    coordinates = Coordinates(
        *(torch.from_numpy(observations[name].to_numpy().reshape(len(seeds), -1)) for name in ("mean", "scale", "rate"))
    )
    data = Data(observations, method, settings, neighbors, supervision, device=device, dtype=dtype)
    field = NeuralField(observations.sizes["component"], seeds, **network).to(device, dtype)
    loop = Loop(field, data, method, settings, seeds)
    spent = loop.run(checkpoint)
    costs = {
        "seconds": time.perf_counter() - began + spent,
        "peak_memory_mib": peak_memory(device),
        "steps": settings.steps,
        "samples_seen": settings.steps * data.batch * data.segment,
        "substeps": settings.substeps,
        "parameters": sum(p[0].numel() for p in loop.trained.parameters()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "given": given(method),
        "seeds": len(seeds),
    }
    return field, coordinates, loop.histories(), costs


def substeps(observations: xr.Dataset, settings: Training) -> int:
    """Tell how many Runge-Kutta steps are made from sample to sample: as many as the settings say, or as are needed.

    Raises:
        StudyError: If the accuracy cannot be reached, or cells of one ensemble need different numbers.
    """
    if settings.substeps != "auto":
        return settings.substeps
    if "integration_error" in observations:
        errors = observations["integration_error"].transpose("seed", "substeps").to_numpy()
    else:
        errors = [fitted_errors(observations)]
    needed = sorted({least_steps(row, settings.accuracy) for row in errors})
    if len(needed) > 1:
        raise StudyError(
            f"cells that need {' and '.join(map(str, needed))} Runge-Kutta steps between two samples cannot be trained "
            f"together: train them apart, or give training.substeps as a number"
        )
    return needed[0]


class Loop:
    """The training of an ensemble, in place.

    Arguments:
        field: The ensemble.
        data: Its data.
        method: The training method.
        settings: The settings of the loop.
        seeds: The seeds of the members.
    """

    def __init__(self, field: NeuralField, data: Data, method: Method, settings: Training, seeds: Sequence[int]):
        self._field, self._data, self._method, self._settings, self._seeds = field, data, method, settings, seeds
        self._own = own_parameters(method, seeds, data.orbits * data.samples, field.dimension)
        # What is trained: the ensemble, and what the method adds to it.
        self.trained = nn.ModuleList([field, *(own.to(field.weights[0]) for own in self._own)])
        self._validation = data.validation()
        weights = flatten(self.trained)
        device, interval = weights.device, min(settings.validate_every, settings.steps)
        # The starts of the segments from one validation to the next, and the rates of all steps.
        self._starts = torch.zeros(interval, data.members, data.batch, dtype=torch.int64, device=device)
        self._rates = torch.tensor([settings.rate(step) for step in range(settings.steps)], device=device).double()
        self._adam = Adam(weights)
        nothing = torch.zeros(data.members, dtype=weights.dtype, device=device)
        self._state = {
            "weights": weights,
            "kept": weights.clone(),
            "best": torch.full_like(nothing, math.inf),
            "validation": nothing.clone(),
            "loss": nothing.clone(),  # the sum since the last row of the history
            "skipped": nothing.clone(),
            "step": torch.zeros(1, dtype=torch.int64, device=device),
            **self._adam.state,
        }
        self._rows: list[Tensor] = []

    def run(self, checkpoint: Checkpoint | None) -> float:
        """Make all steps, from the checkpoint on where there is one; returns the seconds that it had cost before."""
        state, settings, began = self._state, self._settings, time.perf_counter()
        saved = checkpoint.read() if checkpoint else None
        spent = self._restore(saved) if saved else 0.0
        step, validate = captured(self.step, state), captured(self.validate, state)
        if not saved:
            validate()
            self._write_row(math.nan)
        done, log, written = int(state["step"]), Log(settings.steps, int(state["step"])), began
        ends = [*range(settings.validate_every, settings.steps, settings.validate_every), settings.steps]
        lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        for end, starts in zip(ends, self._data.starts(self._seeds, lengths), strict=True):
            if end <= done:
                continue  # drawn only to bring the streams forward
            self._starts[: len(starts)].copy_(starts)
            for _ in range(len(starts)):
                step()
            validate()
            row = self._write_row(1 / len(starts))
            log(end, *row[:2])
            if checkpoint and end < settings.steps and time.perf_counter() - written > SECONDS_BETWEEN_CHECKPOINTS:
                written = time.perf_counter()
                seconds = torch.tensor(spent + written - began, dtype=torch.float64)
                checkpoint.write({**state, "history": torch.stack(self._rows), "seconds": seconds})
        if settings.keep == "best":
            state["weights"].copy_(state["kept"])
        return spent

    def step(self) -> None:
        """Make one gradient step."""
        state, settings = self._state, self._settings
        start = self._starts.index_select(0, state["step"] % len(self._starts)).squeeze(0)
        progress = (state["step"].double() / settings.steps).to(state["weights"].dtype).squeeze(0)
        losses = self._method.loss(self._field, self._data.gather(start), progress, *self._own)
        gradients, broken = clipped(gradient(losses.sum(), self.trained), settings.clip)
        state["skipped"] += broken
        state["loss"] += losses.detach()
        self._adam.update(gradients, self._rates.index_select(0, state["step"]))
        state["step"] += 1

    @torch.no_grad()
    def validate(self) -> None:
        """Validate, and keep the weights that are better than all before."""
        state = self._state
        error = validation_error(self._field, self._validation)
        better = (error < state["best"]) & error.isfinite()
        state["validation"].copy_(error)
        state["best"].copy_(torch.where(better, error, state["best"]))
        state["kept"].copy_(torch.where(better.unsqueeze(1), state["weights"], state["kept"]))

    def histories(self) -> list[pd.DataFrame]:
        """Tell the history of each member."""
        settings, rows = self._settings, torch.stack(self._rows)
        steps = [*range(0, settings.steps, settings.validate_every), settings.steps]
        tables = []
        for seed, (loss, validation, skipped) in zip(self._seeds, rows.permute(2, 1, 0), strict=True):
            columns = {"loss": loss, "validation": validation, "skipped": skipped.int()}
            tables.append(
                pd.DataFrame({"seed": seed, "step": steps} | {name: c.numpy() for name, c in columns.items()})
            )
        return tables

    def _write_row(self, share: float) -> Tensor:
        """Add a row to the history: loss, validation error and skipped steps, with shape (3, E)."""
        state = self._state
        row = torch.stack([state["loss"] * share, state["validation"], state["skipped"]]).double().cpu()
        state["loss"].zero_()
        self._rows.append(row)
        return row

    def _restore(self, saved: dict[str, Tensor]) -> float:
        for name, tensor in self._state.items():
            tensor.copy_(saved[name])
        self._rows = list(saved["history"])
        _say(f"resumed at step {int(self._state['step'])}")
        return saved["seconds"].item()


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

    stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
    try:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(3):  # libraries allocate their workspaces at first
                function()
                undo()
        torch.cuda.current_stream(device).wait_stream(stream)
        with torch.cuda.graph(graph):
            function()
    except RuntimeError as error:
        _say(f"no CUDA graph, every operation is launched by itself: {error}")
        undo()
        return function
    return graph.replay


def flatten(trained: nn.Module) -> Tensor:
    """Lay all weights of an ensemble into one matrix with a row for each member, of which the parameters become views.

    The optimizer and the clipping then work on one tensor, and every member's row starts at the same alignment, so that
    it meets the same vector instructions as a member alone.

    Arguments:
        trained: The ensemble, and what else is trained with it; all parameters have the leading dimension E.

    Returns:
        The weights, with shape (E, P), P rounded up to a multiple of :data:`ALIGNMENT`.
    """
    parameters = list(trained.parameters())
    weights = _rows_of(parameters)
    end = 0
    for p in parameters:
        begin, end = end, end + p[0].numel()
        p.data = weights[:, begin:end].view(p.shape)
    return weights


def gradient(loss: Tensor, trained: nn.Module) -> Tensor:
    """Compute the gradient of a loss, laid out as :func:`flatten` lays out the weights; returns shape (E, P)."""
    return _rows_of(torch.autograd.grad(loss, list(trained.parameters())))


@torch.no_grad()
def validation_error(field: Field, validation: Batch) -> Tensor:
    """Compute the mean squared error of forecasts from the starts of the validation segments; returns shape (E,)."""
    return trajectory_error(validation.rollout(field), validation)


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
        # The decays to the power of the number of steps made.
        powers = torch.ones(2, dtype=torch.float64, device=weights.device)
        self.state = {"first": torch.zeros_like(weights), "second": torch.zeros_like(weights), "powers": powers}
        self._decays = torch.tensor(betas, dtype=torch.float64, device=weights.device)

    def update(self, gradients: Tensor, rate: Tensor) -> None:
        """Make one step with gradients of the shape of the weights, at a learning rate with shape (1,)."""
        first, second, powers = self.state.values()
        decays = self._betas
        first.lerp_(gradients, 1 - decays[0])
        second.mul_(decays[1]).addcmul_(gradients, gradients, value=1 - decays[1])
        powers.mul_(self._decays)
        rest = 1 - powers
        size = (rate / rest[0]).to(gradients.dtype)
        scale = (second / rest[1]).sqrt_().add_(self._epsilon)
        self._weights.sub_((first * size).div_(scale))


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
        _say(
            f"step {step}/{self._steps}  loss {_numbers(loss)}  validation {_numbers(validation)}  "
            f"{rate:.1f} steps/s  {(self._steps - step) / rate:.0f} s left"
        )


def _rows_of(tensors: Sequence[Tensor]) -> Tensor:
    flat = torch.cat([t.detach().flatten(1) for t in tensors], 1)
    return torch.nn.functional.pad(flat, (0, -flat.shape[1] % ALIGNMENT))


def _numbers(values: Tensor) -> str:
    return " ".join(f"{v:.3g}" for v in values.tolist())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def peak_memory(device: torch.device) -> float:
    """Tell the peak memory in MiB: of the device where it is a GPU, of the process otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
