"""The example series of this folder: simulated here, so that what there is to learn is known, and then made bad.

    python workflow/series/make.py

- ``lorenz.csv``: the Lorenz system (sigma 10, rho 28, beta 8/3; its leading exponent is 0.906), 5000 samples 0.02
  apart, of which 30 % are missing; times are moved by up to a quarter of an interval, and noise of 2 % of each
  component's deviation is added.
- ``pendulum.csv``: angles and angular velocities of a double pendulum of two equal masses on rods of half a meter,
  without friction; two recordings of 100 samples at random times over five seconds, as of a video.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.integrate import solve_ivp

HERE = Path(__file__).parent


def lorenz(t: float, state: np.ndarray) -> list[float]:
    """The equations of Lorenz."""
    x, y, z = state
    return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]


def pendulum(t: float, state: np.ndarray, *, rod: float = 0.5, gravity: float = 9.81) -> list[float]:
    """A double pendulum of two equal masses: angles from the vertical, and their velocities."""
    upper, lower, fast, faster = state
    apart, pull = upper - lower, gravity / rod
    sine, cosine, inertia = np.sin(apart), np.cos(apart), 2 - np.cos(apart) ** 2
    first = -sine * (cosine * fast**2 + faster**2) - pull * (2 * np.sin(upper) - np.sin(lower) * cosine)
    second = sine * (2 * fast**2 + cosine * faster**2) + 2 * pull * (np.sin(upper) * cosine - np.sin(lower))
    return [fast, faster, first / inertia, second / inertia]


def orbit(field, start: list[float], times: np.ndarray) -> np.ndarray:
    """The states at some times, with shape (T, D)."""
    return solve_ivp(field, (0, times[-1]), start, method="DOP853", t_eval=times, rtol=1e-10, atol=1e-10).y.T


def main() -> None:
    """Write both files."""
    random = np.random.default_rng(21)
    ticks = np.flatnonzero(random.uniform(size=5000) >= 0.3)
    times = 0.02 * (ticks + random.uniform(-0.25, 0.25, len(ticks)))
    states = orbit(lorenz, [1.0, 2.0, 20.0], 20 + times)
    states += 0.02 * states.std(0) * random.standard_normal(states.shape)
    table = pd.DataFrame(states.round(4), columns=["x", "y", "z"])
    table.insert(0, "t", times.round(5))
    table.to_csv(HERE / "lorenz.csv", index=False)

    recordings = []
    for trial, start in enumerate(([1.0, 1.4, 0.0, 0.0], [0.6, 1.2, 0.0, 0.0])):
        times = np.sort(random.uniform(0, 5, 100)).round(4)
        states = orbit(pendulum, start, times) + random.normal(0, [0.01, 0.01, 0.05, 0.05], (100, 4))
        table = pd.DataFrame(states.round(4), columns=["upper", "lower", "upper_velocity", "lower_velocity"])
        table.insert(0, "t", times)
        table.insert(0, "trial", trial)
        recordings.append(table)
    pd.concat(recordings).to_csv(HERE / "pendulum.csv", index=False)


if __name__ == "__main__":
    main()
