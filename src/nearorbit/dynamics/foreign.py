"""Functions of states that were made elsewhere: objects of Python, TorchScript files and ONNX files.

Each becomes a function of a tensor of states in double precision, with shape (N, D). What it answers is not looked at
here.
"""

import importlib
import importlib.util
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearorbit.study.catalogue import StudyError, hint

Function = Callable[[Tensor], Any]
FORMS = "module:name, folder/file.py:name, a TorchScript file (.pt) or an ONNX file (.onnx)"
PRECISIONS = {"tensor(float)": np.float32, "tensor(double)": np.float64}  # of ONNX, as it calls them
NOT_THE_USER = re.compile(
    rf"{re.escape(str(Path(__file__).parent))}|site-packages|\bimportlib\b"
)  # in paths of sources


def function(name: str, states: Tensor) -> Function:
    """Find a function.

    Arguments:
        name: What names it, in one of the :data:`FORMS`.
        states: States, with shape (N, D), which show whether a function of Python takes tensors or arrays.

    Raises:
        StudyError: If there is none, it cannot be loaded, or it takes neither.
    """
    path = Path(name)
    if path.suffix in (".pt", ".pth", ".onnx"):
        if not path.is_file():
            raise StudyError(f"{path}: no such file; --field takes {FORMS}")
        return _onnx(path) if path.suffix == ".onnx" else _torchscript(path)
    return _of_tensors(name, _python(name), states)


def told(error: BaseException) -> str:
    """Tell an exception in a line: its type, what it says, and where in the user's own sources it came from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    after_a_trace = bool(lines) and "TorchScript interpreter" in lines[0]
    said = lines[-1] if after_a_trace else ": ".join([type(error).__name__, *lines[:1]])
    frames = [at for at in traceback.extract_tb(error.__traceback__) if not NOT_THE_USER.search(at.filename)]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return textwrap.shorten(said, 160) + where


def _python(name: str) -> Any:
    """Find an object of Python; its folder, or the current one, is where it may import from."""
    place, _, attributes = name.rpartition(":")
    if not place or not attributes:
        raise StudyError(f"--field {name}: expected {FORMS}")
    path = Path(place)
    in_file = path.suffix == ".py"
    if in_file and not path.is_file():
        raise StudyError(f"{path}: no such file; --field takes {FORMS}")
    folder = str(path.resolve().parent if in_file else Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = _executed(path) if in_file else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{place}.".startswith(f"{error.name}."):
            raise StudyError(f"no module '{place}', neither installed nor in {folder}; --field takes {FORMS}") from None
        raise StudyError(f"{place}: its import raised {told(error)}") from error
    try:
        found = reduce(getattr, attributes.split("."), module)
    except AttributeError:
        raise StudyError(f"{place}: it has no '{attributes}'{hint(attributes, vars(module))}") from None
    if isinstance(found, type) or not callable(found):
        kind = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise StudyError(f"{name}: it is {kind}, expected what is called with states: a function, or a module of torch")
    return _judging(found) if isinstance(found, nn.Module) else found


def _executed(path: Path) -> ModuleType:
    """Run a file of Python as a module of a name of its own."""
    spec = importlib.util.spec_from_file_location(f"brought_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _of_tensors(name: str, given: Callable, states: Tensor) -> Function:
    """Make a function of tensors of one that cannot take tensors, or answers with none."""

    def of_arrays(x: Tensor) -> Any:
        answer = given(x.detach().numpy())
        return torch.from_numpy(answer) if isinstance(answer, np.ndarray) else answer

    raised = []
    for candidate, x in ((given, states.clone().requires_grad_()), (of_arrays, states.clone())):
        try:
            if isinstance(candidate(x), Tensor):
                return candidate
        except Exception as error:
            raised.append(told(error))
    if len(raised) == 2:
        both = "; of a NumPy array, ".join(dict.fromkeys(raised))
        raise StudyError(f"{name}: of a tensor of states, shape {tuple(states.shape)}, it raised {both}")
    return given


def _judging(module: nn.Module) -> nn.Module:
    """Put a module into double precision, and out of training."""
    for parameter in module.double().eval().parameters():
        parameter.requires_grad_(False)
    return module


def _torchscript(path: Path) -> Function:
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            return _judging(torch.jit.load(path, map_location="cpu"))
    except RuntimeError as error:
        way = "torch.jit.script(model).save(path) makes one; a model of Python is named by file.py:name"
        raise StudyError(f"{path}: not a TorchScript file ({told(error)}); {way}") from error


def _onnx(path: Path) -> Function:
    try:
        import onnxruntime
    except ImportError:
        raise StudyError(f"{path}: an ONNX file needs onnxruntime: pip install 'nearorbit[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # as all jobs
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own have no other base
        raise StudyError(f"{path}: not an ONNX file that onnxruntime can run ({told(error)})") from error
    ends = session.get_inputs(), session.get_outputs()
    if [len(end) for end in ends] != [1, 1] or not all(end[0].type in PRECISIONS for end in ends):
        inputs, outputs = (", ".join(f"{at.name}: {at.type}" for at in end) for end in ends)
        raise StudyError(f"{path}: expected a float or double input, and such an output, not {inputs} -> {outputs}")
    taken = ends[0][0]
    if len(taken.shape) != 2 or isinstance(taken.shape[0], int):
        way = "export it with a dynamic first axis, of the states"
        raise StudyError(f"{path}: '{taken.name}' has shape {taken.shape}, expected (any, components); {way}")

    def evaluated(x: Tensor) -> Tensor:
        (answer,) = session.run(None, {taken.name: x.detach().numpy().astype(PRECISIONS[taken.type])})
        return torch.from_numpy(answer).to(x.dtype)

    return evaluated
