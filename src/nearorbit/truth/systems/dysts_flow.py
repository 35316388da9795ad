r"""The ordinary differential equations of ``dysts``, by their names there: :math:`\dot{x} = f(x; p)`.

No equation is rewritten. The methods of a flow are plain Python over ``np``; bound again to another module in the place
of ``np``, the same code gives arrays, tensors with gradients, or symbolic expressions. A state enters it as a
:class:`Vector` of its components, so that a batch of states passes through code that was written for a single one.

The parameters, periods and starts are those of ``dysts``, which were chosen for chaos, and a study can set each of the
parameters, and the ``start``; the period is then estimated anew. A start matters where it chooses among attractors, or
in conservative flows (``HenonHeiles``) the energy. Three kinds of systems are named here but refused: those with
delays, those whose equations contain the time itself, and those with a component that is a phase and grows without
bound, as in ``Duffing``. ``Lorenz`` has beta = 2.667, not 8/3, and ``Lorenz96`` is the one of ``dysts`` with four
components; ``lorenz96`` has any size.

References:
    | Chaos as an interpretable benchmark for forecasting and data-driven modelling (Gilpin, NeurIPS 2021)
"""

import builtins
import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial, reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from nearorbit.truth.systems.base import System

NON_SMOOTH = frozenset({"abs", "sign", "heaviside", "min", "max"})


def entries() -> dict[str, Callable[..., "DystsFlow"]]:
    """The flows of ``dysts``; none where it is not installed. Importing it (1.3 s) waits until one is built."""
    return {name: _factory(name) for name in metadata()}


@cache
def metadata() -> Mapping[str, Mapping[str, Any]]:
    """What ``dysts`` ships about its flows (parameters, periods, starts, ...), by name."""
    package = find_spec("dysts")
    if package is None or package.origin is None:
        return {}
    return json.loads((Path(package.origin).parent / "data" / "chaotic_attractors.json").read_text())


@dataclass(frozen=True)
class DystsFlow(System):
    """A flow of ``dysts``, evaluated by its own code."""

    def __call__(self, x: Any, xp: Any = np) -> Any:
        """Evaluate the vector field; see :meth:`System.__call__`."""
        return self.at_time(x, 0.0, xp)

    def at_time(self, x: Any, time: float, xp: Any = np) -> Any:
        """Evaluate the code at a given time; an autonomous flow gives the same at all times."""
        components = vector(xp.moveaxis(x, -1, 0))
        values = self._code(xp).rhs(components, time)
        zero = 0 * components[0]  # spreads constant components over the batch
        return xp.stack([value + zero for value in values], -1)

    def _code(self, xp: Any) -> SimpleNamespace:
        """Stand in for an instance of the flow's class: its functions over ``xp``, and its parameters."""
        code = SimpleNamespace(**{name: _parameter(value) for name, value in self.parameters.items()})
        overloads = Overloads(xp)
        names = {"np": overloads, "max": overloads.maximum, "__builtins__": builtins}
        for name, function in _functions(self.name).items():
            # numba may have wrapped them; `self` is the first argument of those that are not static
            method = FunctionType(function.__code__, names, name, function.__defaults__)
            is_bound = next(iter(inspect.signature(function).parameters)) == "self"
            setattr(code, name, partial(method, code) if is_bound else method)
        if not hasattr(code, "rhs"):  # dysts passes the parameters in the order of their names
            ordered = [getattr(code, name) for name in sorted(self.parameters)]
            code.rhs = lambda components, time: code._rhs(*components, time, *ordered)
        return code


class Vector(np.ndarray):
    """A vector whose elements are arrays, tensors or symbols; anything else acts on it as one element.

    NumPy would broadcast an array (B,) against the elements; here each element meets the whole array.
    """

    __array_priority__ = 2000  # above torch, whose tensors would otherwise refuse the operation

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **settings):
        arrays = [x.view(np.ndarray) if isinstance(x, Vector) else _element(x) for x in inputs]
        if out:
            settings["out"] = tuple(x.view(np.ndarray) for x in out)
        result = getattr(ufunc, method)(*arrays, **settings)
        return result.view(Vector) if isinstance(result, np.ndarray) and result.dtype == object else result


def vector(elements: Iterable[Any]) -> Vector:
    """Make a :class:`Vector` with shape (D,) of D elements."""
    elements = list(elements)
    result = np.empty(len(elements), dtype=object)
    for i, element in enumerate(elements):
        result[i] = element
    return result.view(Vector)


def _element(x: Any) -> np.ndarray:
    result = np.empty((), dtype=object)
    result[()] = x
    return result


class Overloads:
    """The functions that the code of ``dysts`` takes from ``np``, over an array namespace.

    Arguments:
        xp: The namespace of the elements.
    """

    pi = np.pi
    dot, hstack = staticmethod(np.dot), staticmethod(np.hstack)
    matmul, sum = staticmethod(np.matmul), staticmethod(np.sum)

    def __init__(self, xp: Any):
        self.xp = xp

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        return partial(self.map, name)

    def map(self, name: str, x: Any) -> Any:
        """Apply the function of that name to a number, an element, or each element of a vector."""
        if isinstance(x, Vector):
            return vector(self.map(name, element) for element in x)
        return getattr(np if isinstance(x, int | float) else self.xp, name)(x)

    def heaviside(self, x: Any, at_zero: float) -> Any:
        """Half of the sign and one; the value at zero itself does not matter to an orbit."""
        return (self.sign(x) + 1) / 2

    def min(self, x: Vector, axis: int) -> Vector:
        """The least of the elements along an axis of a matrix of elements."""
        return vector(-reduce(self.maximum, -row) for row in np.moveaxis(x, axis, -1))

    def maximum(self, x: Any, y: Any) -> Any:
        """The greater of two elements, :math:`(x + y + |x - y|) / 2`."""
        return (x + y + self.abs(x - y)) / 2

    @staticmethod
    def arange(start: int, stop: int) -> Vector:
        """The integers from ``start`` to ``stop``, without the last."""
        return vector(range(start, stop))

    @staticmethod
    def zeros_like(x: Vector) -> Vector:
        """A vector to be filled."""
        return vector([0.0] * len(x))


@cache
def _functions(name: str) -> Mapping[str, FunctionType]:
    """The functions of a flow's class, its own and inherited ones, but not those of the base classes of ``dysts``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Numba not installed")
        flows = import_module("dysts.flows")
    ancestors = [c for c in getattr(flows, name).__mro__ if c.__module__ == flows.__name__]
    members = {key: getattr(c, key) for c in reversed(ancestors) for key in vars(c)}
    plain = {key: getattr(member, "py_func", member) for key, member in members.items()}  # without numba's wrapper
    return {
        key: function
        for key, function in plain.items()
        if isinstance(function, FunctionType) and key != "_postprocessing" and not key.startswith("_jac")
    }


def _parameter(value: Any) -> Any:
    """A number as it is; an array as a vector (or matrix) of Python numbers, which every namespace multiplies."""
    return np.array(value, dtype=object).view(Vector) if np.ndim(value) else value


def _factory(name: str) -> Callable[..., DystsFlow]:
    """A function that builds the flow, with its parameters as keywords; their defaults are those of ``dysts``."""
    data = metadata()[name]

    def factory(**settings: Any) -> DystsFlow:
        return _build(name, data, {key: _checked(key, value, data) for key, value in settings.items()})

    keyword = inspect.Parameter.KEYWORD_ONLY
    defaults = data["parameters"] | {"start": data["initial_conditions"]}
    parameters = [inspect.Parameter(key, keyword, default=value) for key, value in defaults.items()]
    signature = inspect.Signature(parameters, return_annotation=DystsFlow)
    factory.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, and typeshed does not know
    factory.__doc__ = f"{data['description']} {data['citation']}"
    return factory


def _build(name: str, data: Mapping[str, Any], settings: Mapping[str, Any]) -> DystsFlow:
    if data["delay"]:
        raise ValueError("its equations have a delay, so its states are functions; take a system without")
    components = _components(name, data["embedding_dimension"])
    if phases := [components[i] for i in data["unbounded_indices"] or ()]:
        raise ValueError(
            f"its component {' and '.join(phases)} is a phase that grows without bound, so that noise, standardization "
            f"and neighbors relative to its spread would mean nothing; take a system without"
        )
    default = data["parameters"] | {"start": data["initial_conditions"]}
    parameters = default | settings
    start = parameters.pop("start")
    flow = DystsFlow(
        name=name,
        components=components,
        parameters=parameters,
        start=np.array(start, dtype=float),
        period=data["period"] if all(np.array_equal(default[k], v) for k, v in settings.items()) else None,
        smooth=not any(NON_SMOOTH & set(function.__code__.co_names) for function in _functions(name).values()),
    )
    if not np.array_equal(flow.at_time(flow.start, 0.0), flow.at_time(flow.start, 0.7)):
        raise ValueError("its equations change with time; take a system whose equations do not")
    return flow


def _components(name: str, dimension: int) -> tuple[str, ...]:
    """The names that the code gives to the components, x1, x2, ... where it gives none."""
    code = _functions(name).get("_rhs")
    names = inspect.getfullargspec(code).args[:dimension] if code else []
    return tuple(names) or tuple(f"x{i + 1}" for i in range(dimension))


def _checked(key: str, value: Any, data: Mapping[str, Any]) -> Any:
    """The value of a parameter or start, of the shape that ``dysts`` gives it."""
    shape = np.shape(data["initial_conditions"] if key == "start" else data["parameters"][key])
    try:
        fits = np.shape(value) == shape and bool(np.all(np.isfinite(np.asarray(value, dtype=float))))
    except (TypeError, ValueError):
        fits = False
    if not fits or isinstance(value, bool):
        expected = f"finite numbers of shape {shape}" if shape else "a finite number"
        raise ValueError(f"'{key}' has to be {expected}, not {value!r}")
    return value
