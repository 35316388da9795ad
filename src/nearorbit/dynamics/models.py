"""Trained ensembles in files, which a stranger can evaluate without this package."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized

from nearorbit.dynamics.fields import Coordinates, Transformed
from nearorbit.dynamics.networks.mlp import NeuralField
from nearorbit.study.catalogue import StudyError
from nearorbit.study.files import remedy

# What a stranger has to know to evaluate a saved model without this package; e is the member.
EQUATIONS = (
    "y = (x - coordinates.mean[e]) / coordinates.scale[e]; h = y; for every hidden layer n: h = activation(h @ "
    "weights.n[e] + biases.n[e]); last layer without activation; dx/dt = coordinates.rate[e] * coordinates.scale[e] "
    "* h, x and t in system units"
)


def save(path: Path, field: NeuralField, coordinates: Coordinates, **metadata: str) -> None:
    """Write an ensemble and its coordinates to a safetensors file, the same to the byte each time.

    Arguments:
        path: The file.
        field: The ensemble, in model coordinates.
        coordinates: The change from system units to model coordinates.
        metadata: What else the header of the file should say.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in field.state_dict().items()}
    tensors |= {f"coordinates.{name}": t.cpu().contiguous() for name, t in vars(coordinates).items()}
    header = {"network": json.dumps(field.settings), "equations": EQUATIONS, **metadata}
    path.write_bytes(_ordered(serialized(tensors, header)))


def _ordered(content: bytes) -> bytes:
    """Bring the header of a safetensors file into order; its writer leaves the order of the keys to chance."""
    begin = 8 + int.from_bytes(content[:8], "little")  # of the numbers, behind the header and its length
    header = json.dumps(json.loads(content[8:begin]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # numbers are aligned
    return len(header).to_bytes(8, "little") + header + content[begin:]


def load(path: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float64) -> Transformed:
    """Read a trained ensemble as a field in system units.

    Arguments:
        path: A ``model.safetensors`` that a training left.
        device: The device to load it to.
        dtype: The precision to evaluate it in.

    Returns:
        The field: it maps states with shape (E, *, D), a row for each seed, to their time derivatives, both in system
        units; ``.field`` is the :class:`NeuralField` in model coordinates.

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
        field = NeuralField(dimension, range(members), **json.loads(header["network"])).to(device, dtype)
        field.load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise StudyError(f"{path}: not a model that nearorbit wrote ({error}); {remedy(path, 'training')}") from error
    return Transformed(field.requires_grad_(False), coordinates.inverse)
