"""Random numbers named after their purpose.

A seed is derived from what it is for, ``seed_for("orbits", "Lorenz", 0)``, and never from the method that uses it: all
methods of a study see the same orbits, the same noise, the same batches and the same initial weights.
"""

import hashlib
import json

import numpy as np


def seed_for(*purpose: str | int) -> int:
    """Derive a seed from a purpose; the same on every machine and in every version of Python.

    Arguments:
        purpose: What the random numbers are for, from the general to the particular.

    Returns:
        An integer in [0, 2**63).
    """
    digest = hashlib.sha256(json.dumps(purpose).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*purpose: str | int) -> np.random.Generator:
    """Make a NumPy generator seeded by :func:`seed_for`."""
    return np.random.default_rng(seed_for(*purpose))
