"""Fingerprints of observed orbits, by which what is computed along them knows them again."""

import hashlib

import numpy as np
import xarray as xr

from nearorbit.study.catalogue import StudyError


def marked(observations: xr.Dataset) -> xr.Dataset:
    """Give observations the fingerprints of their training orbits."""
    prints = [fingerprint(states) for states in observations["train"].transpose("seed", ...).to_numpy()]
    return observations.assign(fingerprint=("seed", np.array(prints)))


def matching(file: xr.Dataset, name: str, observations: xr.Dataset) -> xr.Dataset:
    """Refuse a file that was computed along other observations than these."""
    if not np.array_equal(file["fingerprint"], observations["fingerprint"]):
        raise StudyError(
            f"{name}: the file is of other data: the fingerprints of its observations are {_hex(file)}, of these "
            f"{_hex(observations)}; make it again from these observations"
        )
    return file


def _hex(file: xr.Dataset) -> str:
    return " ".join(f"{value:016x}" for value in np.atleast_1d(file["fingerprint"].to_numpy()))


def fingerprint(states: np.ndarray) -> int:
    """Hash states of any shape to 63 bits."""
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(states).data, digest_size=8).digest()) >> 1
