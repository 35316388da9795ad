"""Perceptrons on a CPU, a call for all their layers and steps: kernels in C++, which are compiled where they are used.

In torch a step of a rollout is a hundred operations, each a pass over memory, and small batches wait for Python rather
than for arithmetic. A kernel takes a few states at a time through all layers and all steps, with their tangents, and
its gradients compute again what they need: what that saves is in the README.

The source is ``kernels.cpp``. Where it cannot be compiled (:mod:`nearorbit.dynamics.native`) torch does the work. So it
does on a GPU, in other precisions and for other activations, with several threads, and wherever operations have to be
seen: under ``torch.compile``, transforms of ``torch.func``, tracing, and for gradients of gradients.

It is one module since all calls pass networks, states and gradients alike.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nearorbit.dynamics.fields import Pairs
from nearorbit.dynamics.native import load

ACTIVATIONS = ("silu", "tanh", "gelu")
NAMES = {torch.float32: "float32", torch.float64: "float64"}
Pulls = tuple[Tensor, Sequence[int]]  # values over time, and at which of them, from the begin of a step, stages are
Plain = Callable[..., tuple[Tensor, ...]]  # the same of (x, u, weights, biases, pairs), by operations of torch


@dataclass(frozen=True)
class Perceptrons:
    """An ensemble of perceptrons.

    Arguments:
        activation: The name of the activation.
        weights: Those of each layer, with shape (E, in, out).
        biases: Likewise, with shape (E, 1, out).
        plain: Their evaluation by operations of torch, (x, u, weights, biases, pairs) -> what :func:`push` returns.
    """

    activation: str
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    plain: Plain

    @property
    def parameters(self) -> list[Tensor]:
        """All weights, then all biases."""
        return [*self.weights, *self.biases]


@cache
def library() -> ctypes.CDLL | None:
    """Load the kernels; None where there are none."""
    return load(Path(__file__).with_suffix(".cpp"))


def here(x: Tensor) -> bool:
    """Tell whether compiled sources may work on a tensor, as far as device, precision, threads and tracing go."""
    one_core = x.device.type == "cpu" and x.dtype in NAMES and torch.get_num_threads() == 1
    return one_core and not torch.compiler.is_compiling()


def usable(net: Perceptrons, x: Tensor, *fixed: Tensor | float) -> bool:
    """Tell whether the kernels may evaluate perceptrons at states, with other numbers that have no gradients."""
    return (
        not torch.jit.is_tracing()
        and here(x)
        and x.dtype == net.weights[0].dtype
        and net.activation in ACTIVATIONS
        and x.numel() > 0
        and not any(isinstance(other, Tensor) and other.requires_grad for other in fixed)
        and torch._C._functorch.maybe_current_level() is None  # no transform of torch.func
        and library() is not None
    )


def by_kernels(field: Any) -> bool:
    """Tell whether an ensemble is evaluated by kernels here and now."""
    net: Perceptrons | None = getattr(field, "perceptrons", None)
    return net is not None and usable(net, net.weights[0])


def push(net: Perceptrons, x: Tensor, u: Tensor | None, pairs: Pairs | None = None) -> tuple[Tensor, ...]:
    """Evaluate perceptrons, and push tangents through them if there are any.

    Arguments:
        net: The perceptrons.
        x: States, with shape (E, N, D).
        u: Tangents, with shape (E, N, K, D), or None.
        pairs: The last P of the tangents are second derivatives along these P pairs of the others; None if none is.

    Returns:
        f(x) with shape (E, N, O); and with tangents J(x) u, with shape (E, N, K, O), to which second derivatives have
        H(x)[u_i, u_j] added.
    """
    return _Call.of(_Push(net, pairs), x, u)


def rollout(
    net: Perceptrons,
    x: Tensor,
    u: Tensor | None,
    *,
    weights: Tensor,
    substeps: int,
    pulls: Pulls | None,
    pairs: Pairs | None,
    plain: Plain,
) -> tuple[Tensor, ...]:
    r"""Integrate perceptrons by a Runge-Kutta method, with tangents if there are any.

    Stage i of a step begins at :math:`w_{i0} x + \sum_{j < i} w_{i,j+1} k_j`, and the step ends there for i = S.

    Arguments:
        net: The perceptrons, with as many outputs as components.
        x: States, with shape (E, N, D).
        u: Tangents, with shape (E, N, K, D), or None.
        weights: The weights w of the steps of each interval between two samples, with shape (E, N, T - 1, S + 1, S + 1)
            or one that is expanded to it.
        substeps: How many steps are made in an interval.
        pulls: What is added to the slopes, with shape (E, N, 2 steps + 1, D), and how many of them after the begin of
            the step the stages are; or None.
        pairs: As in :func:`push`.
        plain: The same by operations of torch, (x, u, weights, biases, pairs) -> what this returns.

    Returns:
        The states with shape (E, N, T, D); and with tangents these, with shape (E, N, T, K, D).
    """
    return _Call.of(_Rollout(replace(net, plain=plain), pairs, weights, substeps, pulls), x, u)


class _Network(ctypes.Structure):
    """The structure of that name in the source."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("members", "states", "tangents", "dimension")),
        *((name, ctypes.c_long) for name in ("width", "hidden", "outputs", "pairs")),
        *((name, ctypes.c_void_p) for name in ("first", "second", "weights", "biases", "apart")),
    ]


class _Method(ctypes.Structure):
    """The structure of that name in the source."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("samples", "substeps", "stages")),
        *((name, ctypes.c_void_p) for name in ("weights", "weighed", "pulls", "pulled", "moments")),
    ]


@cache
def _function(kind: str, activation: str, dtype: torch.dtype) -> Any:
    function = getattr(library(), f"{kind}_{activation}_{NAMES[dtype]}")
    function.restype = None
    return function


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _longs(numbers: Sequence[int]) -> Any:
    return (ctypes.c_long * len(numbers))(*numbers)


class _Push:
    """An evaluation, as :class:`_Call` makes it."""

    kinds = "push", "pull"

    def __init__(self, net: Perceptrons, pairs: Pairs | None):
        self.net, self.pairs = net, pairs

    def structures(self, x: Tensor, u: Tensor | None) -> list[Any]:
        """What is to be done, for a kernel; and what that points to."""
        weights, biases = self.net.weights, self.net.biases
        tangents = 0 if u is None else u.shape[2]
        sizes = *x.shape[:2], tangents, x.shape[2], weights[0].shape[2], len(weights) - 1, weights[-1].shape[2]
        pairs = [[], []] if self.pairs is None else [index.tolist() for index in self.pairs]
        apart = _longs([p.stride(0) for p in (*weights, *biases)])
        held = *map(_longs, pairs), _pointers(weights), _pointers(biases), apart
        return [_Network(*sizes, len(pairs[0]), *map(ctypes.addressof, held)), *held]

    def made(self, x: Tensor, u: Tensor | None) -> list[Tensor | None]:
        """Where the results go."""
        outputs = self.net.weights[-1].shape[2]
        return [x.new_empty(*t.shape[:-1], outputs) if t is not None else None for t in (x, u)]

    def given(self, x: Tensor, u: Tensor | None, *kept: Tensor) -> list[Tensor | None]:
        """What gradients are computed from."""
        return [x, u]

    def room(self, x: Tensor, u: Tensor | None, *, gradients: bool) -> list[Tensor | None]:
        """Where a kernel keeps what gradients are computed from, if they are to be."""
        return []


class _Rollout(_Push):
    """A rollout, as :class:`_Call` makes it."""

    kinds = "rollout", "return"

    def __init__(self, net: Perceptrons, pairs: Pairs | None, weights: Tensor, substeps: int, pulls: Pulls | None):
        super().__init__(net, pairs)
        assert weights.stride()[-2:] == (weights.shape[-1], 1)
        assert pulls is None or pulls[0].stride(-1) == 1
        self.weights, self.substeps, self.pulls = weights, substeps, pulls
        self.samples, self.stages = weights.shape[2] + 1, weights.shape[3] - 1

    def structures(self, x: Tensor, u: Tensor | None) -> list[Any]:
        network, *held = super().structures(x, u)
        pulls, moments = self.pulls or (None, [0])
        more = _longs(self.weights.stride()[:3]), _longs([0] if pulls is None else pulls.stride()[:3]), _longs(moments)
        weighed, pulled, moment = map(ctypes.addressof, more)
        method = _Method(
            self.samples, self.substeps, self.stages, _pointer(self.weights), weighed, _pointer(pulls), pulled, moment
        )
        return [network, method, *held, *more]

    def made(self, x: Tensor, u: Tensor | None) -> list[Tensor | None]:
        return [x.new_empty(*t.shape[:2], self.samples, *t.shape[2:]) if t is not None else None for t in (x, u)]

    def given(self, x: Tensor, u: Tensor | None, *kept: Tensor) -> list[Tensor | None]:
        return [*kept]

    def room(self, x: Tensor, u: Tensor | None, *, gradients: bool) -> list[Tensor | None]:
        if not gradients:
            return [None]
        tile = library().tile()  # type: ignore[union-attr]
        rows = -(-x.shape[1] // tile) * tile * (1 + (0 if u is None else u.shape[2]))
        steps = (self.samples - 1) * self.substeps
        return [x.new_empty(x.shape[0] * steps * self.stages * rows * x.shape[2])]


class _Call(torch.autograd.Function):
    """A call of a kernel, with gradients if they are to be had."""

    @classmethod
    def of(cls, call: _Push, x: Tensor, u: Tensor | None) -> tuple[Tensor, ...]:
        """Make a call at states (E, N, D) and tangents (E, N, K, D), if there are any."""
        parameters = call.net.parameters
        wanted = torch.is_grad_enabled() and any(t.requires_grad for t in (x, u, *parameters) if t is not None)
        x, u = x.contiguous(), None if u is None else u.contiguous()
        made = cls.apply(call, x, u, *parameters) if wanted else _run(call, x, u, call.room(x, u, gradients=False))
        return tuple(tensor for tensor in made if tensor is not None)

    @staticmethod
    def forward(ctx: Any, call: _Push, x: Tensor, u: Tensor | None, *parameters: Tensor) -> tuple[Tensor | None, ...]:
        kept = call.room(x, u, gradients=True)
        made = _run(call, x, u, kept)
        ctx.call = call
        ctx.save_for_backward(x, u, *kept, *parameters)
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        call, layers = ctx.call, len(ctx.call.net.weights)
        x, u, *others = ctx.saved_tensors
        kept, parameters = others[: -2 * layers], others[-2 * layers :]
        if torch.is_grad_enabled():  # whose graph is asked for
            plain = partial(call.net.plain, pairs=call.pairs)
            return None, *_by_torch(plain, (x, u, *parameters), gradients, ctx.needs_input_grad[1:])
        df, da = (None if gradient is None else gradient.contiguous() for gradient in gradients)
        dx, du = (None if t is None else torch.empty_like(t) for t in (x, u))
        made = [parameter.new_empty(parameter.shape) for parameter in parameters]
        passed = (
            *map(_pointer, (*call.given(x, u, *kept), df, da, dx, du)),
            *map(_pointers, (made[:layers], made[layers:])),
        )
        _launch(call, 1, x, u, *passed)
        return None, dx, du, *made


def _run(call: _Push, x: Tensor, u: Tensor | None, room: Sequence[Tensor | None]) -> list[Tensor | None]:
    _launch(call, 0, x, u, *map(_pointer, (x, u, *(made := call.made(x, u)), *room)))
    return made


def _launch(call: _Push, kind: int, x: Tensor, u: Tensor | None, *passed: Any) -> None:
    structures = call.structures(x, u)  # what these point to lives as long as they
    told = (ctypes.byref(one) for one in structures if isinstance(one, ctypes.Structure))
    _function(call.kinds[kind], call.net.activation, x.dtype)(*told, *passed)


def _by_torch(plain: Plain, tensors: Sequence[Tensor], gradients: Any, wanted: Sequence[bool]) -> tuple[Any, ...]:
    """Compute the gradients that are wanted so that they have gradients themselves."""
    (x, u, *parameters), layers = tensors, len(tensors) // 2 - 1
    made = plain(x, u, parameters[:layers], parameters[layers:])
    some = [tensor for tensor, needed in zip(tensors, wanted, strict=True) if needed]
    given = [gradient for gradient in gradients if gradient is not None]
    found = iter(torch.autograd.grad(made, some, given, create_graph=True, materialize_grads=True))
    return tuple(next(found) if needed else None for needed in wanted)
