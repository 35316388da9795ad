r"""Power spectra: the period of a motion, and how alike two motions are.

The *period* is that of the peak of the power spectrum, averaged over the standardized components. A *signature* is the
share of that power that lies in each quarter of an octave, from a sixteenth to sixteen times the mean frequency: the
geometric mean, which knows no units of time, and is surer than a peak. The distance of two is how far power has to be
moved to make the one of the other, in quarters of an octave (Wasserstein's). The signatures of the catalogue are in
``spectra.csv`` beside this module, which ``workflow/series/signatures.py`` makes anew.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from nearorbit.study.sampling import shortened
from nearorbit.truth.series import Series

FILE = Path(__file__).with_suffix(".csv")
EDGES = 2.0 ** np.arange(-4, 4.01, 0.25)  # of bins, in mean frequencies
SEGMENTS = 8  # of the longest recording, of which a power spectrum is the mean, if they have LEAST samples
LEAST = 256
BRIDGED = 10  # sample intervals, of which a gap is in a power spectrum at most


def peak_period(states: np.ndarray, *, rate: float, segment: int) -> float:
    """Find the period at the peak of the power spectrum, averaged over the standardized components.

    Arguments:
        states: An orbit at equal intervals, with shape (T, D).
        rate: The samples in a unit of time.
        segment: The samples of the pieces that the spectrum is averaged over.
    """
    from scipy.signal import welch  # here, because its import takes half a second

    frequency, power = welch(states / states.std(0), fs=rate, nperseg=segment, axis=0)
    return float(1 / frequency[1 + np.argmax(power[1:].mean(1))])


def evened(series: Series) -> np.ndarray:
    """Read the longest recording at equal intervals, by linear interpolation, gaps cut short, with shape (T, D)."""
    ticks, states = max(zip(series.ticks, series.states, strict=True), key=lambda recording: len(recording[0]))
    ticks = shortened(ticks, BRIDGED)
    grid = np.arange(int(ticks[-1]) + 1)
    return np.stack([np.interp(grid, ticks, component) for component in states.T], 1)


def period(series: Series) -> float:
    """Find the period of a series, in the unit of its times."""
    even = evened(series)
    return peak_period(even, rate=1 / series.step, segment=_segment(len(even)))


def _segment(samples: int) -> int:
    """The samples of the pieces that a spectrum is averaged over."""
    return min(samples, max(LEAST, samples // SEGMENTS))


def signature(states: np.ndarray) -> np.ndarray:
    """Compute the signature of a motion.

    Arguments:
        states: States at equal intervals, with shape (T, D); of whatever interval, if it is short against the motion.

    Returns:
        The shares of the power in the bins between EDGES, which sum to 1.
    """
    from scipy.signal import welch

    standardized = (states - states.mean(0)) / states.std(0)
    frequency, power = welch(standardized, nperseg=_segment(len(states)), axis=0)
    frequency, power = frequency[1:], power[1:].mean(1)
    middle = np.exp(power @ np.log(frequency) / power.sum())
    shares, _ = np.histogram(frequency / middle, EDGES, weights=power)
    return shares / shares.sum()


def nearest(found: np.ndarray, *, dimension: int) -> list[str]:
    """List the systems of the catalogue from near to far, those of another dimension last.

    Arguments:
        found: The signature of a series.
        dimension: The number of its components. A single one may be of a system of any dimension from three on.
    """
    known = pd.read_csv(FILE, index_col="system")
    distance = np.abs(np.cumsum(known.drop(columns="dimension").to_numpy() - found, 1)).sum(1)
    other = known["dimension"].to_numpy() != dimension if dimension > 1 else known["dimension"].to_numpy() < 3
    return known.index[np.lexsort([distance, other])].tolist()
