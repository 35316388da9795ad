"""The same losses as users of torchdiffeq, diffrax and jax would write them, of one network without an ensemble.

States have the shape (B, D), neighbors (B, K, T, D). A network is a tuple of its weights and its biases.
"""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import torch
from torchdiffeq import odeint

# --- torch


def network(field):
    """The first member of an ensemble, as a plain function."""
    weights, biases = [w[0] for w in field.weights], [b[0, 0] for b in field.biases]

    def f(x):
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.nn.functional.silu(x @ w + b)
        return x @ weights[-1] + biases[-1]

    return f


def error(states, observed):
    """Mean squared error of rollouts (T, B, D) against observed (B, T, D)."""
    return (states[1:].transpose(0, 1) - observed[:, 1:]).square().mean()


def baseline(field, times, observed):
    f = network(field)
    return error(odeint(lambda t, x: f(x), observed[:, 0], times, method="rk4"), observed)


def penalized(states, moved, observed, neighbors, weight):
    """The loss of the neighborhood method from displacements moved along, (T, B, K, D)."""
    displacements = neighbors[:, :, 0] - observed[:, None, 0]
    residuals = neighbors[:, :, 1:] - (states[1:, :, None] + moved[1:]).permute(1, 2, 0, 3)
    penalty = residuals.square().sum(-1).mean() / displacements.square().sum(-1).mean()
    return error(states, observed) + weight * penalty


def neighborhood_per_neighbor(field, times, observed, neighbors, weight):
    f = network(field)

    def rate(t, y):
        x, v = y
        push = torch.func.vmap(lambda u: torch.func.jvp(f, (x,), (u,)), in_dims=1, out_dims=(0, 1))
        fx, action = push(v)
        return fx[0], action

    start = observed[:, 0], neighbors[:, :, 0] - observed[:, None, 0]
    return penalized(*odeint(rate, start, times, method="rk4"), observed, neighbors, weight)


def neighborhood_fundamental(field, times, observed, neighbors, weight):
    f, x = network(field), observed[:, 0]

    def rate(t, y):
        push = torch.func.vmap(lambda u: torch.func.jvp(f, (y[0],), (u,)), in_dims=1, out_dims=(0, 1))
        fx, action = push(y[1])
        return fx[0], action

    columns = torch.eye(x.shape[-1]).expand(len(x), -1, -1)
    states, columns = odeint(rate, (x, columns), times, method="rk4")
    return penalized(states, (neighbors[:, :, 0] - x[:, None]) @ columns, observed, neighbors, weight)


def spline_coefficients(times, values):
    """The natural cubic spline of values (B, T, D), as coefficients of the powers of t on each interval."""
    import scipy.interpolate

    c = scipy.interpolate.CubicSpline(times.numpy(), values.numpy(), axis=1, bc_type="natural").c
    return torch.from_numpy(c).float()  # (4, T - 1, B, D)


def homotopy(field, times, observed, coefficients, strength, **solver):
    f = network(field)

    def rate(t, x):
        i = (torch.searchsorted(times, t, right=True) - 1).clamp(0, len(times) - 2)
        a, b, c, d = coefficients[:, i]
        s = t - times[i]
        return f(x) + strength * (((a * s + b) * s + c) * s + d - x)

    return error(odeint(rate, observed[:, 0], times, **solver), observed)


# --- jax


def jax_parameters(field):
    weights = [jnp.asarray(w[0].detach().numpy()) for w in field.weights]
    return weights, [jnp.asarray(b[0, 0].detach().numpy()) for b in field.biases]


def mlp(parameters, x):
    weights, biases = parameters
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        x = jax.nn.silu(x @ w + b)
    return x @ weights[-1] + biases[-1]


def jax_penalized(states, moved, observed, neighbors, weight):
    """The loss of the neighborhood method from states (B, T, D) and displacements (B, T, K, D)."""
    displacements = neighbors[:, :, 0] - observed[:, None, 0]
    residuals = neighbors[:, :, 1:] - (states[:, 1:, None] + moved[:, 1:]).transpose(0, 2, 1, 3)
    penalty = jnp.square(residuals).sum(-1).mean() / jnp.square(displacements).sum(-1).mean()
    return jnp.square(states[:, 1:] - observed[:, 1:]).mean() + weight * penalty


def jax_solve(rate, start, times, controller, step):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(rate), diffrax.Tsit5(), times[0], times[-1], step, start,
        saveat=diffrax.SaveAt(ts=times), stepsize_controller=controller,
    ).ys  # fmt: skip


@partial(jax.jit, static_argnames="tolerance")
def diffrax_states(parameters, times, start, tolerance):
    """Each orbit with steps of its own, as in diffrax' example of a neural ODE; (B, T, D)."""
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    return jax.vmap(lambda x: jax_solve(lambda t, y, _: mlp(parameters, y), x, times, controller, times[1]))(start)


def diffrax_baseline(parameters, times, observed, tolerance):
    states = diffrax_states(parameters, times, observed[:, 0], tolerance)
    return jnp.square(states[:, 1:] - observed[:, 1:]).mean()


def diffrax_neighborhood(parameters, times, observed, neighbors, weight):
    """Tangents by jvp beside each state, one step between two samples."""

    def rate(t, y, _):
        x, v = y
        fx, action = jax.vmap(lambda u: jax.jvp(partial(mlp, parameters), (x,), (u,)), out_axes=(None, 0))(v)
        return fx, action

    def solve(x, v):
        return jax_solve(rate, (x, v), times, diffrax.ConstantStepSize(), times[1])

    states, moved = jax.vmap(solve)(observed[:, 0], neighbors[:, :, 0] - observed[:, None, 0])
    return jax_penalized(states, moved, observed, neighbors, weight)


def diffrax_neighbors(order, tolerance, parameters, times, observed, neighbors, weight):
    """Neighbors one by one, moved by the flow expanded to an order, with steps as the states and tangents ask for."""
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance / 100)
    f = partial(mlp, parameters)

    def along(x, v):
        return jax.jvp(f, (x,), (v,))[1]

    def rate(t, y, _):
        x, *moved = y
        change = [along(x, u) for u in moved]
        if order == 2:  # w' = J w + H[v, v]
            change[1] += jax.jvp(lambda z: along(z, moved[0]), (x,), (moved[0],))[1]
        return (f(x), *change)

    def solve(x, v):
        states, *moved = jax_solve(rate, (x, v, jnp.zeros_like(v))[: order + 1], times, controller, times[1])
        return states, moved[0] + moved[1] / 2 if order == 2 else moved[0]

    states, moved = jax.vmap(jax.vmap(solve, (None, 0)))(observed[:, 0], neighbors[:, :, 0] - observed[:, None, 0])
    return jax_penalized(states[:, 0], moved.swapaxes(1, 2), observed, neighbors, weight)


def handwritten_neighborhood(parameters, times, observed, neighbors, weight):
    """The classical Runge-Kutta method for states and fundamental matrices, tangents by linearization."""
    x = observed[:, 0]
    columns = jnp.broadcast_to(jnp.eye(x.shape[-1])[:, None], (x.shape[-1], *x.shape))  # (D, B, D)

    def rate(y):
        fx, push = jax.linearize(partial(mlp, parameters), y[0])
        return fx, jax.vmap(push)(y[1])

    def moved(y, h, k):
        return jax.tree.map(lambda a, b: a + h * b, y, k)

    def step(y, h):
        k1 = rate(y)
        k2 = rate(moved(y, h / 2, k1))
        k3 = rate(moved(y, h / 2, k2))
        k4 = rate(moved(y, h, k3))
        y = jax.tree.map(lambda y, a, b, c, d: y + h / 6 * (a + 2 * b + 2 * c + d), y, k1, k2, k3, k4)
        return y, y

    start = x, columns
    rows = [start]
    for h in [times[i + 1] - times[i] for i in range(len(times) - 1)]:  # unrolled, which XLA runs faster than a scan
        rows.append(step(rows[-1], h)[0])
    states, columns = (jnp.stack(column, -2) for column in zip(*rows, strict=True))  # (B, T, D), (D, B, T, D)
    displacements = neighbors[:, :, 0] - x[:, None]
    carried = jnp.einsum("bki,ibtj->btkj", displacements, columns)
    return jax_penalized(states, carried, observed, neighbors, weight)


def jax_gradient(loss, *arguments):
    """A function that computes loss and gradient, compiled, and waits for them."""
    compiled = jax.jit(jax.value_and_grad(loss))
    return lambda: jax.block_until_ready(compiled(*arguments))
