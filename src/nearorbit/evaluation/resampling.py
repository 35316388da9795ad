"""What a bootstrap draws of data with a hierarchy: systems, and seeds within each that it drew.

What is computed of the seeds of a system is the same wherever the same ones are drawn. Of few seeds there are few sets,
so each is told once, and draws say which sets they have: a hundredth of the work, where seeds are five and draws many.

References:
    | Bootstrap methods and their application (Davison and Hinkley, 1997), 3.8: data with a hierarchy
"""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def drawn(seeds: tuple[int, ...], most: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw systems, and seeds within each, with replacement; the same arguments give the same draws.

    Arguments:
        seeds: How many seeds each system has.
        most: The most that any can have.
        draws: How often all systems are drawn.

    Returns:
        The distinct systems with their seeds, with shape (sets, 1 + most): the number of the system, and those of its
        seeds, sorted, and -1 for what is beyond them. And which of these each draw has, with shape (draws, systems).
    """
    generator = np.random.default_rng(0)
    systems = generator.integers(len(seeds), size=(draws, len(seeds)))
    count = np.array(seeds)[systems][..., None]
    chosen = np.where(np.arange(most) < count, generator.random((*systems.shape, most)) * count, -1)
    rows = np.concatenate([systems[..., None], np.sort(chosen.astype(np.int16), -1)], -1, dtype=np.int16)
    sets, places = np.unique(rows.reshape(-1, 1 + most), axis=0, return_inverse=True)
    return sets, places.reshape(systems.shape)
