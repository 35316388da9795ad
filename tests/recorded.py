"""Recordings of Lorenz' system in a file, and the orbits that are cut from them."""

import numpy as np
import pandas as pd
from lorenz63 import STEP, orbit

from nearorbit.study import catalogue
from nearorbit.truth import recordings

COMPONENTS = ["x", "y", "z"]
START = np.array([1.0, 1.0, 25.0])


def file_of(path, *states, times=None):
    tables = [
        pd.DataFrame(s, columns=COMPONENTS).assign(t=STEP * np.arange(len(s)) if times is None else times[k], k=k)
        for k, s in enumerate(states)
    ]
    pd.concat(tables).to_csv(path, index=False)
    return path


def measured(path, **settings):
    line = {"system": "measured", "file": str(path), "time": "t", "orbit": "k", "components": COMPONENTS, **settings}
    return catalogue.build("systems", "series", line)


def cut(system, seeds=1, **data):
    known = recordings.attractor(system, label="series")
    return recordings.orbits(system, known, label="series", seeds=seeds, data=data), known


def pieces(*lengths):
    return [orbit(orbit(START + number, 300)[-1], length) for number, length in enumerate(lengths)]
