"""Files that are whole or not there.

An output is written under another name in its folder, forced to the disk and then renamed: a job that is killed leaves
the old file or none. A NetCDF file says in its attributes what it holds (``kind``) and which version wrote it, so that
a file of another kind or shape, or a truncated one, is refused by name instead of failing somewhere inside.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from nearorbit import __version__
from nearorbit.catalogue import StudyError

# What the files of a kind hold: the dimensions of each variable, spaces between them.
_FORECAST = {
    "forecasts": "seed start lead component",
    "attractor": "seed run sample component",
    "windows": "seed window moment component",
    "points": "seed point component",
    "field": "seed point component",
    "jacobian": "seed point component direction",
    "exponents": "seed exponent",
    "stderr": "seed exponent",
    "converged": "seed",
    "horizon": "",
    "diverged": "seed",
}
LAYOUTS = {
    "exponents": {
        "exponents": "exponent",
        "stderr": "exponent",
        "converged": "",
        "horizon": "",
        "mean": "component",
        "deviation": "component",
        "period": "",
        "states": "state component",
    },
    "orbits": {
        "train": "seed orbit time component",
        "validation": "seed validation_orbit validation_time component",
        "step": "",
    },
    "observations": {
        "train": "seed orbit time component",
        "validation": "seed validation_orbit validation_time component",
        "mean": "seed component",
        "scale": "seed component",
        "rate": "seed",
        "step": "",
        "fingerprint": "seed",
    },
    "neighbors": {"index": "seed point neighbor", "distance": "seed point neighbor", "fingerprint": "seed"},
    "supervision": {
        "field": "seed orbit time component",
        "jacobian": "seed orbit time component direction",
        "perturbed": "seed orbit time component",
        "perturbed_jacobian": "seed orbit time component direction",
        "exponents": "exponent",
        "fingerprint": "seed",
    },
    "estimators": {
        "jacobian": "estimator seed point component direction",
        "exponents": "estimator seed exponent",
        "stderr": "estimator seed exponent",
        "fingerprint": "seed",
    },
    "truth": {**_FORECAST, "step": "", "period": ""},
    "forecast": _FORECAST,
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a path, and move what was written there to the path when the block ends well.

    Arguments:
        path: The file to make or replace; its folder is made.

    Returns:
        The temporary path; it keeps the suffix. After an error nothing remains of it, and an old file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # safetensors makes files that nobody else can read
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # of a full disk, say, which by itself names no file
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write(dataset: xr.Dataset, path: Path, *, kind: str) -> None:
    """Write a dataset as NetCDF, with its kind and the version of the package in its attributes."""
    # Through memory: HDF5 itself does not end well on a full disk.
    path.write_bytes(dataset.assign_attrs(kind=kind, nearorbit=__version__).to_netcdf(engine="h5netcdf"))


def read(path: Path, *, kind: str) -> xr.Dataset:
    """Read a whole dataset into memory.

    Arguments:
        path: The NetCDF file.
        kind: What it has to hold, e.g. ``"observations"``.

    Raises:
        StudyError: If it is not there, not whole, of another kind, or without the variables and dimensions of its kind.
    """
    remedy = "delete it, and the workflow makes it again"
    try:
        dataset = xr.load_dataset(path, engine="h5netcdf")
    except FileNotFoundError:
        raise StudyError(
            f"{path}: no such file; make it with the stage that writes {kind}, or with snakemake"
        ) from None
    except (OSError, KeyError, RuntimeError, ValueError) as error:  # h5py's answer depends on where the file ends
        raise StudyError(f"{path}: not a whole NetCDF file ({error}); {remedy}") from error
    if (found := dataset.attrs.get("kind", "nothing that nearorbit wrote")) != kind:
        raise StudyError(f"{path}: expected {kind}, it holds {found}; {remedy}")
    for name, dimensions in LAYOUTS[kind].items():
        if name not in dataset or set(dataset[name].dims) != set(dimensions.split()):
            came = f"has dimensions ({', '.join(map(str, dataset[name].dims))})" if name in dataset else "is missing"
            raise StudyError(f"{path}: '{name}' {came}, expected ({', '.join(dimensions.split())}); {remedy}")
    return dataset
