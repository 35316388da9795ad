"""A trial: rollouts of perceptrons on a GPU, and their gradients, as one kernel each, in Triton.

A program takes a tile of states, with their tangents, through all steps; it keeps the states of the stages, and
computes the activations again for the gradients. Only silu, single precision, three hidden layers and the classical
Runge-Kutta method, without pulls. ``measure.py`` compares it with the captured operations of torch.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nearorbit.dynamics.kernels import Perceptrons


@triton.jit
def _to_all(z, K1: tl.constexpr, B: tl.constexpr, W: tl.constexpr):
    """Sum over the kinds of rows, states and tangents, and give the sum to all of them: (K1 B, W)."""
    if K1 == 1:
        return z
    return tl.reshape(tl.broadcast_to(tl.sum(tl.reshape(z, (K1, B, W)), 0)[None, :, :], (K1, B, W)), (K1 * B, W))


@triton.jit
def _matrix(p, rows, columns, i, j):
    return tl.load(p + i[:, None] * columns + j[None, :], (i[:, None] < rows) & (j[None, :] < columns), 0.0)


@triton.jit
def _hidden(
    a, p, rows, is_state, P: tl.constexpr, WIDTH: tl.constexpr, K1: tl.constexpr, B: tl.constexpr, W: tl.constexpr
):
    """Push rows through a hidden layer; its bias lies after its weights."""
    i = tl.arange(0, W)
    bias = tl.load(p + rows * WIDTH + i, i < WIDTH, 0.0)[None, :]
    z = tl.dot(a, _matrix(p, rows, WIDTH, tl.arange(0, P), i), input_precision="ieee") + tl.where(is_state, bias, 0.0)
    at = _to_all(tl.where(is_state, z, 0.0), K1, B, W)
    s = tl.sigmoid(at)
    h = at * s
    slope = s + h * (1 - s)
    return z, tl.where(is_state, h, slope * z), slope, (1 - s) * (s + slope - h * s)


@triton.jit
def _back(z, slope, curvature, ga, is_state, K1: tl.constexpr, B: tl.constexpr, W: tl.constexpr):
    gz = slope * ga
    if K1 > 1:
        gz += tl.where(is_state, curvature * _to_all(tl.where(is_state, 0.0, z * ga), K1, B, W), 0.0)
    return gz


@triton.jit
def _load(p, q, kind, j, ok, D: tl.constexpr, K: tl.constexpr):
    """Load a tile: states from p, tangents from q."""
    x = tl.load(p[:, None] + j[None, :], ok & (kind == 0)[:, None], 0.0)
    if K > 0:
        x += tl.load(q[:, None] + (kind - 1)[:, None] * D + j[None, :], ok & ((kind > 0) & (kind <= K))[:, None], 0.0)
    return x


@triton.jit
def _store(p, q, x, kind, j, ok, D: tl.constexpr, K: tl.constexpr):
    tl.store(p[:, None] + j[None, :], x, ok & (kind == 0)[:, None])
    if K > 0:
        tl.store(q[:, None] + (kind - 1)[:, None] * D + j[None, :], x, ok & ((kind > 0) & (kind <= K))[:, None])


@triton.jit
def _rows(tile, N, D: tl.constexpr, K1: tl.constexpr, B: tl.constexpr, P: tl.constexpr):
    """Tell of each row of a tile its kind, 0 for a state, and of which state it is; and what there is of them."""
    r = tl.arange(0, K1 * B)
    kind, n = r // B, tile * B + r % B
    return r, kind, n, (kind == 0)[:, None], (n < N)[:, None] & (tl.arange(0, P) < D)[None, :]


@triton.jit
def _layers(w0, D: tl.constexpr, WIDTH: tl.constexpr):
    """Find where the weights of each layer begin, each with its biases after it."""
    w1 = w0 + (D + 1) * WIDTH
    w2 = w1 + (WIDTH + 1) * WIDTH
    return w0, w1, w2, w2 + (WIDTH + 1) * WIDTH


@triton.jit
def _forward(
    x_p, u_p, ox_p, ou_p, kept_p, w_p, length, table_p, N, T, SUB,
    D: tl.constexpr, K: tl.constexpr, K1: tl.constexpr, B: tl.constexpr,
    W: tl.constexpr, WIDTH: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    tile, e = tl.program_id(0), tl.program_id(1)
    R: tl.constexpr = K1 * B
    i, j = tl.arange(0, W), tl.arange(0, P)
    r, kind, n, is_state, ok = _rows(tile, N, D, K1, B, P)
    w0, w1, w2, w3 = _layers(w_p + e * length, D, WIDTH)
    bias = tl.load(w3 + WIDTH * D + j, j < D, 0.0)[None, :]
    ox, ou = ox_p + (e * N + n) * T * D, ou_p + (e * N + n) * T * K * D
    kept = kept_p + ((e * tl.num_programs(0) + tile) * (T - 1) * SUB * 4) * R * P + r[:, None] * P + j[None, :]
    x = _load(x_p + (e * N + n) * D, u_p + (e * N + n) * K * D, kind, j, ok, D, K)
    _store(ox, ou, x, kind, j, ok, D, K)
    for _ in range(T - 1):
        for _ in range(SUB):
            y = x
            k0, k1, k2, end = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x), x
            for stage in range(4):
                tl.store(kept, y)
                kept += R * P
                _z, a, _s, _v = _hidden(y, w0, D, is_state, P, WIDTH, K1, B, W)
                _z, a, _s, _v = _hidden(a, w1, WIDTH, is_state, W, WIDTH, K1, B, W)
                _z, a, _s, _v = _hidden(a, w2, WIDTH, is_state, W, WIDTH, K1, B, W)
                k = tl.dot(a, _matrix(w3, WIDTH, D, i, j), input_precision="ieee") + tl.where(is_state, bias, 0.0)
                end += tl.load(table_p + 16 + stage) * k
                k0, k1, k2 = tl.where(stage == 0, k, k0), tl.where(stage == 1, k, k1), tl.where(stage == 2, k, k2)
                row = table_p + 4 * tl.minimum(stage + 1, 3)
                y = x + tl.load(row) * k0 + tl.load(row + 1) * k1 + tl.load(row + 2) * k2
            x = end
        ox += D
        ou += K * D
        _store(ox, ou, x, kind, j, ok, D, K)


@triton.jit
def _gradients(
    gx_p, gu_p, dx_p, du_p, kept_p, w_p, length, parts_p, table_p, N, T, SUB,
    D: tl.constexpr, K: tl.constexpr, K1: tl.constexpr, B: tl.constexpr,
    W: tl.constexpr, WIDTH: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    tile, e = tl.program_id(0), tl.program_id(1)
    R: tl.constexpr = K1 * B
    i, j = tl.arange(0, W), tl.arange(0, P)
    r, kind, n, is_state, ok = _rows(tile, N, D, K1, B, P)
    w0, w1, w2, w3 = _layers(w_p + e * length, D, WIDTH)
    d0, e0 = tl.zeros((P, W), tl.float32), tl.zeros((W,), tl.float32)
    d1, e1 = tl.zeros((W, W), tl.float32), tl.zeros((W,), tl.float32)
    d2, e2 = tl.zeros((W, W), tl.float32), tl.zeros((W,), tl.float32)
    d3, e3 = tl.zeros((W, P), tl.float32), tl.zeros((P,), tl.float32)
    gx, gu = gx_p + ((e * N + n) * T + T - 1) * D, gu_p + ((e * N + n) * T + T - 1) * K * D
    kept = kept_p + ((e * tl.num_programs(0) + tile + 1) * (T - 1) * SUB * 4) * R * P + r[:, None] * P + j[None, :]
    end = _load(gx, gu, kind, j, ok, D, K)
    for _ in range(T - 1):
        for _ in range(SUB):
            g0, g1 = tl.load(table_p + 16) * end, tl.load(table_p + 17) * end
            g2, g = tl.load(table_p + 18) * end, tl.load(table_p + 19) * end
            for done in range(4):
                kept -= R * P
                y = tl.load(kept)
                z1, a1, s1, v1 = _hidden(y, w0, D, is_state, P, WIDTH, K1, B, W)
                z2, a2, s2, v2 = _hidden(a1, w1, WIDTH, is_state, W, WIDTH, K1, B, W)
                z3, a3, s3, v3 = _hidden(a2, w2, WIDTH, is_state, W, WIDTH, K1, B, W)
                d3 += tl.dot(tl.trans(a3), g, input_precision="ieee")
                e3 += tl.sum(tl.where(is_state, g, 0.0), 0)
                ga = tl.dot(g, tl.trans(_matrix(w3, WIDTH, D, i, j)), input_precision="ieee")
                gz = _back(z3, s3, v3, ga, is_state, K1, B, W)
                d2 += tl.dot(tl.trans(a2), gz, input_precision="ieee")
                e2 += tl.sum(tl.where(is_state, gz, 0.0), 0)
                ga = tl.dot(gz, tl.trans(_matrix(w2, WIDTH, WIDTH, i, i)), input_precision="ieee")
                gz = _back(z2, s2, v2, ga, is_state, K1, B, W)
                d1 += tl.dot(tl.trans(a1), gz, input_precision="ieee")
                e1 += tl.sum(tl.where(is_state, gz, 0.0), 0)
                ga = tl.dot(gz, tl.trans(_matrix(w1, WIDTH, WIDTH, i, i)), input_precision="ieee")
                gz = _back(z1, s1, v1, ga, is_state, K1, B, W)
                d0 += tl.dot(tl.trans(y), gz, input_precision="ieee")
                e0 += tl.sum(tl.where(is_state, gz, 0.0), 0)
                y = tl.dot(gz, tl.trans(_matrix(w0, D, WIDTH, j, i)), input_precision="ieee")
                row = table_p + 4 * (3 - done)
                end += y
                g0 += tl.load(row) * y
                g1 += tl.load(row + 1) * y
                g2 += tl.load(row + 2) * y
                g = tl.where(done == 0, g2, tl.where(done == 1, g1, g0))
        gx -= D
        gu -= K * D
        end += _load(gx, gu, kind, j, ok, D, K)
    _store(dx_p + (e * N + n) * D, du_p + (e * N + n) * K * D, end, kind, j, ok, D, K)
    o = parts_p + (e * tl.num_programs(0) + tile) * length  # laid out as the weights
    inner, outer = i < WIDTH, j < D
    tl.store(o + j[:, None] * WIDTH + i[None, :], d0, outer[:, None] & inner[None, :])
    tl.store(o + D * WIDTH + i, e0, inner)
    o += (D + 1) * WIDTH
    tl.store(o + i[:, None] * WIDTH + i[None, :], d1, inner[:, None] & inner[None, :])
    tl.store(o + WIDTH * WIDTH + i, e1, inner)
    o += (WIDTH + 1) * WIDTH
    tl.store(o + i[:, None] * WIDTH + i[None, :], d2, inner[:, None] & inner[None, :])
    tl.store(o + WIDTH * WIDTH + i, e2, inner)
    o += (WIDTH + 1) * WIDTH
    tl.store(o + i[:, None] * D + j[None, :], d3, inner[:, None] & outer[None, :])
    tl.store(o + WIDTH * D + j, e3, outer)


class _Rollout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, u, h, samples, substeps, states, warps, *parameters):
        (E, N, D), K, width = x.shape, 0 if u is None else u.shape[2], parameters[0].shape[2]
        packed = torch.cat([parameter.flatten(1) for parameter in parameters], 1)
        sizes = {"D": D, "K": K, "K1": _power(K + 1), "B": states, "W": max(16, _power(width)), "WIDTH": width}
        sizes |= {"P": max(16, _power(D)), "num_warps": warps}
        table, grid = _table(h, x.device), (-(-N // states), E)
        made = [x.new_empty(E, N, samples, D), x.new_empty(E, N, samples, K, D)]
        kept = x.new_empty(grid[0] * E * (samples - 1) * substeps * 4 * sizes["K1"] * states * sizes["P"])
        counts = N, samples, substeps
        _forward[grid](x, x if u is None else u, *made, kept, packed, packed.shape[1], table, *counts, **sizes)
        ctx.save_for_backward(kept, packed, table)
        ctx.about = grid, counts, sizes, [parameter.shape for parameter in parameters]
        return made[0], None if u is None else made[1]

    @staticmethod
    def backward(ctx, gx, gu):
        (kept, packed, table), (grid, (N, *others), sizes, shapes) = ctx.saved_tensors, ctx.about
        D, K = sizes["D"], sizes["K"]
        dx, du = gx.new_empty(grid[1], N, D), gx.new_empty(grid[1], N, K, D)
        parts = gx.new_empty(grid[1], grid[0], packed.shape[1])
        given = gx.contiguous(), gx if gu is None else gu.contiguous()
        _gradients[grid](*given, dx, du, kept, packed, packed.shape[1], parts, table, N, *others, **sizes)
        each = parts.sum(1).split([shape[1:].numel() for shape in shapes], 1)
        found = [part.view(shape) for part, shape in zip(each, shapes, strict=True)]
        return dx, du if K else None, *[None] * 5, *found


@cache  # a graph cannot capture a copy from the host
def _table(h: float, device: torch.device) -> Tensor:
    table = torch.zeros(5, 4)
    table[1, 0] = table[2, 1] = h / 2
    table[3, 2] = h
    table[4] = h / 6 * torch.tensor([1.0, 2.0, 2.0, 1.0])
    return table.to(device)


def _power(n: int) -> int:
    return 1 << (n - 1).bit_length()


def rollout(
    net: Perceptrons, x: Tensor, u: Tensor | None, h: float, *, samples: int, substeps: int, states: int, warps: int
) -> tuple[Tensor, Tensor | None]:
    """Integrate perceptrons with three hidden layers, and tangents if there are any, by the classical method.

    Arguments:
        net: The perceptrons.
        x: States, with shape (E, N, D).
        u: Tangents, with shape (E, N, K, D), or None.
        h: The length of a step.
        samples: How many samples there are, T.
        substeps: How many steps there are from one to the next.
        states: How many states a program takes; with their tangents there are at least 16 rows.
        warps: How many warps it has.

    Returns:
        The states with shape (E, N, T, D), and the tangents with shape (E, N, T, K, D).
    """
    parameters = [p for layer in zip(net.weights, net.biases, strict=True) for p in layer]
    assert len(net.weights) == 4 and net.activation == "silu" and x.dtype == torch.float32
    given = x.contiguous(), None if u is None else u.contiguous()
    return _Rollout.apply(*given, h, samples, substeps, states, warps, *parameters)
