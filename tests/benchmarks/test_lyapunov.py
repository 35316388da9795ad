"""Lyapunov spectra to a stated standard error: of the true Lorenz system, compiling included, and of a network."""

import time

import heyoka as hy
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from test_steps import field, lorenz

from nearorbit.dynamics.flow import propagate
from nearorbit.dynamics.lyapunov import spectrum
from nearorbit.study.catalogue import build
from nearorbit.truth.integrators import propagator

SIGMA, RHO, BETA = 10.0, 28.0, 2.667  # as in dysts
TRANSIENT, INTERVAL, STARTS = 20.0, 1.0, 8
PUBLISHED = 0.9057


def heyoka(horizon, longest=None):
    """Eight orbits side by side, until the standard error is reached."""
    rows = np.zeros((STARTS, 10))
    rows[:, :3] = np.random.default_rng(0).normal([1.0, 1.0, 25.0], 1.0, (STARTS, 3))
    return spectrum(
        propagator(build("systems", "Lorenz", {})), rows, interval=INTERVAL, transient=TRANSIENT,
        horizon=horizon, longest=longest, relative=0.0, absolute=0.005, carried=7,
    )  # fmt: skip


def jitcode(duration):
    """The package's own estimate, in intervals as it recommends: local exponents weighted by their durations."""
    from jitcode import jitcode_lyap, y

    f = [SIGMA * (y(1) - y(0)), y(0) * (RHO - y(2)) - y(1), y(0) * y(1) - BETA * y(2)]
    ode = jitcode_lyap(f, n_lyap=3, verbose=False)
    ode.set_integrator("dopri5", rtol=1e-9, atol=1e-9)
    ode.set_initial_value(np.array([1.0, 2.0, 20.0]), 0.0)
    rows = [ode.integrate(t)[1] for t in np.arange(INTERVAL, TRANSIENT + duration, INTERVAL)]
    return np.mean(rows[int(TRANSIENT / INTERVAL) :], 0)


def scipy(duration):
    """States and tangents through DOP853, orthonormalized after each interval."""

    def rate(t, y):
        a, b, c = y[:3]
        jacobian = np.array([[-SIGMA, SIGMA, 0.0], [RHO - c, -1.0, -a], [b, a, -BETA]])
        f = SIGMA * (b - a), a * (RHO - c) - b, a * b - BETA * c
        return np.concatenate([f, (jacobian @ y[3:].reshape(3, 3)).ravel()])

    y, total, count = np.concatenate([[1.0, 2.0, 20.0], np.eye(3).ravel()]), np.zeros(3), 0
    for t in np.arange(0.0, TRANSIENT + duration, INTERVAL):
        y = solve_ivp(rate, (0.0, INTERVAL), y, method="DOP853", rtol=1e-9, atol=1e-9).y[:, -1]
        Q, R = np.linalg.qr(y[3:].reshape(3, 3))
        y[3:] = Q.ravel()
        if t >= TRANSIENT:
            total, count = total + np.log(np.abs(np.diag(R))), count + 1
    return total / count / INTERVAL


@pytest.mark.parametrize("peer", [jitcode, scipy])
def test_spectrum_of_lorenz(compare, peer):
    """The peer follows one orbit, as long as ours are together when their standard error is 0.005."""
    found = heyoka(20.0, longest=1000.0)
    assert found.converged and found.stderr[0] <= 0.005
    duration = STARTS * found.horizon
    assert abs(peer(duration)[0] - found.exponents[0]) < 4 * 0.005 * 2**0.5
    assert abs(found.exponents[0] - PUBLISHED) < 4 * 0.005
    began = time.perf_counter()
    propagator(build("systems", "Lorenz", {}))
    print(f"building ours takes {time.perf_counter() - began:.2f} s")
    name = f"Lyapunov spectrum of Lorenz, {duration:.0f} time units: {peer.__name__}"
    compare(name, lambda: heyoka(20.0, longest=1000.0), lambda: peer(duration), bar=1, rounds=3, warm=0)


def of_a_network(net, lanes=4):
    """States and tangents of a multilayer perceptron by Taylor's method, a batch of orbits at a time."""
    names = [hy.expression(f"x{i}") for i in range(3)]
    activations = [lambda z: z * hy.sigmoid(z)] * 3 + [lambda z: z]
    outputs = hy.model.ffnn(inputs=names, nn_hidden=[64] * 3, n_out=3, activations=activations)
    weights = [w[0].T.detach().numpy().ravel() for w in (*net.weights, *net.biases)]
    variational = hy.var_ode_sys(list(zip(names, outputs, strict=True)), hy.var_args.vars, order=1).sys
    pars = np.tile(np.concatenate(weights)[:, None], (1, lanes))
    integrator = hy.taylor_adaptive_batch(variational, np.zeros((12, lanes)), compact_mode=True, tol=1e-9, pars=pars)

    def advance(x, tangents, duration):
        rows = np.concatenate([x, tangents.reshape(len(x), 9)], 1)
        for first in range(0, len(rows), lanes):
            integrator.set_time(0.0)
            integrator.state[:] = rows[first : first + lanes].T
            integrator.propagate_until(np.full(lanes, duration))
            rows[first : first + lanes] = integrator.state.T
        return rows[:, :3], rows[:, 3:].reshape(tangents.shape)

    return advance


def test_spectrum_of_a_network(compare):
    """A learned field, twelve orbits, until the leading exponent is known to 5 %; both by the same averages."""
    net, (orbit, spacing) = field(width=64), lorenz()
    start = orbit[:: len(orbit) // 12][:12].double().numpy()

    def found(advance):
        return spectrum(
            advance, start, interval=3.0, transient=30.0, horizon=60.0, longest=600.0, relative=0.05, total=0.05,
            spread=1e4,
        )  # fmt: skip

    with torch.no_grad():
        like = torch.zeros(12, 3)
        mine, theirs = propagate(net, like=like, step=3 * spacing), of_a_network(net)
        ours, peer = found(mine), found(theirs)
        print(ours.exponents, ours.stderr, peer.exponents, peer.stderr)
        assert ours.converged and peer.converged
        apart = np.abs(ours.exponents - peer.exponents) / np.hypot(ours.stderr, peer.stderr)
        assert (apart < 4).all(), apart
        compare("Spectrum of a network: heyoka", lambda: found(mine), lambda: found(theirs), bar=1, rounds=3, warm=0)
