"""Trained ensembles in files, which a stranger can evaluate without this package."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized

from nearorbit.dynamics import brought
from nearorbit.dynamics.ensembles import Ensemble
from nearorbit.dynamics.fields import Coordinates, Equations, Transformed
from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import remedy

# What a stranger has to know to evaluate a saved model without this package, around what the network says; e is the
# member.
FROM, TO = (
    "y = (x - coordinates.mean[e]) / coordinates.scale[e]",
    "dx/dt = coordinates.rate[e] * coordinates.scale[e] * g(y), x and t in system units",
)


Build = Callable[[Mapping[str, Any]], Equations]  # the equations of a system, of its line in a study


def with_equations(
    spec: Mapping[str, Any], learned: Mapping[str, Any], build: Build
) -> tuple[Mapping[str, Any], Equations | None]:
    """Find the equations that a network builds upon, if it does.

    Arguments:
        spec: The network, as a line of a study spells it out.
        learned: The system that is learned, likewise.
        build: What builds equations.

    Returns:
        The network with its system spelt out, and the equations; unchanged and None if it builds upon none.
    """
    network = catalogue.build("networks", "mlp", spec, where="network")
    if not hasattr(network, "known"):
        return spec, None
    line = network.known(learned)
    return {**spec, "system": line, "parameters": {}}, build(line)


def make(
    spec: Mapping[str, Any],
    components: Sequence[str],
    seeds: Sequence[int],
    coordinates: Coordinates,
    equations: Equations | None = None,
) -> Ensemble:
    """Make an ensemble of untrained networks.

    Arguments:
        spec: The network, as a line of a study spells it out: ``{"network": "mlp", "width": 64, ...}``.
        components: The names of the components.
        seeds: The seeds of the members.
        coordinates: The change from system units to model coordinates.
        equations: The known equations, of a network that builds upon some.

    Raises:
        StudyError: If there is no such network, it refuses a setting, or it is none for these components.
    """
    network = catalogue.build("networks", "mlp", spec, where="network")
    try:
        network.check(components)
        return network.make(components, seeds, coordinates, *([equations] if hasattr(network, "known") else []))
    except ValueError as error:
        raise StudyError(f"network '{spec.get('network', 'mlp')}': {error}") from None


def save(
    path: Path, field: Ensemble, coordinates: Coordinates, *, network: Mapping[str, Any], components: Sequence[str]
) -> None:
    """Write an ensemble and its coordinates to a safetensors file, the same to the byte each time.

    Arguments:
        path: The file.
        field: The ensemble, in model coordinates.
        coordinates: The change from system units to model coordinates.
        network: What :func:`make` made it from.
        components: The names of the components.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in field.state_dict().items()}
    tensors |= {f"coordinates.{name}": t.cpu().contiguous() for name, t in vars(coordinates).items()}
    equations = catalogue.build("networks", "mlp", network).equations
    header = {
        "network": json.dumps({"network": "mlp", **network}),
        "components": json.dumps(list(components)),
        "equations": "; ".join([FROM, equations, TO]),
    }
    path.write_bytes(_ordered(serialized(tensors, header)))


def _ordered(content: bytes) -> bytes:
    """Bring the header of a safetensors file into order; its writer leaves the order of the keys to chance."""
    begin = 8 + int.from_bytes(content[:8], "little")  # of the numbers, behind the header and its length
    header = json.dumps(json.loads(content[8:begin]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # numbers are aligned
    return len(header).to_bytes(8, "little") + header + content[begin:]


def load(
    path: Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
    equations: Build | None = None,
) -> Transformed[Ensemble]:
    """Read a trained ensemble as a field in system units.

    Arguments:
        path: A ``model.safetensors`` that a training left.
        device: The device to load it to.
        dtype: The precision to evaluate it in.
        equations: What builds known equations from the line of a study, for networks that build upon some.

    Returns:
        The field: it maps states with shape (E, *, D), a row for each seed, to their time derivatives, both in system
        units; ``.field`` is the ensemble in model coordinates.

    Raises:
        StudyError: If it is not there, not whole, or not a model that :func:`save` wrote.
    """
    try:
        with safe_open(path, framework="pt", device=device) as file:
            tensors = {name: file.get_tensor(name).to(dtype) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; make it with the stage train, or with snakemake") from None
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{path}: not a whole safetensors file ({error}); {remedy(path, 'training')}") from error
    try:
        coordinates = Coordinates(*(tensors.pop(f"coordinates.{name}") for name in ("mean", "scale", "rate")))
        members, dimension = coordinates.mean.shape
        components = json.loads(header.get("components", "null")) or [f"x{i}" for i in range(dimension)]
        spec = json.loads(header["network"])
        known = equations(spec["system"]) if spec.get("system") and equations else None
        field = make(spec, components, range(members), coordinates, known).to(device, dtype)
        field.load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise StudyError(f"{path}: not a model that nearorbit wrote ({error}); {remedy(path, 'training')}") from error
    return Transformed(field.requires_grad_(False), coordinates.inverse)


def one_of(
    model: Path | None, field: str | None, *, states: np.ndarray, equations: Build, stage: str
) -> Transformed[Any]:
    """Load a model, or a field that is brought.

    Arguments:
        model: The file of a model; None if a field is brought.
        field: What names the field; None if there is a model.
        states: States at which what is brought is tried, in system units, with shape (*, D).
        equations: What builds known equations from the line of a study.
        stage: What asks for it, for the message.

    Raises:
        StudyError: If it is not one of the two, or cannot be loaded.
    """
    if (model is None) == (field is None):
        raise StudyError(f"{stage}: give one of --model and --field")
    if model is not None:
        return load(model, equations=equations)
    return brought.load(str(field), states.reshape(-1, states.shape[-1]))
