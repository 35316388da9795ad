r"""The one training loop: the same data, batches, optimizer, budget and rule of selection for every method.

Adam, or a relative of it, on the sum of the members' losses, with a rate that rises to its peak and falls again (one
cycle) or stays, and the gradient of each member clipped by its own norm, or not. A loss of one member does not depend
on the weights of another, so that the stack trains each member as if it were alone. Every so often all members forecast
the validation orbits; the best weights of each are kept, there or on the training orbits, or the last, by one rule for
all methods.

A step whose gradient is not finite is skipped for that member and counted (``skipped`` in the history, and in a line at
the end); it never stops the others. To the optimizer that gradient is zero: moments fade, what they carry and the decay
still move the weights.

All that a step reads and changes, its number included, is in tensors at fixed places on the device. On a GPU the step
is therefore captured once, from the batch to the new weights, and replayed in one launch; the host waits for it only
where a row of the history is written. And the same tensors, in a file, are a checkpoint.

It is one module since all that could make a comparison unfair is decided here.

References:
    | Super-convergence: Very fast training of neural networks using large learning rates (Smith and Topin, 2019)
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

from nearorbit.data.fitted_field import fitted_errors
from nearorbit.data.observations import in_system_units
from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates, Equations, Field
from nearorbit.dynamics.integration import least_steps
from nearorbit.dynamics.kernels import by_kernels
from nearorbit.dynamics.models import make
from nearorbit.study.catalogue import StudyError
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.checkpoint import SECONDS_BETWEEN_CHECKPOINTS, Checkpoint, Checkpoints
from nearorbit.training.devices import captured, named, peak_memory, pick_device
from nearorbit.training.mending import Mending
from nearorbit.training.methods.base import Batch, Method, given, own_parameters, trajectory_error
from nearorbit.training.optimizer import clipped, flatten, optimizer
from nearorbit.training.phases import phases
from nearorbit.training.progress import Log, say, tell_skipped


def train(
    observations: xr.Dataset,
    method: Method,
    *,
    network: Mapping[str, Any],
    training: Mapping[str, Any],
    files: Mapping[str, xr.Dataset] | None = None,
    equations: Equations | None = None,
    checkpoint: Checkpoint | Checkpoints | None = None,
) -> tuple[Ensemble, Coordinates, list[pd.DataFrame], dict[str, Any]]:
    """Train an ensemble, a member for each seed of the observations.

    Arguments:
        observations: The observed orbits, from :func:`nearorbit.data.observations.observe`; or of several cells, from
            :func:`nearorbit.training.batches.stacked`.
        method: The training method.
        network: The network, as a line of a study spells it out.
        training: The settings of :class:`nearorbit.training.budget.Training`.
        files: The other files of results that the method needs, by their kinds: ``neighbors``, ``supervision``.
        equations: The known equations, of a network that builds upon some.
        checkpoint: The file to resume from and to write now and then; or those of the cells.

    Returns:
        The trained ensemble in model coordinates; the coordinates; the history of each member (seed, step, loss,
        validation, skipped, and the error on the ``training`` orbits if weights are kept by it), with the loss averaged
        since the row before; and the costs (seconds, peak memory, ...).

    Raises:
        StudyError: If the device does not exist, the orbits are too short, or a file that the method needs is missing
            or belongs to other data.
    """
    began = time.perf_counter()
    torch.set_flush_denormal(True)  # denormal activations of saturated units cost several times as much
    settings = Training(**training)
    settings = replace(settings, substeps=substeps(observations, settings))
    if settings.coordinates == "raw":
        observations = in_system_units(observations)
    device, dtype = pick_device(settings.device), getattr(torch, settings.precision)
    seeds = [int(seed) for seed in observations["seed"]]
    coordinates = Coordinates(
        *(torch.from_numpy(observations[name].to_numpy().reshape(len(seeds), -1)) for name in ("mean", "scale", "rate"))
    )
    data = Data(observations, method, settings, files, device=device, dtype=dtype)
    components = [str(name) for name in observations["component"].to_numpy()]
    field = make(network, components, seeds, coordinates, equations).to(device, dtype)
    if (masked := data.masked) is not None:
        shares = ", ".join(f"{100 * share:.3g} %" for share in masked.tolist())
        say(f"starts without enough neighbors, whose terms of neighbors do not count: {shares}, seed by seed")
    loop = Loop(field, data, method, settings, seeds)
    spent = loop.run(checkpoint)
    costs = {
        "seconds": time.perf_counter() - began + spent,
        "peak_memory_mib": peak_memory(device),
        "steps": settings.steps,
        "samples_seen": loop.samples_seen,
        "by_seed": {"masked": torch.zeros(len(seeds)) if masked is None else masked}
        | (loop.mending.found if loop.mending else {}),
        "substeps": settings.substeps,
        "compiled": int(loop.compiled),
        "kernels": int(not loop.compiled and by_kernels(field)),
        "network": network.get("network", "mlp"),
        "parameters": sum(p[0].numel() for p in loop.trained.parameters()),
        "device": named(device),
        "given": given(method, network),
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
        errors: Iterable[np.ndarray] = observations["integration_error"].transpose("seed", "substeps").to_numpy()
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

    def __init__(self, field: Ensemble, data: Data, method: Method, settings: Training, seeds: Sequence[int]):
        self._field, self._data, self._method, self._settings, self._seeds = field, data, method, settings, seeds
        self._own = own_parameters(method, seeds, data.orbits * data.samples, field.dimension)
        # What is trained: the ensemble, and what the method adds to it.
        self.trained = nn.ModuleList([field, *(own.to(next(field.parameters())) for own in self._own)])
        self.mending = None
        if rounds := getattr(method, "smoothings", 0):
            draws = getattr(method, "draw_errors", False)
            self.mending = Mending(field, data, seeds, steps=settings.steps, rounds=rounds, draws=draws)
        self._segments = {"validation": data.validation()}
        if settings.keep == "training":
            self._segments["training"] = data.training()
        weights = flatten(self.trained)
        device = weights.device
        self._rates = torch.tensor([settings.rate_at(step) for step in range(settings.steps)], device=device).double()
        self._bound = math.inf if settings.clip == "none" else settings.clip
        self._optimizer = optimizer(settings, weights, sum(p[0].numel() for p in field.parameters()))
        nothing = torch.zeros(data.members, dtype=weights.dtype, device=device)
        self.state = {
            "weights": weights,
            "kept": weights.clone(),
            "best": torch.full_like(nothing, math.inf),
            **{name: nothing.clone() for name in self._segments},
            "loss": nothing.clone(),  # the sum since the last row of the history
            "skipped": nothing.clone(),
            "step": torch.zeros(1, dtype=torch.int64, device=device),
            **self._optimizer.state,
            **(self.mending.state if self.mending else {}),
        }
        self._rows: list[Tensor] = []
        self._phases = phases(data, method, self.trained, weights, settings)
        self.phase = self._phases[0]
        self.compiled = all(phase.descent.compiled for phase in self._phases)

    def run(self, checkpoint: Checkpoint | Checkpoints | None) -> float:
        """Make all steps, from the checkpoint on where there is one; returns the seconds that it had cost before."""
        state, settings, began = self.state, self._settings, time.perf_counter()
        saved = checkpoint.read() if checkpoint else None
        spent = self._restore(saved) if saved else 0.0
        validate = captured(self.validate, state)
        if not saved:
            validate()
            self._write_row(math.nan)
        done, log, written = int(state["step"]), Log(settings.steps, int(state["step"])), began
        for phase in self._phases:
            if phase.steps.stop <= done:
                continue
            self.phase = phase
            step = captured(self.step, state)
            for end, starts in phase.draw(self._seeds, settings.validate_every):
                if end <= done:
                    continue  # drawn only to bring the streams forward
                phase.put(end, starts)
                for number in range(end - len(starts), end):
                    self._mend(number)
                    step()
                if end % settings.validate_every and end < settings.steps:
                    continue  # the phase ends between two validations
                validate()
                row = self._write_row(1 / ((end - 1) % settings.validate_every + 1))
                log(end, *row[:2])
                if checkpoint and end < settings.steps and time.perf_counter() - written > SECONDS_BETWEEN_CHECKPOINTS:
                    written = time.perf_counter()
                    seconds = torch.tensor(spent + written - began, dtype=torch.float64)
                    checkpoint.write({**state, "history": torch.stack(self._rows), "seconds": seconds})
        if settings.keep != "last":
            state["weights"].copy_(state["kept"])
        tell_skipped(self._seeds, self._rows[-1][-1], settings.steps)
        return spent

    @property
    def samples_seen(self) -> int:
        """How many samples the segments of all steps have, after their starts."""
        return sum(len(phase.steps) * phase.data.batch * phase.data.segment for phase in self._phases)

    def step(self) -> None:
        """Make one gradient step."""
        state, settings = self.state, self._settings
        phase = self.phase
        start = phase.starts.index_select(0, state["step"] % len(phase.starts)).squeeze(0)
        progress = (state["step"].double() / settings.steps).to(state["weights"].dtype).squeeze(0)
        losses, direction = phase.descent(phase.data.gather(start), progress)
        gradients, broken = clipped(direction, self._bound)
        state["skipped"] += broken
        state["loss"] += losses.detach()
        self._optimizer.update(gradients, self._rates.index_select(0, state["step"]))
        state["step"] += 1

    @torch.no_grad()
    def validate(self) -> None:
        """Validate, and keep the weights that are better than all before."""
        state = self.state
        for name, segments in self._segments.items():
            state[name].copy_(forecast_error(self._field, segments))
        error = state["training" if "training" in self._segments else "validation"]
        better = (error < state["best"]) & error.isfinite()
        state["best"].copy_(torch.where(better, error, state["best"]))
        state["kept"].copy_(torch.where(better.unsqueeze(1), state["weights"], state["kept"]))

    def histories(self) -> list[pd.DataFrame]:
        """Tell the history of each member."""
        settings, rows = self._settings, torch.stack(self._rows)
        steps = [*range(0, settings.steps, settings.validate_every), settings.steps]
        tables = []
        for seed, (loss, *errors, skipped) in zip(self._seeds, rows.permute(2, 1, 0), strict=True):
            columns = {"loss": loss, **dict(zip(self._segments, errors, strict=True)), "skipped": skipped.int()}
            tables.append(
                pd.DataFrame({"seed": seed, "step": steps} | {name: c.numpy() for name, c in columns.items()})
            )
        return tables

    def _write_row(self, share: float) -> Tensor:
        """Add a row to the history: loss, errors on segments and skipped steps, with shape (3 or 4, E)."""
        state = self.state
        errors = [state[name] for name in self._segments]
        row = torch.stack([state["loss"] * share, *errors, state["skipped"]]).double().cpu()
        state["loss"].zero_()
        self._rows.append(row)
        return row

    def _mend(self, step: int) -> None:
        """Smooth the states before a step, where that is due, and look for the best weights from then on."""
        if self.mending and self.mending.before(step):
            self._begin_anew()
            self.state["best"].fill_(math.inf)  # errors from other states are no measure for those from these

    def _begin_anew(self) -> None:
        """Let the segments that errors are computed over start from the states that there are now."""
        for name, segments in self._segments.items():
            segments.states.copy_(getattr(self._data, name)().states)

    def _restore(self, saved: dict[str, Tensor]) -> float:
        for name, tensor in self.state.items():
            tensor.copy_(saved[name])
        self._rows = list(saved["history"])
        if self.mending:
            self.mending.put()
            self._begin_anew()
        say(f"resumed at step {int(self.state['step'])}")
        return saved["seconds"].item()


@torch.no_grad()
def forecast_error(field: Field, segments: Batch) -> Tensor:
    """Compute the mean squared error of plain rollouts from the starts of segments; returns shape (E,)."""
    return trajectory_error(segments.rollout(field), segments)
