r"""The most likely orbits, given noisy samples of them and a flow that is nearly right: a smoother.

Samples are observed with noise, and follow one another by a flow up to a *model error*,

.. math:: y_t = x_t + \epsilon_t, \qquad x_{t+1} = \varphi(x_t) + w_t, \qquad
    \epsilon \sim N(0, \mathrm{diag}\, r), \quad w \sim N(0, \mathrm{diag}\, q) .

About given states, :math:`\varphi(x) \approx M_t x + c_t` with the fundamental matrix :math:`M_t` over one sample. All
:math:`x_t` are then jointly Gaussian, and the precision of an orbit is a matrix of :math:`3 D - 1` bands. Its Cholesky
factor gives their mean, which is that of the extended Kalman filter and Rauch-Tung-Striebel smoother; orbits drawn from
the posterior; and the likelihood of the samples, which is that of the filter's innovations. To expand about the result
and solve again is the iterated Kalman smoother, that is the Gauss-Newton method for the cost of weak-constraint 4D-Var,
:math:`\sum |y_t - x_t|^2_r + \sum |x_{t+1} - \varphi(x_t)|^2_q`. All of it is one LAPACK call, ten times as fast here
as the two recursions in time.

Where a map stretches by so much that double precision cannot tell what it leaves, the model is taken to err by as much.

*At uneven times* a flow that is wrong is so for longer where an interval is: q is the variance of the model error over
one sample interval, and of it grows like the square of the time. Where nothing follows without a gap nothing is known
of the next state, and no equation ties it.

*How much noise there is, and how wrong the flow, are found and not given*: both maximize the likelihood. Expectation
maximization over drawn orbits tells components apart; where one of the two is far below the other it would take
hundreds of rounds to find how large it is, which a search does in one.

References:
    | The iterated Kalman smoother as a Gauss-Newton method (Bell, SIAM Journal on Optimization, 1994)
    | Maximum likelihood estimates of linear dynamic systems (Rauch, Tung and Striebel, AIAA Journal, 1965)
    | An approach to time series smoothing and forecasting using the EM algorithm (Shumway and Stoffer, 1982)
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.linalg.lapack import dpbtrf, dpbtrs, dtbtrs

LEAST = 1e-12  # of a variance, relative to that of the data: the states are in double precision
ROUNDED = 100 * np.finfo(float).eps  # of a variance that a map carries on
TOGETHER = 2**20  # numbers that are solved for at once, for want of memory
PIECE = 2**9  # samples of an orbit, at least, that tell levels together
ENOUGH = 3 * 2**14, 3 * 2**12  # numbers that tell components apart, and how large both levels are
WIDTHS = (4.0, 1.0, 0.3)  # of the search, in the logarithm of a ratio of variances
ROUNDS = 12  # of an estimate, at most,
SETTLED = 0.1  # until no logarithm of a variance changes by more


@dataclass(frozen=True)
class Chain:
    """Observed orbits, and how each of their samples maps to the next one.

    Arguments:
        observed: The noisy samples y, with shape (O, T, D).
        maps: The fundamental matrices M over one sample, with shape (O, T - 1, D, D).
        offsets: What the maps leave, c, with shape (O, T - 1, D).
        weights: How much less than over a sample interval the model errs, :math:`1 / h^2`, with shape (O, T - 1); 0
            where the next sample does not follow. One if not given.
        there: Which samples were observed and do not only fill up, with shape (O, T); all if not given. What fills up
            has no weight, follows nothing, and stays.
    """

    observed: np.ndarray
    maps: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray = None  # type: ignore[assignment]
    there: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self):
        if self.weights is None:
            object.__setattr__(self, "weights", np.ones(self.offsets.shape[:2]))
        if self.there is None:
            object.__setattr__(self, "there", np.ones(self.observed.shape[:2], bool))

    def __getitem__(self, orbits: slice | np.ndarray) -> "Chain":
        return Chain(*(part[orbits] for part in (self.observed, self.maps, self.offsets, self.weights, self.there)))

    def cut(self, samples: int) -> "Chain":
        """The same orbits, long ones in pieces of at least so many samples, and less than twice as many."""
        longest = self.observed.shape[1]
        count = max(1, longest // samples)
        length = longest // count  # the few samples that are left over are in none
        parts = self.observed, self.maps, self.offsets, self.weights, self.there
        sizes = (length + part.shape[1] - longest for part in parts)
        windows = (sliding_window_view(*of, 1)[:, ::length][:, :count] for of in zip(parts, sizes, strict=True))
        return Chain(*(np.moveaxis(w, -1, 2).reshape(-1, w.shape[-1], *w.shape[2:-1]) for w in windows))

    @property
    def ties(self) -> int:
        """The number of samples that follow one."""
        return int(np.count_nonzero(self.weights))

    @property
    def count(self) -> int:
        """The number of samples that were observed."""
        return int(self.there.sum())

    def erring(self, error: np.ndarray, stream: np.random.Generator) -> "Chain":
        """The same orbits by a flow that errs: model errors of these variances, with shape (D,), are drawn."""
        drawn = np.sqrt(self.spread(error)) * stream.standard_normal(self.offsets.shape)
        return replace(self, offsets=self.offsets + drawn)

    def spread(self, error: np.ndarray) -> np.ndarray:
        """The variances of model errors from sample to sample, of those of a sample interval; shape (O, T - 1, D)."""
        return error / np.where(self.weights > 0, self.weights, 1.0)[..., None]

    def moved(self, states: np.ndarray) -> np.ndarray:
        """Compute M x of all samples but the last; returns shape (O, T - 1, D)."""
        return (self.maps @ states[:, :-1, :, None])[..., 0]

    def errors(self, states: np.ndarray) -> np.ndarray:
        """Compute the mean squares of x - M x - c along states, of a sample interval, by component; shape (D,)."""
        squares = self.weights[..., None] * (states[:, 1:] - self.moved(states) - self.offsets) ** 2
        return np.maximum(squares.sum((0, 1)) / self.ties, LEAST)

    def noise(self, states: np.ndarray) -> np.ndarray:
        """Compute the mean squares of y - x along states, by components, with shape (D,)."""
        squares = self.there[..., None] * (self.observed - states) ** 2
        return np.maximum(squares.sum((0, 1)) / self.count, LEAST)


@dataclass(frozen=True)
class Levels:
    """Variances, of each component.

    Arguments:
        noise: Those of the noise, r, with shape (D,).
        error: Those of the model error, q, with shape (D,).
    """

    noise: np.ndarray
    error: np.ndarray


def smooth(chain: Chain, levels: Levels) -> np.ndarray:
    """Compute the most likely states of orbits, of which there may be none; returns shape (O, T, D)."""
    orbits, samples, dimension = chain.observed.shape
    count = max(1, TOGETHER // (samples * dimension))
    parts = (chain[begin : begin + count] for begin in range(0, orbits, count))
    return np.concatenate([chain.observed[:0], *(_System(part, levels).mean for part in parts)])


def fit(chain: Chain, levels: Levels, stream: np.random.Generator) -> Levels:
    """Estimate the levels of noise and model error.

    Arguments:
        chain: The orbits; of many samples, some of the orbits tell, and of long orbits pieces.
        levels: What is known so far; it stays where no sample follows one.
        stream: The random numbers of the orbits that are drawn.
    """
    pieces = chain.cut(PIECE)
    if not pieces.ties:
        return levels
    some, few = (_telling(pieces, enough) for enough in ENOUGH)
    for _ in range(ROUNDS):
        known, levels = levels, _maximized(few, _expected(some, levels, stream))
        changes = np.log([levels.noise / known.noise, levels.error / known.error])
        if abs(changes).max() < SETTLED:
            break
    return levels


def _telling(chain: Chain, enough: int) -> Chain:
    """Some of the orbits, of about so many numbers together, the longest first; none of which no sample follows one."""
    ties = np.count_nonzero(chain.weights, axis=1)
    order = np.argsort(-ties, kind="stable")[: np.count_nonzero(ties)]
    return chain[order[:: max(1, int(chain.there[order].sum()) * chain.observed.shape[-1] // enough)]]


def _expected(chain: Chain, levels: Levels, stream: np.random.Generator) -> Levels:
    """The levels that orbits drawn from the posterior have: a step of expectation maximization."""
    drawn = _System(chain, levels).draw(stream)
    return Levels(chain.noise(drawn), chain.errors(drawn))


def _maximized(chain: Chain, levels: Levels) -> Levels:
    """The levels, of the ratios of components given, that are most likely: a search for that of model error to noise.

    Of that ratio, too, the most likely size of both is known: the misfit is then the number of observed steps.
    """
    best = _profile(chain, levels, 0.0)
    for width in WIDTHS:
        below, above = (_profile(chain, best[1], shift) for shift in (-width, width))
        slope, curvature = (above[0] - below[0]) / 2, below[0] - 2 * best[0] + above[0]
        step = float(np.clip(-slope / curvature, -1, 1)) if curvature < 0 else 0.0
        found = below, best, above, _profile(chain, best[1], width * step)
        best = max(found, key=lambda each: each[0])
    return best[1]


def _profile(chain: Chain, levels: Levels, shift: float) -> tuple[float, Levels]:
    """The likelihood where the model error is larger by a factor, a logarithm, and the levels of most likely size."""
    larger = replace(levels, error=levels.error * np.exp(shift))
    system = _System(chain, larger)
    dimension = chain.observed.shape[-1]
    size = system.misfit / (chain.ties * dimension)
    likelihood = -0.5 * (np.log(size) * (chain.ties * dimension) + system.volume) / (chain.count * dimension)
    return likelihood, Levels(np.maximum(larger.noise * size, LEAST), np.maximum(larger.error * size, LEAST))


class _System:
    """The normal equations H x = b of orbits one after the other, factorized.

    Arguments:
        chain: The orbits.
        levels: The levels of noise and model error.
    """

    def __init__(self, chain: Chain, levels: Levels):
        self._chain, self._levels = chain, levels
        shape, error = chain.observed.shape, chain.spread(levels.error)
        # A map that stretches so much cannot be known better in double precision.
        error = np.maximum(error, ROUNDED * levels.noise.max() * (chain.maps**2).sum((-2, -1))[..., None])
        tied = (chain.weights > 0)[..., None]
        weighted = np.where(tied[..., None], chain.maps / error[..., None], 0.0)
        blocks = np.zeros((*shape, shape[-1]))  # on the diagonal of H
        blocks += np.diag(1 / levels.noise)
        blocks[:, :-1] += chain.maps.mT @ weighted
        blocks[:, 1:] += np.where(tied, 1 / error, 0.0)[..., None] * np.eye(shape[-1])
        bands = np.zeros((2 * shape[-1], *shape))  # band n of H, from the diagonal down, column by column
        for column in range(shape[-1]):
            below = shape[-1] - column
            bands[:below, ..., column] = np.moveaxis(blocks[..., column:, column], -1, 0)
            bands[below : below + shape[-1], :, :-1, column] = -np.moveaxis(weighted[..., column], -1, 0)
        self._factor, failed = dpbtrf(bands.reshape(len(bands), -1), lower=1, overwrite_ab=1)
        assert not failed  # it is positive definite
        right = chain.observed / levels.noise
        right[:, 1:] += np.where(tied, chain.offsets / error, 0.0)
        right[:, :-1] -= (weighted.mT @ chain.offsets[..., None])[..., 0]
        self.mean = dpbtrs(self._factor, right.reshape(-1, 1), lower=1, overwrite_b=1)[0].reshape(shape)

    @property
    def misfit(self) -> float:
        """The weighted squares of noise and model error at the mean, summed."""
        chain, levels, mean = self._chain, self._levels, self.mean
        noise, error = (chain.observed - mean) ** 2, (mean[:, 1:] - chain.moved(mean) - chain.offsets) ** 2
        return float((noise / levels.noise).sum() + (chain.weights[..., None] * error / levels.error).sum())

    @property
    def volume(self) -> float:
        """The logarithm of the determinant of the covariance of the observed steps, over sample intervals."""
        (orbits, samples, _), levels = self._chain.observed.shape, self._levels
        # What fills up has the share of its noise in the factor, too.
        volumes = samples * np.log(levels.noise).sum() + self._chain.ties / orbits * np.log(levels.error).sum()
        return float(2 * np.log(self._factor[0]).sum() + orbits * volumes)

    def draw(self, stream: np.random.Generator) -> np.ndarray:
        """Draw orbits from the posterior, with shape (O, T, D)."""
        normal = stream.standard_normal((self.mean.size, 1))
        deviations, _ = dtbtrs(self._factor, normal, uplo="L", trans="T", overwrite_b=1)
        return self.mean + deviations.reshape(self.mean.shape)
