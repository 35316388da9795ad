r"""State-space divergence :math:`D_\text{stsp}`: does the learned attractor fill the same regions as often?

.. math:: D_\text{stsp} = \int p(x) \ln \frac{p(x)}{q(x)} \, dx

in nats, where :math:`p` is the truth and :math:`q` the learned one (the other order is another number).

Up to three dimensions, densities are histograms, :math:`p_k \propto n_k + \alpha`, where :math:`n_k` counts the samples
in bin :math:`k` of a grid of 30 bins per axis over [min - 0.1 sd, max + 0.1 sd] of the truth, with
:math:`\alpha = 10^{-5}`. What lies outside the grid falls in one more bin, so that leaving it costs. The grid has
:math:`30^D` bins, of which only the occupied ones are stored: all others have the same term.

From four dimensions on, two samples of one attractor hardly share a bin, and densities are mixtures: a Gaussian of
width :math:`w = \sqrt{D / 6}` on each sample of the orbits, in deviations of the truth. Among normal data, a draw's own
center then weighs at most :math:`(1 + w^{-2})^{D/2} < e^3` times as much as an average one; with a width that does not
grow with D, a draw soon sees no center but its own. Since :math:`\int p = \int q`,

.. math:: D_\text{stsp} = \int \left( p \ln \frac{p}{q} - p + q \right) dx
    = 2 \, \Big\langle \sigma(-\rho) + (\rho - 1) \, \sigma(\rho) \Big\rangle_{x \sim (p + q) / 2}, \qquad
    \rho = \ln \frac{p(x)}{q(x)}, \quad \sigma(\rho) = \frac{1}{1 + e^{-\rho}}

whose terms are not negative and vanish where the mixtures agree: a mean over few draws has little noise. Draws are
quasi-random and the same in each run, every time. Their choice moves a floor by about a tenth of itself: less than
another sample does up to D = 10, as much at D = 40.

Another sample of the same attractor is not at zero: the divergence has a *floor*, which sinks with the number of
samples. For ten runs of 2000 samples, 40 a period, with the scatter over 8 or more repetitions (fixed point: at the
mean, where it costs least; all parameters are 3 % off):

============  ==  ================  ================  ===========
system        D   floor             3 % off           fixed point
============  ==  ================  ================  ===========
Lorenz        3   0.19   +- 0.06    0.70   +- 0.08    15
Qi            4   0.0025 +- 0.0015  0.053  +- 0.002   1.5
HyperLorenz   4   0.006  +- 0.004   0.013  +- 0.005   1.5
Lorenz-96     5   0.0013 +- 0.0007  0.0043 +- 0.0008  1.3
Lorenz-96     6   0.0029 +- 0.0012  0.0058 +- 0.0012  1.0
Lorenz-96     10  0.008  +- 0.001   0.011  +- 0.002   0.84
Lorenz-96     40  0.036  +- 0.002   0.037  +- 0.004   0.33
============  ==  ================  ================  ===========

The floor of a histogram is made of stray samples: one in a bin that the forecast never visits costs 11.5 nats / N and
more. On Lorenz one sample in a hundred makes two thirds of it, and a few rare excursions double it. The jackknife over
runs overestimates the scatter rather than not: 1.1 to 1.5 times on Lorenz and on Lorenz-96 with D = 5.

Not to be confused: histograms and mixtures, and mixtures of different width, give numbers of different size. Compare
them within one dimension, width and number of samples, not with those of a paper that has 30 bins in five dimensions or
Gaussians of unit width in forty.

References:
    | Identifying nonlinear dynamical systems via generative recurrent neural networks (Koppe et al., 2019)
    | Generalized teacher forcing for learning chaotic dynamics (Hess et al., ICML 2023)
"""

import numpy as np
import xarray as xr
from scipy.special import expit, ndtri

from nearorbit.evaluation.metrics.base import Metric, catalogued, jackknife
from nearorbit.study.files import LEAST
from nearorbit.study.seeds import generator

MIXTURE_FROM = 4  # dimensions
CENTERS, DRAWS = 5000, 1000  # of a mixture, at most: thinner ones have a higher floor
CHUNK = 100  # draws at a time, whose distances to the centers are 2 MB


def state_space_divergence(truth: xr.Dataset, forecast: xr.Dataset) -> xr.DataArray:
    """Compute the divergence in nats, with shape (seed); NaN if an orbit diverged or a component of the truth rests."""
    dims = ["run", "sample", "component"]
    return xr.apply_ufunc(
        _divergence, truth["attractor"], forecast["attractor"], input_core_dims=[dims, dims], vectorize=True
    )


def _divergence(true: np.ndarray, learned: np.ndarray) -> float:
    """Compute the divergence of two sets of orbits, both with shape (R, T, D)."""
    dimension = true.shape[-1]
    varies = np.ptp(true, axis=(0, 1)) > LEAST * np.abs(true).max((0, 1))
    if not np.isfinite(learned).all() or not varies.all():
        return np.nan
    if dimension < MIXTURE_FROM:
        return histogram_divergence(true.reshape(-1, dimension), learned.reshape(-1, dimension))
    return mixture_divergence(true, learned)


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


def mixture_divergence(true: np.ndarray, learned: np.ndarray) -> float:
    """Estimate the divergence of two sets of orbits from Gaussian mixtures.

    Arguments:
        true: Orbits with shape (R, T, D).
        learned: As many orbits, with the same shape.

    Returns:
        The divergence in nats, zero or more.
    """
    runs, samples, dimension = true.shape
    scale = true.std(axis=(0, 1)) * (dimension / 6) ** 0.5
    thinned = (orbits[:, :: -(-runs * samples // CENTERS)] - true.mean(axis=(0, 1)) for orbits in (true, learned))
    p, q = ((orbits / scale).astype(np.float32) for orbits in thinned)
    drawn = slice(None, None, -(-p[..., 0].size // DRAWS))
    noise = _normals(len(p[0, drawn]), dimension)
    x = np.concatenate([p[:, drawn] + noise, q[:, drawn] + noise]).reshape(-1, dimension)
    p, q = p.reshape(-1, dimension), q.reshape(-1, dimension)
    ratio = (_log_density(x, p) - _log_density(x, q)).astype(float)
    return float(2 * np.mean(expit(-ratio) + (ratio - 1) * expit(ratio)))


def _normals(count: int, dimension: int) -> np.ndarray:
    """Make standard normal numbers that are evenly spread and always the same, with shape (count, D)."""
    from scipy.stats.qmc import Sobol  # here, for every job imports this file and this takes a second

    sobol = Sobol(dimension, rng=generator("state_space_divergence"))
    return ndtri(sobol.random_base2((count - 1).bit_length()))[:count].astype(np.float32)


def _log_density(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Compute the log density of a mixture of unit Gaussians, up to what depends on x alone, with shape (N)."""
    halves = (centers**2).sum(axis=1) / 2
    logs = np.empty(len(x), x.dtype)
    for i in range(0, len(x), CHUNK):
        exponents = x[i : i + CHUNK] @ centers.T
        exponents -= halves
        highest = exponents.max(axis=1)
        exponents -= highest[:, None]
        logs[i : i + CHUNK] = highest + np.log(np.exp(exponents, out=exponents).mean(axis=1))
    return logs


def entries() -> dict[str, Metric]:
    """Export the metric."""
    label, stderr, needs = "state-space divergence", jackknife(state_space_divergence), frozenset({"attractor"})
    return catalogued(
        Metric("state_space_divergence", label, "nats", state_space_divergence, stderr=stderr, needs=needs)
    )
