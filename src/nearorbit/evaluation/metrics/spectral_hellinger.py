r"""Hellinger distance :math:`D_H` of power spectra: does the learned orbit have the same rhythms?

.. math:: D_H = \frac{1}{D} \sum_{i=1}^D H(F_i, \hat F_i), \qquad
    H(F, G)^2 = 1 - \sum_\omega \sqrt{F_\omega G_\omega} = \tfrac12 \sum_\omega (\sqrt{F_\omega} - \sqrt{G_\omega})^2

where :math:`F_i` is the power spectrum of component :math:`i`, averaged over the orbits, smoothed by a Gaussian of 20
frequency bins and normalized to sum 1. Each orbit's mean is removed, and its deviation cancels in the normalization, as
if it were z-scored: a wrong amplitude goes unseen. 0 is best and 1 worst.

References:
    | On the difficulty of learning chaotic dynamics with RNNs (Mikhaeil, Monfared, Durstewitz, NeurIPS 2022)
"""

import numpy as np
import xarray as xr

from nearorbit.evaluation.metrics.base import Metric, catalogued, jackknife


def spectral_hellinger(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the distance, with shape (seed); NaN if an orbit diverged, 1 where a component is at rest."""
    distance = xr.apply_ufunc(
        lambda true, learned: hellinger(spectrum(true), spectrum(learned)),
        *(table["attractor"] for table in (truth, forecast)),
        input_core_dims=[["run", "sample"]] * 2,
        vectorize=True,
    )
    return distance.mean("component", skipna=False)


def spectrum(orbits: np.ndarray, *, sigma: float = 20.0) -> np.ndarray:
    """Compute the smoothed, normalized power spectrum of a component.

    Arguments:
        orbits: The component along each orbit, with shape (N, T).
        sigma: The width of the Gaussian, in frequency bins.

    Returns:
        The spectrum, with shape (T // 2 + 1); all zeros for orbits at rest.
    """
    from scipy.ndimage import gaussian_filter1d  # here, for every job that reads a study imports this file

    power = np.abs(np.fft.rfft(orbits - orbits.mean(axis=1, keepdims=True))) ** 2
    smooth = gaussian_filter1d(power.mean(axis=0), sigma)
    total = smooth.sum()
    return smooth if total == 0 else smooth / total


def hellinger(F: np.ndarray, G: np.ndarray) -> float:
    """Compute the Hellinger distance of two spectra that sum to 1, or to 0 for orbits at rest."""
    if F.any() != G.any():
        return 1.0  # one at rest, the other not: disjoint
    return float(np.sqrt(((np.sqrt(F) - np.sqrt(G)) ** 2).sum() / 2))


def entries() -> dict[str, Metric]:
    """Export the metric."""
    label, stderr = "Hellinger distance of spectra", jackknife(spectral_hellinger)
    needs = frozenset({"attractor"})
    return catalogued(Metric("spectral_hellinger", label, "1", spectral_hellinger, stderr=stderr, needs=needs))
