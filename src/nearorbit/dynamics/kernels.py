"""Perceptrons on a CPU, a call for all their layers: kernels in C++, which are compiled where they are used.

In torch an evaluation is a dozen operations, each a pass over memory, and small batches wait for Python rather than
for arithmetic. One call through all layers, a few states at a time, costs about a third of that with tangents, and half
without. (``tests/benchmarks/test_kernels.py`` measures it.)

The source, ``kernels.cpp``, is compiled for this processor by the C++ compiler of the machine, in seconds, and kept:
where ``TORCHINDUCTOR_CACHE_DIR`` says, as torch keeps what it compiles (the workflow has it in ``results/compiled``),
or in the user's cache. Where there is no compiler torch does the work. So it does on a GPU, in other precisions and for
other activations, with several threads, and wherever operations have to be seen: under ``torch.compile``, transforms of
``torch.func``, tracing, and for gradients of gradients. ``NEARORBIT_KERNELS=0`` in the environment leaves all to torch.
"""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
ACTIVATIONS = ("silu", "tanh", "gelu")
NAMES = {torch.float32: "float32", torch.float64: "float64"}
Plain = Callable[..., tuple[Tensor, ...]]  # (x, u or None, weights, biases) -> f, or f and J u, by operations of torch


@cache
def library() -> ctypes.CDLL | None:
    """Load the kernels, compiled before if need be; None where that fails, or is not wanted."""
    if os.environ.get("NEARORBIT_KERNELS") == "0":
        return None
    compiler = os.environ.get("CXX", "c++")
    try:
        about = subprocess.run([compiler, *FLAGS, "-E", "-v", "-xc++", os.devnull], capture_output=True, check=True)
        key = hashlib.blake2b(SOURCE.read_bytes() + about.stderr, digest_size=12).hexdigest()
        path = _folder() / f"kernels-{key}.so"
        if not path.exists():
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.CalledProcessError):
        return None


def _folder() -> Path:
    given = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearorbit"
    folder = Path(given) if given else user
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _compile(compiler: str, path: Path) -> None:
    """Compile into a file of another name, and move it into place: another process may be at it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        subprocess.run(
            [compiler, *FLAGS, "-shared", "-fPIC", str(SOURCE), "-o", str(made)], capture_output=True, check=True
        )
        made.replace(path)


def usable(activation: str, x: Tensor) -> bool:
    """Tell whether the kernels may evaluate perceptrons at states."""
    return (
        x.device.type == "cpu"
        and x.dtype in NAMES
        and activation in ACTIVATIONS
        and x.numel() > 0
        and torch.get_num_threads() == 1
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and torch._C._functorch.maybe_current_level() is None  # no transform of torch.func
        and library() is not None
    )


def push(
    activation: str, x: Tensor, u: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor], plain: Plain
) -> tuple[Tensor, ...]:
    """Evaluate perceptrons, and push tangents through them if there are any.

    Arguments:
        activation: The name of the activation.
        x: States, with shape (E, N, D).
        u: Tangents, with shape (E, N, K, D), or None.
        weights: Those of each layer, with shape (E, in, out).
        biases: Likewise, with shape (E, 1, out).
        plain: The same by operations of torch, for gradients of gradients.

    Returns:
        f(x) with shape (E, N, O); and with tangents J(x) u, with shape (E, N, K, O).
    """
    tensors = (x, *([] if u is None else [u]), *weights, *biases)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _Push.apply(activation, plain, len(weights), x, u, *weights, *biases)
    return _forward(activation, x.contiguous(), None if u is None else u.contiguous(), weights, biases, keep=False)[0]


class _Network(ctypes.Structure):
    """The structure of that name in the source."""

    _fields_ = [
        *(
            (name, ctypes.c_long)
            for name in ["members", "states", "tangents", "dimension", "width", "hidden", "outputs"]
        ),
        *((name, ctypes.c_void_p) for name in ("weights", "biases", "apart")),
    ]


@cache
def _function(name: str) -> Any:
    function = getattr(library(), name)
    function.argtypes, function.restype = [ctypes.c_void_p] * (7 if name.startswith("forward") else 11), None
    return function


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _network(x: Tensor, u: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[Any, ...]:
    """Describe perceptrons to a kernel; returns the structure, and what it points to and has to live as long."""
    held = _pointers(weights), _pointers(biases), (ctypes.c_long * (2 * len(weights)))(
        *(tensor.stride(0) for tensor in (*weights, *biases))
    )  # fmt: skip
    (members, states, dimension), tangents = x.shape, 0 if u is None else u.shape[2]
    sizes = members, states, tangents, dimension, weights[0].shape[2], len(weights) - 1, weights[-1].shape[2]
    return _Network(*sizes, *(ctypes.addressof(array) for array in held)), held


def _forward(
    activation: str, x: Tensor, u: Tensor | None, weights: Sequence[Tensor], biases: Sequence[Tensor], *, keep: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Evaluate perceptrons; returns what comes of it, and what gradients need."""
    network, held = _network(x, u, weights, biases)
    (members, states, _), outputs = x.shape, weights[-1].shape[2]
    f = x.new_empty(members, states, outputs)
    a = None if u is None else x.new_empty(members, states, u.shape[2], outputs)
    z = t = None
    if keep:
        lanes = library().vector_bytes() // x.element_size()  # type: ignore[union-attr]
        width = -(-network.width // lanes) * lanes
        z = x.new_empty(network.hidden, members, states, width)
        t = None if u is None else x.new_empty(network.hidden, members, states, u.shape[2], width)
    pointers = (_pointer(tensor) for tensor in (x, u, f, a, z, t))
    _function(f"forward_{activation}_{NAMES[x.dtype]}")(ctypes.byref(network), *pointers)
    del held
    return tuple(v for v in (f, a) if v is not None), tuple(v for v in (z, t) if v is not None)


class _Push(torch.autograd.Function):
    """The evaluation with its gradients."""

    @staticmethod
    def forward(
        ctx: Any, activation: str, plain: Plain, layers: int, x: Tensor, u: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        weights, biases = parameters[:layers], parameters[layers:]
        x, u = x.contiguous(), None if u is None else u.contiguous()
        made, kept = _forward(activation, x, u, weights, biases, keep=True)
        ctx.activation, ctx.plain, ctx.layers = activation, plain, layers
        ctx.save_for_backward(x, u, *kept, *parameters)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (x, u, *others), layers = ctx.saved_tensors, ctx.layers
        z, *others = others
        t, parameters = (None, others) if u is None else (others[0], others[1:])
        weights, biases = parameters[:layers], parameters[layers:]
        if torch.is_grad_enabled():  # whose graph is asked for
            return None, None, None, *_by_torch(ctx.plain, x, u, weights, biases, gradients, ctx.needs_input_grad[3:])
        df, da = (*(gradient.contiguous() for gradient in gradients), None)[:2]
        dx = torch.empty_like(x) if ctx.needs_input_grad[3] else None
        du = torch.empty_like(u) if u is not None and ctx.needs_input_grad[4] else None
        made = [parameter.new_empty(parameter.shape) for parameter in parameters]
        network, held = _network(x, u, weights, biases)
        pointers = (_pointer(tensor) for tensor in (x, u, z, t, df, da, dx, du))
        function = _function(f"backward_{ctx.activation}_{NAMES[x.dtype]}")
        function(ctypes.byref(network), *pointers, _pointers(made[:layers]), _pointers(made[layers:]))
        del held
        return None, None, None, dx, du, *made


def _by_torch(
    plain: Plain, x: Tensor, u: Tensor | None, weights: Any, biases: Any, gradients: Any, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Compute the gradients that are wanted so that they have gradients themselves."""
    inputs = (x, u, *weights, *biases)
    some = [tensor for tensor, needed in zip(inputs, wanted, strict=True) if needed]
    found = iter(torch.autograd.grad(plain(x, u, weights, biases), some, gradients, create_graph=True))
    return tuple(next(found) if needed else None for needed in wanted)
