r"""Surrogates of a series: what it would look like if it were linear.

Random phases :math:`\varphi_\omega`, the same for all components, leave the spectra of a series and the cross-spectra
between its components as they are, and destroy whatever else there is in it. A surrogate is a realization of a
stationary linear Gaussian process with these spectra, seen through a monotonic function of each component: after the
phases have been drawn its values are replaced, by rank, by those of the series, and its Fourier amplitudes by those of
the series, in turns until both hold as nearly as they can. Phases may follow the values, but only all components alike,

.. math:: \psi_{\omega k} \to \phi_{\omega k} + \alpha_\omega, \qquad
    \alpha_\omega = \arg \sum_k e^{i (\psi_{\omega k} - \phi_{\omega k})}

with the phases :math:`\phi` of the series and :math:`\psi` of the surrogate. The last step is that of the values: their
distribution is exactly that of the series. A delay embedding stays one, but for its two ends.

References:
    | Testing for nonlinearity in time series: the method of surrogate data (Theiler et al., Physica D 1992)
    | Generating surrogate data for time series with several simultaneously measured variables (Prichard and Theiler,
      Phys. Rev. Lett. 1994)
    | Surrogate time series (Schreiber and Schmitz, Physica D 2000)
"""

import numpy as np

ROUNDS = 50  # of the two replacements, at most
TOGETHER = 2**20  # numbers that are replaced at once, for want of memory


def surrogates(series: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Make surrogates of a series.

    The Fourier transform takes its end to be followed by its beginning: cut it where the two are alike
    (:func:`joined`), or their difference is in the spectrum of every surrogate.

    Arguments:
        series: Samples at equal intervals, with shape (T, D).
        count: The number of surrogates S.
        rng: What their phases are drawn from.

    Returns:
        The surrogates, with shape (S, T, D).
    """
    samples = len(series)
    values, spectrum = np.sort(series, 0), np.fft.rfft(series, axis=0)
    turns = rng.uniform(0, 2 * np.pi, (count, len(spectrum), 1))
    turns[:, 0] = 0  # the mean has no phase
    rows = max(1, TOGETHER // series.size)
    return np.concatenate([_iterated(values, spectrum, turns[i : i + rows], samples) for i in range(0, count, rows)])


def _iterated(values: np.ndarray, spectrum: np.ndarray, turns: np.ndarray, samples: int) -> np.ndarray:
    """Turn a spectrum (F, D) by some angles (S, F, 1), and restore its values (T, D), sorted, and itself in turns."""
    before = None
    for _ in range(ROUNDS):
        order = np.argsort(np.fft.irfft(spectrum * np.exp(1j * turns), samples, axis=1), 1, kind="stable")
        if before is not None and (order == before).all():
            break
        before, made = order, np.empty(order.shape)
        np.put_along_axis(made, order, np.broadcast_to(values, made.shape), 1)
        product = np.fft.rfft(made, axis=1) * spectrum.conj()
        size = np.abs(product)
        turns = np.angle((product / np.where(size > 0, size, 1)).sum(-1, keepdims=True))
    return made


def joined(series: np.ndarray, *, shortest: float = 0.9) -> slice:
    """Find the piece of a series whose end leads over to its beginning best, in values and in slopes.

    Arguments:
        series: Samples at equal intervals, with shape (T, D).
        shortest: The least share of the series that is kept.

    Returns:
        The piece.
    """
    scale = np.where(series.std(0) > 0, series.std(0), 1.0)
    states = np.concatenate([series[:-1], np.diff(series, axis=0)], 1) / np.tile(scale, 2)
    least = int(np.ceil(shortest * len(series)))
    spare = len(states) - 1 - least
    if spare < 0:
        return slice(None)
    apart = np.square(states[: spare + 1, None] - states[least:]).sum(-1)  # first states, and those after the last
    apart[np.tril_indices(spare + 1, -1)] = np.inf
    begin, more = np.unravel_index(apart.argmin(), apart.shape)
    return slice(int(begin), least + int(more))
