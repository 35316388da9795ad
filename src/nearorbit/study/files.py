"""Files that are whole or not there.

An output is written under another name in its folder, forced to the disk and then renamed: a job that is killed leaves
the old file or none. A NetCDF file says in its attributes what it holds (``kind``) and which version wrote it, so that
a file of another kind or shape, a truncated one, or one with numbers that no stage can use is refused by name instead
of failing somewhere inside. Nobody is told to delete a file: it may hold the only copy of a measurement.

It is one module since what is written is what is checked when it is read.
"""

import gzip
import os
import shlex
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit import __version__
from nearorbit.study.catalogue import StudyError

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
    "collapsed": "seed",
}
ATTRIBUTES = {"exponents": ("motion",), "truth": ("motion",), "structure": ("character",)}
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
    "covariant_vectors": {
        **dict.fromkeys(("states", "field"), "orbit sample component"),
        **{"jacobian": "orbit sample component direction", "vectors": "orbit sample component exponent"},
        **{"growth": "orbit sample exponent", "curvature": "orbit sample exponent along"},
        **dict.fromkeys(("distinct", "exponents", "stderr"), "exponent"),
        **dict.fromkeys(("spread", "step", "period"), ""),
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
    "propagators": {"propagator": "seed orbit time component direction", "fingerprint": "seed"},
    "estimators": {
        "jacobian": "estimator seed point component direction",
        "exponents": "estimator seed exponent",
        "stderr": "estimator seed exponent",
        "fingerprint": "seed",
    },
    "structure": {
        "error": "lead",
        "surrogate_error": "surrogate lead",
        **dict.fromkeys(("near", "middle", "far", "growth", "growth_stderr", "slow", "lost"), ""),
        **dict.fromkeys(("p_value", "level", "recordings", "samples", "periods"), ""),
        "noise": "component",
    },
    "truth": {**_FORECAST, "step": "", "period": ""},
    "forecast": _FORECAST,
    "unseen": {
        **dict.fromkeys(("error", "persistence_error", "climatology_error"), "seed lead"),
        **dict.fromkeys(("valid_time", "persistence_time", "climatology_time"), "seed start"),
        **dict.fromkeys(("divergence", "divergence_floor", "hellinger", "hellinger_floor"), "seed"),
    },
}

# And what they hold besides where samples are missing or not at equal intervals.
_INSTANTS = {
    "instants": "seed orbit time",
    "validation_instants": "seed validation_orbit validation_time",
    "gap": "",
}
_COUNTS = {"counts": "seed orbit", "validation_counts": "seed validation_orbit"}
IRREGULAR = {"orbits": _INSTANTS, "observations": _INSTANTS | _COUNTS}

# What has to be finite in a file of a kind, what positive, and what has to vary in every component of a seed.
FINITE = {
    "exponents": ("mean", "states"),
    "orbits": ("train", "validation"),
    "observations": ("train", "validation", "mean", "instants", "validation_instants"),
    "truth": ("forecasts", "attractor", "points"),
}
POSITIVE = {
    "exponents": ("period",),
    "covariant_vectors": ("step", "period"),
    "orbits": ("step", "period"),
    "observations": ("scale", "rate", "step", "period", "gap"),
    "truth": ("step", "period"),
}
VARYING = {"observations": ("train",)}
MANY = 1_000_000  # observed states of a seed, beyond which single precision is kept of what is computed along them
LEAST = 1e-10  # of the largest modulus of a component: what varies less is rounding


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
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_all(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Give temporary names beside several paths, as :func:`replacing` does for one."""
    with ExitStack() as stack:
        yield [stack.enter_context(replacing(path)) for path in paths]


def write(dataset: xr.Dataset, path: Path, *, kind: str) -> None:
    """Write a dataset as NetCDF, with its kind and the version of the package in its attributes."""
    # Through memory: HDF5 itself does not end well on a full disk.
    path.write_bytes(dataset.assign_attrs(kind=kind, nearorbit=__version__).to_netcdf(engine="h5netcdf"))


def remedy(path: Path | zipfile.Path, kind: str) -> str:
    """Say how to come by a right file in place of a wrong one, losing nothing that the workflow did not make."""
    again = f"snakemake --cores 1 --force {shlex.quote(str(path))}"
    return f"give a file that the stage for {kind} has written; to make it anew, if the workflow made it: {again}"


def read(path: Path, *, kind: str) -> xr.Dataset:
    """Read a whole dataset into memory.

    Arguments:
        path: The NetCDF file.
        kind: What it has to hold, e.g. ``"observations"``.

    Raises:
        StudyError: If it is not there, not whole, of another kind, without the variables and dimensions of its kind, or
            with numbers in them that nothing can be made of.
    """
    try:
        dataset = xr.load_dataset(path, engine="h5netcdf")
    except FileNotFoundError:
        raise StudyError(
            f"{path}: no such file; make it with the stage that writes {kind}, or with snakemake"
        ) from None
    except (OSError, KeyError, RuntimeError, ValueError) as error:  # h5py's answer depends on where the file ends
        raise StudyError(
            f"{path}: expected {kind}, it is not a whole NetCDF file ({error}); {remedy(path, kind)}"
        ) from error
    if (found := dataset.attrs.get("kind", "nothing that nearorbit wrote")) != kind:
        raise StudyError(f"{path}: expected {kind}, it holds {found}; {remedy(path, kind)}")
    _check_layout(dataset, path, kind)
    _check_numbers(dataset, path, kind)
    return dataset


def table(path: Path | zipfile.Path) -> pd.DataFrame:
    """Read a long table; its labels stay texts, of which ``0.02`` looks like a number and ``NA`` like nothing.

    Arguments:
        path: The CSV file, compressed if it is called ``.gz``, or one in an archive.

    Raises:
        StudyError: If it is no table.
    """
    try:
        with path.open("rb") as file:
            compression = "gzip" if path.name.endswith(".gz") else None
            labels = dict.fromkeys(("system", "data", "method"), str)
            return pd.read_csv(file, compression=compression, converters=labels)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise StudyError(f"{path}: not a whole CSV file ({error}); {remedy(path, path.stem)}") from error


def _check_layout(dataset: xr.Dataset, path: Path, kind: str) -> None:
    layout = LAYOUTS[kind] | (IRREGULAR.get(kind, {}) if "instants" in dataset else {})
    for name in ATTRIBUTES.get(kind, ()):
        if name not in dataset.attrs:
            raise StudyError(f"{path}: the attribute '{name}' is missing; {remedy(path, kind)}")
    for name, dimensions in layout.items():
        expected = f"expected ({', '.join(dimensions.split())}); {remedy(path, kind)}"
        if name not in dataset:
            raise StudyError(f"{path}: '{name}' is missing, {expected}")
        values = dataset[name]
        if set(values.dims) != set(dimensions.split()):
            raise StudyError(f"{path}: '{name}' has dimensions ({', '.join(map(str, values.dims))}), {expected}")
        if values.dtype.kind not in "biuf" or not values.size:
            came = f"of type {values.dtype}" if values.size else "none"
            raise StudyError(f"{path}: '{name}': expected numbers, they are {came}; {remedy(path, kind)}")


def _check_numbers(dataset: xr.Dataset, path: Path, kind: str) -> None:
    """Refuse numbers that would only spread: one NaN of an observation makes every weight of a network NaN."""
    positive = POSITIVE.get(kind, ())
    for name in (*FINITE.get(kind, ()), *positive):
        if name not in dataset:
            continue
        values = dataset[name].to_numpy()
        wrong = ~np.isfinite(values) | ((values <= 0) & (name in positive))
        if wrong.any():
            first = tuple(np.argwhere(wrong)[0])
            expected = "a positive number" if name in positive else "a finite number, for nothing declares gaps"
            raise StudyError(
                f"{path}: '{name}' is {values[first]}{_place(dataset[name], first)} ({wrong.sum()} such of "
                f"{wrong.size}), expected {expected}; leave out or fill in what is missing, or {remedy(path, kind)}"
            )
    for name in VARYING.get(kind, ()):
        orbits = dataset[name].transpose("seed", "component", ...)
        samples = orbits.to_numpy().reshape(*orbits.shape[:2], -1)
        constant = np.ptp(samples, -1) <= LEAST * abs(samples).max(-1)
        if constant.any():
            first = tuple(np.argwhere(constant)[0])
            raise StudyError(
                f"{path}: '{name}' does not vary{_place(orbits, first)}: every sample is {samples[first][0]}, which "
                f"cannot be standardized; leave this component out, or take data in which it varies"
            )


def _place(values: xr.DataArray, index: tuple[int, ...]) -> str:
    """Name the place of a value, ``" at seed 0, orbit 2, sample 17, component x"``; of as many dimensions as given."""
    words = []
    for dimension, position in zip(values.dims, index, strict=False):
        name = str(dimension).removeprefix("validation_")
        labelled = name in ("seed", "component") and dimension in values.coords
        label = values[dimension].to_numpy()[position] if labelled else position
        words.append(f"{'sample' if name == 'time' else name} {label}")
    return f" at {', '.join(words)}" if words else ""
