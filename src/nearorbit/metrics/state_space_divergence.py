r"""State-space divergence :math:`D_\text{stsp}`: does the learned attractor fill the same regions as often?

.. math:: D_\text{stsp} = \sum_k p_k \ln \frac{p_k}{q_k}, \qquad
    p_k = \frac{n_k + \alpha}{\sum_l (n_l + \alpha)}

where :math:`p` is the truth and :math:`q` the learned one (the other order is another number), and :math:`n_k` counts
the samples in bin :math:`k` of a grid of 30 bins per axis over [min - 0.1 sd, max + 0.1 sd] of the truth, with
:math:`\alpha = 10^{-5}`. What lies outside the grid falls in one more bin, so that leaving it costs. The grid has
:math:`30^D` bins, of which only the occupied ones are stored: all others have the same term.

From six dimensions on, histograms are too sparse, and the densities are Gaussian mixtures: a standard normal on each
sample of the orbits, in deviations of the truth, whose divergence is the mean of :math:`\ln p(x) / q(x)` over draws
:math:`x \sim p`. The draws come from a fixed seed; the estimate may fall below zero by its noise.

References:
    | Identifying nonlinear dynamical systems via generative recurrent neural networks (Koppe et al., 2019)
    | Generalized teacher forcing for learning chaotic dynamics (Hess et al., ICML 2023)
"""

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from nearorbit.metrics.base import Metric, catalogued
from nearorbit.seeds import generator

MIXTURE_FROM = 6  # dimensions
CHUNK = 100  # draws at a time: 100 x 20 000 distances are 16 MB


def state_space_divergence(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the divergence in nats, with shape (seed); NaN if an orbit diverged."""
    dims = ["run", "sample", "component"]
    return xr.apply_ufunc(
        _divergence, truth["attractor"], forecast["attractor"], input_core_dims=[dims, dims], vectorize=True
    )


def _divergence(true: np.ndarray, learned: np.ndarray) -> float:
    if not np.isfinite(learned).all():
        return np.nan
    estimate = histogram_divergence if true.shape[-1] < MIXTURE_FROM else mixture_divergence
    return estimate(true.reshape(-1, true.shape[-1]), learned.reshape(-1, true.shape[-1]))


def histogram_divergence(true: np.ndarray, learned: np.ndarray, *, bins: int = 30, alpha: float = 1e-5) -> float:
    """Compute the divergence of two clouds of points from their histograms.

    Arguments:
        true: Points with shape (N, D).
        learned: Points with shape (M, D).
        bins: The number of bins per axis.
        alpha: The count that is added to each bin.

    Returns:
        The divergence in nats.
    """
    margin = 0.1 * true.std(axis=0)
    low, high = true.min(axis=0) - margin, true.max(axis=0) + margin
    labels = np.concatenate([_bins(points, low, high, bins) for points in (true, learned)])
    occupied, where = np.unique(labels, return_inverse=True)
    n = np.bincount(where[: len(true)], minlength=len(occupied))
    m = np.bincount(where[len(true) :], minlength=len(occupied))
    total = float(bins) ** true.shape[1] + 1  # and the one bin outside
    empty = total - len(occupied)
    p, q = (np.append(count, 0) + alpha for count in (n, m))  # the last stands for each of the empty bins
    p, q = p / (len(true) + alpha * total), q / (len(learned) + alpha * total)
    return float(np.append(np.ones(len(occupied)), empty) @ (p * np.log(p / q)))


def _bins(points: np.ndarray, low: np.ndarray, high: np.ndarray, bins: int) -> np.ndarray:
    """Number the bin of each point, -1 outside the grid, with shape (N)."""
    index = np.floor(bins * (points - low) / (high - low))
    inside = ((index >= 0) & (index < bins)).all(axis=1)
    powers = bins ** np.arange(points.shape[1])
    return np.where(inside, np.where(inside[:, None], index, 0).astype(np.int64) @ powers, -1)


def mixture_divergence(true: np.ndarray, learned: np.ndarray, *, draws: int = 1000, width: float = 1.0) -> float:
    """Estimate the divergence of two clouds of points from Gaussian mixtures.

    Arguments:
        true: Points with shape (N, D).
        learned: Points with shape (M, D).
        draws: The number of draws from the true mixture.
        width: The standard deviation of each Gaussian, in deviations of the truth.

    Returns:
        The divergence in nats.
    """
    scale = true.std(axis=0) * width
    true, learned = true / scale, learned / scale
    random = generator("state_space_divergence")
    x = random.choice(true, draws) + random.standard_normal((draws, true.shape[1]))
    return float(np.mean(_log_density(x, true) - _log_density(x, learned)))


def _log_density(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Compute the log density of a mixture of unit Gaussians, up to the constant that they share, with shape (N)."""
    halves = (centers**2).sum(axis=1) / 2
    chunks = (x[i : i + CHUNK] for i in range(0, len(x), CHUNK))
    sums = [logsumexp(c @ centers.T - halves, axis=1) - (c**2).sum(axis=1) / 2 for c in chunks]
    return np.concatenate(sums) - np.log(len(centers))


def entries() -> dict[str, Metric]:
    """Export the metric."""
    return catalogued(Metric("state_space_divergence", "state-space divergence", "nats", state_space_divergence))
