"""The signatures of the systems of the catalogue, by which ``twin: auto`` finds the nearest one.

    python workflow/series/signatures.py

Of every system that needs no settings and knows its period: 128 periods of an orbit, of 40 samples each, after as many
that are left out. It takes minutes.
"""

import numpy as np
import pandas as pd

from nearorbit.study.catalogue import StudyError, build, names
from nearorbit.truth.integrators import orbits_of
from nearorbit.truth.spectra import EDGES, FILE, signature

PERIODS, SAMPLES = 128, 40
STILL = 1e-6  # of the largest modulus of a component: what varies less is at rest


def main() -> None:
    """Write the file."""
    rows = {}
    for name in names("systems"):
        try:
            system = build("systems", name, {})
        except StudyError:  # needs settings, or is no flow
            continue
        if not system.period:
            continue
        times = system.period / SAMPLES * np.arange(2 * PERIODS * SAMPLES)
        states = orbits_of(system)(system.start[None], times)[0, PERIODS * SAMPLES :]
        if np.isfinite(states).all() and (states.std(0) > STILL * np.abs(states).max(0)).all():
            rows[name] = [system.dimension, *signature(states).round(5)]
    columns = ["dimension", *(f"{edge:.3g}" for edge in EDGES[:-1])]
    pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("system").to_csv(FILE)


if __name__ == "__main__":
    main()
