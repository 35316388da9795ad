"""Every loss is the formula of its docstring: written again here, state by state, with nothing of the package's own.

Rollouts are a loop; Jacobians and second derivatives of the flow are that loop's, by automatic differentiation. What a
method is given (neighbors, splines, what is true) is taken from the batch; other tests hold how that is found.
"""

from functools import cache

import numpy as np
import pytest
import torch
from lorenz63 import observations, supervision
from trainings import files_of

from nearorbit.data.neighbors import neighbors
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study.catalogue import build
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.methods.base import own_parameters
from nearorbit.training.methods.multiple_shooting import STEP

MEMBER, PROGRESS = 1, 0.4  # of an ensemble of two, and of the training
UNEVEN = {"missing": 0.15, "jitter": 0.3}


@cache
def cell(uneven):
    observed = observations(0.03, seeds=2, samples=600, step=0.03, count=2, **(UNEVEN if uneven else {}))
    return observed, files_of(neighbors(observed, count=25, theiler=0.5, ahead=5), supervision(observed))


class Segments:
    """What a formula is written in: the segments of a member, its field f, and rollouts of that."""

    def __init__(self, field, batch):
        self.batch, self.substeps = batch, batch.substeps
        self.x = batch.states[MEMBER]
        self.count, _, self.D = self.x.shape
        self.t = batch.times[MEMBER].expand(self.count, -1)
        self.h = batch.interval[MEMBER].item()
        self.field = field
        self.hat = torch.stack([self.roll(x[0], t) for x, t in zip(self.x, self.t, strict=True)])

    def f(self, x):
        return self.field(x.reshape(1, 1, -1).expand(2, 1, -1))[MEMBER, 0]

    def jacobian(self, x):
        return torch.func.jacrev(self.f)(x)

    def flow(self, x, time, f=None):
        f, h = f or self.f, time / self.substeps
        for _ in range(self.substeps):
            a = f(x)
            b = f(x + h / 2 * a)
            c = f(x + h / 2 * b)
            x = x + h / 6 * (a + 2 * b + 2 * c + f(x + h * c))
        return x

    def roll(self, x, times, f=None):
        rows = [x]
        for time in times.diff():
            rows.append(self.flow(rows[-1], time, f))
        return torch.stack(rows)

    def derivatives(self, x, times):
        """M and T over some times."""
        end = lambda y: self.roll(y, times)[-1]  # noqa: E731
        return torch.func.jacrev(end)(x), torch.func.jacfwd(torch.func.jacrev(end))(x)

    def given(self, name):
        return self.batch[name][MEMBER]

    def each(self, value, first=0):
        """The mean of a value of (segment, sample) over all samples from the first on."""
        return mean(value(i, k) for i in range(self.count) for k in range(first, self.x.shape[1]))

    @property
    def baseline(self):
        return self.each(lambda i, k: square(self.x[i, k] - self.hat[i, k]) / self.D, 1)


def mean(values):
    return torch.stack(list(values)).mean()


def square(x):
    return (x**2).sum()


def mmd(x, y, widths):
    def k(a, b):
        distances = ((a[:, None] - b[None]) ** 2).sum(-1)
        return sum(w**2 / (w**2 + distances) for w in widths).mean()

    return k(x, x) + k(y, y) - 2 * k(x, y)


def autoregressive(method, s):
    step = lambda i, k: s.x[i, k - 1] + (s.t[i, k] - s.t[i, k - 1]) * s.f(s.x[i, k - 1])  # noqa: E731
    return s.each(lambda i, k: square(s.x[i, k] - step(i, k)) / s.D, 1)


def teacher_forcing(method, s):
    total, a = [], method.strength
    for x, times in zip(s.x, s.t, strict=True):
        hat = x[0]
        for k, time in enumerate(times.diff()):
            hat = s.flow((1 - a) * hat + a * x[k], time)
            total.append(square(x[k + 1] - hat) / s.D)
    return mean(total)


def jacobian(method, s):
    true = s.given("jacobians")
    norms = (square(true[i] - s.jacobian(s.x[i, 0])) / s.D for i in range(s.count))
    return s.baseline + method.weight * mean(norm if method.squared else norm.sqrt() for norm in norms)


def random_jacobian(method, s):
    states, true = (part[MEMBER] for part in s.batch["perturbed"])
    return s.baseline + method.weight * mean(square(true[i] - s.jacobian(states[i])) / s.D for i in range(s.count))


def propagator(method, s):
    def mismatch(i, k):
        true = torch.linalg.multi_dot([torch.eye(s.D), *s.given("propagators")[i, :k].flip(0), torch.eye(s.D)])
        return square(true - s.derivatives(s.x[i, 0], s.t[i, : k + 1])[0]) / s.D / s.t[i, k] ** 2

    return s.baseline + method.weight * s.each(mismatch, 1)


def neighborhood(method, s):
    smoothed = method.displacements == "smoothed"
    near, orbit = (s.given("smoothed_neighbors"), s.given("smoothed")) if smoothed else (s.given("neighbors"), s.x)
    begun = near[:, :, 0] - orbit[:, None, 0]
    size = (begun**2).sum(-1).mean()
    center = s.hat if method.about == "rollout" and not smoothed else orbit

    def residual(i, k):
        M, T = s.derivatives(s.x[i, 0], s.t[i, : k + 1])
        return mean(penalty(near[i, j, k] - center[i, k] - moved(M, T, d), square(d)) for j, d in enumerate(begun[i]))

    def moved(M, T, d):
        return M @ d + (torch.einsum("abc,b,c->a", T, d, d) / 2 if method.order == 2 else 0)

    def penalty(r, distance):
        value, bound = square(r), method.threshold * size.sqrt()
        if method.residual == "norm":
            value = value.sqrt()
        if method.residual == "huber" and value.sqrt() > bound:
            value = 2 * bound * value.sqrt() - bound**2
        noise = {"distance": size / distance, "noise": distance / (distance + 2 * square(deviation)), "equal": 1.0}
        weight = noise[method.weighting]
        return value * (weight**0.5 if method.residual == "norm" else weight)

    deviation = s.given("noise") if method.weighting == "noise" else torch.zeros(s.D)
    unit = (begun**2).sum(-1).sqrt().mean() if method.residual == "norm" else size
    return s.baseline + method.weight * s.each(residual, 1) / (unit if method.relative else 1)


def neighborhood_mmd(method, s):
    near = s.given("neighbors")
    samples = near.shape[2] - 1
    ticks = s.batch.ticks if s.batch.ticks.dim() == 1 else s.batch.ticks[MEMBER]
    times = s.h * ticks.expand(s.count, -1)[:, : samples + 1]
    pairs = []
    for i in range(s.count):
        center = s.roll(s.x[i, 0], times[i])
        if method.order is None:
            cloud = torch.stack([s.roll(x[0], times[i]) for x in near[i]])
        else:
            begun, rows = near[i, :, 0] - s.x[i, 0], []
            for k in range(samples + 1):
                M, T = s.derivatives(s.x[i, 0], times[i, : k + 1])
                second = torch.einsum("abc,jb,jc->ja", T, begun, begun) / 2 if method.order == 2 else 0
                rows.append(center[k] + begun @ M.T + second)
            cloud = torch.stack(rows, 1)
        if method.clouds == "displacements":
            pairs.append((cloud - center, near[i] - s.given("followed")[i]))
        else:
            pairs.append((cloud, near[i]))
    later = torch.stack([data[:, 1:] for _, data in pairs])
    unit = ((later - later.mean(1, keepdim=True)) ** 2).sum(-1).mean().sqrt() if method.relative else 1.0
    first = samples / (samples + 1) if method.first else 1.0
    values = (mmd(a[:, k] / unit, b[:, k] / unit, method.widths) for a, b in pairs for k in range(1, samples + 1))
    return s.baseline + method.weight * first * mean(values)


def invariant_measure(method, s):
    times = range(1, s.x.shape[1])
    if method.apart:
        penalty = mean(mmd(s.hat[:, k], s.x[:, k], method.widths) for k in times)
    else:
        penalty = mmd(s.hat[:, 1:].flatten(0, 1), s.x[:, 1:].flatten(0, 1), method.widths)
    starts = mean(mmd(s.hat[:, k], s.x[:, 0], method.widths) for k in times)
    return s.baseline + method.weight * penalty + method.starts * starts


def collocation(method, s):
    states, slopes = s.given("smoothed"), s.given("slopes")
    return s.each(lambda i, k: square(s.f(states[i, k]) - slopes[i, k]) / s.D)


def flow_direction(method, s):
    def mismatch(i, k):
        (x, y, z), (t, u, v) = s.x[i, k - 2 : k + 1], s.t[i, k - 2 : k + 1]
        second = 2 * ((z - y) / (v - u) - (y - x) / (u - t)) / (v - t)
        return square(second - (s.f(z) - s.f(x)) / (v - t)) / s.D

    return s.baseline + method.weight * s.each(mismatch, 2)


def weak_form(method, s):
    def mismatch(x, t, p):
        t, inner, width = t[1:-1], x[1:-1], (t[2:] - t[:-2]) / 2
        end = t_end
        phi, slope = width * (t * (end - t)) ** p, width * (t * (end - t)) ** (p - 1) * (end - 2 * t)
        slope = slope - slope.mean()  # at equal intervals it is zero
        speed = (slope[:, None] * inner).sum(0) / (slope * t).sum()
        return square((phi[:, None] * torch.stack([s.f(y) for y in inner])).sum(0) / phi.sum() - speed) / s.D

    values = []
    for x, t in zip(s.x, s.t, strict=True):
        t_end = t[-1]
        values += [mismatch(x, t, p) for p in method.orders]
    return s.baseline + method.weight * mean(values)


def local_jacobian(method, s):
    def mismatch(i):
        M, _ = s.derivatives(s.x[i, 0], s.t[i, :2])
        return square(s.given("local_maps")[i] - M) / s.t[i, 1] ** 2 / s.D

    return s.baseline + method.weight * mean(mismatch(i) for i in range(s.count))


def lyapunov(method, s):
    windows, ticks = (part[MEMBER] for part in s.batch["windows"])
    half, errors = method.window // 2, []
    for window, times in zip(windows, s.h * ticks.expand(len(windows), -1), strict=True):
        Q, grown = torch.eye(s.D), torch.zeros(s.D)
        for k in range(method.window):
            M = torch.func.jacrev(s.flow)(window[k], times[k + 1] - times[k])
            Q, R = torch.linalg.qr(M @ Q)
            grown = grown + (R.diagonal().abs().log() if k >= half else 0)
        errors.append(grown / (times[-1] - times[half]) - s.given("exponents"))
    pairs = [(a * b).mean() for i, a in enumerate(errors) for j, b in enumerate(errors) if i != j]
    return s.baseline + method.weight * mean(pairs)


def multiple_shooting(method, s, own):
    offset, last = STEP * own[0][0][MEMBER], s.x.shape[1] - 1
    errors, gaps = [], []
    for i, place in enumerate(s.batch.index[MEMBER]):
        start, arrival = s.x[i, 0] + offset[place], s.x[i, -1] + offset[place + last]
        hat = s.roll(start, s.t[i])
        errors.append(square(s.x[i] - hat) / s.D / last)
        if not method.partition or s.given("partition")[i]:
            gaps.append(square(arrival - hat[-1]) / s.D)
    return mean(errors) + method.weight * mean(gaps)


def loop_closure(method, s, own):
    def network(x):
        return own[0](x.reshape(1, 1, -1).expand(2, 1, -1))[MEMBER, 0].reshape(s.D, s.D)

    def integral(a, b, nodes):
        rule = zip(*np.polynomial.legendre.leggauss(nodes), strict=True)
        return sum(w / 2 * network(a + (1 + x) / 2 * (b - a)) for x, w in rule) @ (b - a)

    def path(i):
        a = s.x[i, 0]
        return s.roll(a, s.t[i], lambda x: s.f(a) + integral(a, x, 2))

    def loop(i):
        a, b, c = (s.x[i - n, 0] for n in range(3))
        return integral(a, b, 4) + integral(b, c, 4) + integral(c, a, 4)

    paths, segments = [path(i) for i in range(s.count)], range(s.count)
    penalty = s.each(lambda i, k: square(s.x[i, k] - paths[i][k]) / s.D, 1)
    penalty = penalty + method.closure * mean(square(loop(i)) / s.D for i in segments)
    match = mean(square(s.jacobian(s.x[i, 0]) - network(s.x[i, 0])) / s.D for i in segments)
    return s.baseline + method.weight * (penalty + method.match * match)


SHORT = {"segment": 3}
CASES = [
    ("autoregressive", {}),
    ("teacher_forcing", {"segment": 4}),
    ("jacobian", {}),
    ("jacobian", {"squared": False}),
    ("random_jacobian", {}),
    ("propagator", SHORT),
    ("neighborhood", {"count": 4, **SHORT}),
    ("neighborhood", {"count": 2, **SHORT}),
    ("neighborhood", {"count": 4, "order": 2, **SHORT}),
    ("neighborhood", {"count": 4, "about": "orbit", "residual": "norm", "weighting": "noise", **SHORT}),
    ("neighborhood", {"count": 4, "residual": "huber", "weighting": "distance", "threshold": 0.05, **SHORT}),
    ("neighborhood", {"count": 4, "displacements": "smoothed", "relative": False, **SHORT}),
    ("neighborhood_mmd", {"count": 5, **SHORT}),
    ("neighborhood_mmd", {"count": 5, "order": 2, **SHORT}),
    ("neighborhood_mmd", {"count": 5, "order": 1, "clouds": "displacements", "follow": 2, "first": True, **SHORT}),
    ("neighborhood_mmd", {"count": 5, "relative": False, "follow": 4, **SHORT}),
    ("invariant_measure", {}),
    ("invariant_measure", {"apart": True, "starts": 3.0}),
    ("collocation", {}),
    ("flow_direction", {}),
    ("weak_form", {"segment": 6}),
    ("weak_form", {"segment": 7, "orders": [3]}),
    ("local_jacobian", {"count": 20}),
    ("lyapunov", {"window": 12}),
    ("multiple_shooting", {}),
    ("multiple_shooting", {"partition": True}),
    ("loop_closure", SHORT),
]


@pytest.mark.parametrize("uneven", [False, True], ids=["even", "uneven"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_loss_is_the_formula_of_its_docstring(name, settings, uneven):
    observed, files = cell(uneven)
    method = build("methods", name, settings)
    many = name in ("lyapunov", "invariant_measure", "multiple_shooting")  # whose terms are few, or cheap
    given = Training(batch=16 if many else 4, segment=5, substeps=2)
    data = Data(observed, method, given, files, device=torch.device("cpu"), dtype=torch.float64)
    batch = data.gather(next(data.starts([0, 1], [1]))[0])
    field = NeuralField(3, [0, 1], width=8, depth=2).double()
    own = tuple(m.double() for m in own_parameters(method, [0, 1], observed.sizes["orbit"] * observed.sizes["time"], 3))
    if name == "multiple_shooting":
        torch.nn.init.normal_(own[0][0], std=0.1, generator=torch.Generator().manual_seed(0))
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        expected = globals()[name](method, Segments(field, batch), *([own] if own else []))
    finally:
        torch.set_default_dtype(previous)
    loss = method.loss(field, batch, torch.tensor(PROGRESS, dtype=torch.float64), *own)
    # 1e-15 but for ratios of distances, which something tiny keeps finite
    torch.testing.assert_close(loss[MEMBER], expected, rtol=1e-6, atol=0)
