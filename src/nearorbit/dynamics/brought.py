r"""Fields that somebody brings: models that were made elsewhere, judged like those that were trained here.

What is brought is a function f of states in system units, with shape (N, D), a state in each row; it gives their time
derivatives per unit of system time, with the same shape. One of these names it:

- ``module:name`` or ``folder/file.py:name``: an object of Python that is called with states, be it a function or a
  ``torch.nn.Module``. It is no factory: it is called with states and nothing else. States are a tensor in double
  precision; what cannot take one, or answers with no tensor, is given a NumPy array.
- ``file.pt``: a TorchScript file. ``file.onnx``: an ONNX file, in whose precision f is evaluated.

Modules are put into double precision, and what they do in training alone (dropout) is off.

*Derivatives* are those of torch, by one backward pass through D copies of the states,

.. math:: J_{ij}(x) = \frac{\partial}{\partial x^{(i)}_j} \sum_k f_k(x^{(k)}), \qquad x^{(1)} = \dots = x^{(D)} = x

which is all that a function has to allow that was ever trained. Of NumPy and ONNX there are none: tangents are NaN, and
with them all that rests on Jacobians and exponents.

A mistake is told before anything is computed: the function is tried at states of the true attractor.
"""

import importlib
import importlib.util
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearorbit.dynamics.fields import Transformed, in_place_of_a_model
from nearorbit.study.catalogue import StudyError, hint

Function = Callable[[Tensor], Any]
TORCHSCRIPT, ONNX = (".pt", ".pth"), (".onnx",)
FORMS = "module:name, folder/file.py:name, a TorchScript file (.pt) or an ONNX file (.onnx)"
PRECISIONS = {"tensor(float)": np.float32, "tensor(double)": np.float64}  # of ONNX, as it calls them
FOREIGN = re.compile(rf"{re.escape(__file__)}|site-packages|^<frozen|\bimportlib\b")  # files that are not a user's
STEP = 1e-4  # deviations, of the differences that derivatives are compared with
CLOSE = 0.01  # relative: how far the two may be apart
ALIKE = 1e-4  # relative: how far apart the answers for a state may be, beside some others and beside all


@dataclass(frozen=True)
class Brought:
    """A function that somebody brought, as a field; see :class:`nearorbit.dynamics.fields.Field`.

    Arguments:
        name: What it was named by.
        function: The function, (N, D) -> (N, D).
        dimension: The number of components, D.
        differentiable: Whether torch can differentiate it; tangents are NaN if not.
    """

    name: str
    function: Function
    dimension: int
    differentiable: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the field."""
        with torch.inference_mode(False):  # it may differentiate on its own account, as Hamiltonian networks do
            return self._called(x.reshape(-1, self.dimension).clone()).detach().view(x.shape)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward."""
        if not self.differentiable:
            return self(x), torch.full_like(v, torch.nan)
        states, D = x.reshape(-1, self.dimension), self.dimension
        with torch.inference_mode(False):
            copies = states.repeat(D, 1).clone().requires_grad_()
            f = self._called(copies).view(D, -1, D)
            (rows,) = torch.autograd.grad(f.diagonal(dim1=0, dim2=2).sum(), copies)
        J = rows.view(D, -1, D).movedim(0, 1).view(*x.shape, D)
        return f[0].detach().view(x.shape), v @ J.mT

    def _called(self, states: Tensor) -> Tensor:
        """Call the function with states (N, D).

        Raises:
            StudyError: If it raises an exception, or its answer is not of the form of a field's.
        """
        try:
            answer = self.function(states)
        except Exception as error:
            raise StudyError(
                f"{self.name}: at states of shape {tuple(states.shape)} it raised {_told(error)}"
            ) from error
        if not isinstance(answer, Tensor):
            raise StudyError(f"{self.name}: it answered with a {type(answer).__name__}, expected a torch tensor")
        if answer.shape != states.shape:
            raise StudyError(
                f"{self.name}: of states with shape {tuple(states.shape)} it answered with shape {tuple(answer.shape)}, "
                f"expected the same: a row for each state, in it a derivative for each of {self.dimension} components"
            )
        if answer.dtype != states.dtype:
            raise StudyError(f"{self.name}: it answered in {answer.dtype}, expected {states.dtype}, as the states are")
        return answer


def load(name: str, states: np.ndarray) -> Transformed[Brought]:
    """Find a field that somebody brings, and try it.

    Arguments:
        name: What names it; see above.
        states: States of the true attractor, in system units, with shape (N, D).

    Returns:
        The field, as a model is given to what judges it: one for all seeds.

    Raises:
        StudyError: If there is no such thing, it cannot be loaded, or it is no field of these states: it raises an
            exception, answers in another shape or precision, with what is not finite, with what depends on other
            states, or has derivatives that are not those of its values.
    """
    path = Path(name)
    if path.suffix in TORCHSCRIPT:
        function: Function = _torchscript(path)
    elif path.suffix in ONNX:
        function = _onnx(path)
    else:
        function = _python(name)
    x = torch.tensor(states, dtype=torch.float64)
    if path.suffix not in TORCHSCRIPT + ONNX:
        function = _of_tensors(name, function, x)
    field = Brought(name, function, x.shape[-1])
    f = field(x)
    if not torch.isfinite(f).all():
        row, column = (~torch.isfinite(f)).nonzero()[0].tolist()
        raise StudyError(
            f"{name}: component {column} is {f[row, column]} at the true state {x[row].tolist()} "
            f"({(~torch.isfinite(f)).sum()} such of {f.numel()}), expected finite numbers"
        )
    if not torch.allclose(torch.cat([field(x[:1]), field(x[1:])]), f, rtol=ALIKE, atol=ALIKE * f.std().item()):
        raise StudyError(
            f"{name}: what it answers for a state depends on the others, or on chance; expected a function"
        )
    with torch.inference_mode(False):
        if not field._called(x.clone().requires_grad_()).requires_grad:
            return in_place_of_a_model(field)
    field = Brought(name, function, x.shape[-1], differentiable=True)
    _check_derivatives(field, x)
    return in_place_of_a_model(field)


def _check_derivatives(field: Brought, x: Tensor) -> None:
    """Compare derivatives at states (N, D) with differences: of a part that is detached torch knows none."""
    v = x.std(0) * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    differences = (field(x + STEP * v) - field(x - STEP * v)) / (2 * STEP)
    try:
        derivatives = field.push_forward(x, v[:, None])[1][:, 0]
    except RuntimeError as error:
        raise StudyError(f"{field.name}: its derivatives raised {_told(error)}") from error
    apart = (derivatives - differences).norm(dim=-1) / differences.norm(dim=-1)
    if not apart.median() <= CLOSE:
        raise StudyError(
            f"{field.name}: its derivatives are not those of its values, but {apart.median():.2g} of them off (median): "
            "is a part detached, or has an autograd.grad in it no create_graph=True?"
        )


def _python(name: str) -> Any:
    """Find an object of Python; its folder, or the current one, is where it may import from."""
    place, _, attributes = name.rpartition(":")
    if not place or not attributes:
        raise StudyError(f"--field {name}: expected {FORMS}")
    path = Path(place)
    of_file = path.suffix == ".py"
    if of_file and not path.is_file():
        raise StudyError(f"{path}: no such file; --field takes {FORMS}")
    folder = str(path.resolve().parent if of_file else Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = _executed(path) if of_file else importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and f"{place}.".startswith(f"{error.name}."):
            raise StudyError(f"no module '{place}', neither installed nor in {folder}; --field takes {FORMS}") from None
        raise StudyError(f"{place}: its import raised {_told(error)}") from error
    except (Exception, SystemExit) as error:
        raise StudyError(f"{place}: its import raised {_told(error)}") from error
    try:
        found = reduce(getattr, attributes.split("."), module)
    except AttributeError:
        raise StudyError(f"{place}: it has no '{attributes}'{hint(attributes, vars(module))}") from None
    if isinstance(found, type) or not callable(found):
        kind = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise StudyError(f"{name}: it is {kind}, expected what is called with states: a function, or a module of torch")
    return _judging(found) if isinstance(found, nn.Module) else found


def _judging(module: nn.Module) -> nn.Module:
    """Put a module into double precision, and out of training."""
    for parameter in module.double().eval().parameters():
        parameter.requires_grad_(False)
    return module


def _executed(path: Path) -> ModuleType:
    """Run a file of Python as a module of a name of its own."""
    spec = importlib.util.spec_from_file_location(f"brought_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _of_tensors(name: str, function: Callable, x: Tensor) -> Function:
    """Give a function of tensors; of arrays where a function cannot take tensors, or answers with none.

    Raises:
        StudyError: If it can take neither.
    """

    def of_arrays(states: Tensor) -> Any:
        answer = function(states.detach().numpy())
        return torch.from_numpy(answer) if isinstance(answer, np.ndarray) else answer

    raised = []
    for candidate, states in ((function, x.clone().requires_grad_()), (of_arrays, x.clone())):
        try:
            if isinstance(candidate(states), Tensor):
                return candidate
        except Exception as error:
            raised.append(_told(error))
    if len(raised) == 2:
        both = f"{raised[0]}; of a NumPy array, {raised[1]}" if raised[0] != raised[1] else raised[0]
        raise StudyError(f"{name}: of a tensor of states, shape {tuple(x.shape)}, it raised {both}")
    return function


def _torchscript(path: Path) -> Function:
    _check_file(path)
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            return _judging(torch.jit.load(path, map_location="cpu"))
    except RuntimeError as error:
        way = "torch.jit.script(model).save(path) makes one; a model of Python is named by file.py:name"
        raise StudyError(f"{path}: not a TorchScript file ({_told(error)}); {way}") from error


def _onnx(path: Path) -> Function:
    _check_file(path)
    try:
        import onnxruntime
    except ImportError:
        raise StudyError(f"{path}: an ONNX file needs onnxruntime: pip install 'nearorbit[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # as all jobs
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own are made of nothing else
        raise StudyError(f"{path}: not an ONNX file that onnxruntime can run ({_told(error)})") from error
    (first, *others), answers = session.get_inputs(), session.get_outputs()
    if others or first.type not in PRECISIONS or len(answers) != 1 or answers[0].type not in PRECISIONS:
        came = ", ".join(f"{at.name}: {at.type}" for at in (first, *others, *answers))
        raise StudyError(f"{path}: expected one input and one output, both float or double; it has {came}")
    if len(first.shape) != 2 or isinstance(first.shape[0], int):
        way = "export it with a dynamic first axis, of the states"
        raise StudyError(f"{path}: '{first.name}' has shape {first.shape}, expected (any, components); {way}")

    def function(states: Tensor) -> Tensor:
        (answer,) = session.run(None, {first.name: states.detach().numpy().astype(PRECISIONS[first.type])})
        return torch.from_numpy(answer).to(states.dtype)

    return function


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise StudyError(f"{path}: no such file; --field takes {FORMS}")


def _told(error: BaseException) -> str:
    """Tell an exception in a line: its type, what it says, and where in the user's own files it came from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told_last = bool(lines) and "TorchScript interpreter" in lines[0]  # what it says comes after its trace
    said = lines[-1] if told_last else ": ".join([type(error).__name__, *lines[:1]])
    frames = [at for at in traceback.extract_tb(error.__traceback__) if not FOREIGN.search(at.filename)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return textwrap.shorten(said, 160) + where
