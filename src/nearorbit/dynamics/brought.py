r"""Fields that somebody brings: models that were made elsewhere, judged like those that were trained here.

What is brought is a function f of states in system units, with shape (N, D), a state in each row; it gives their time
derivatives per unit of system time, with the same shape. One of these names it:

- ``module:name`` or ``folder/file.py:name``: an object of Python that is called with states, be it a function or a
  ``torch.nn.Module``, and no factory of one. States are a tensor in double precision; what cannot take one, or answers
  with none, is given a NumPy array.
- ``file.pt``: a TorchScript file. ``file.onnx``: an ONNX file, which is evaluated in its own precision.

Modules are put into double precision, and what they do in training alone (dropout) is off.

*Derivatives* are those of torch, by one backward pass through D copies of the states,

.. math:: J_{ij}(x) = \frac{\partial}{\partial x^{(i)}_j} \sum_k f_k(x^{(k)}), \qquad x^{(1)} = \dots = x^{(D)} = x

which every function allows that gradients have ever trained. NumPy and ONNX have none: tangents are NaN, and with them
all that rests on Jacobians and exponents.

A mistake is told before anything is judged: the function is tried at states of the true attractor.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nearorbit.dynamics.fields import Field, Transformed, in_place_of_a_model
from nearorbit.dynamics.foreign import Function, function, told
from nearorbit.study.catalogue import StudyError

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
            return self.called(x.reshape(-1, self.dimension).clone()).detach().view(x.shape)

    def push_forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Push tangents forward."""
        if not self.differentiable:
            return self(x), torch.full_like(v, torch.nan)
        states, D = x.reshape(-1, self.dimension), self.dimension
        with torch.inference_mode(False):
            copies = states.repeat(D, 1).clone().requires_grad_()
            f = self.called(copies).view(D, -1, D)
            (rows,) = torch.autograd.grad(f.diagonal(dim1=0, dim2=2).sum(), copies)
        J = rows.view(D, -1, D).movedim(0, 1).reshape(*x.shape, D)
        return f[0].detach().view(x.shape), v @ J.mT

    def called(self, states: Tensor) -> Tensor:
        """Call the function with states (N, D).

        Raises:
            StudyError: If it raises an exception, or answers in another shape or precision.
        """
        asked = f"{self.name}: of states, shape {tuple(states.shape)},"
        try:
            answer = self.function(states)
        except Exception as error:
            raise StudyError(f"{asked} it raised {told(error)}") from error
        if not isinstance(answer, Tensor):
            raise StudyError(f"{asked} it made a {type(answer).__name__}, expected a torch tensor or a NumPy array")
        if answer.shape != states.shape:
            expected = f"a row for each state, in it a derivative for each of {self.dimension} components"
            raise StudyError(f"{asked} it made shape {tuple(answer.shape)}, expected {expected}")
        if answer.dtype != states.dtype:
            way = "convert it in the end, or bring a module, which is put into double precision"
            raise StudyError(f"{asked} it made {answer.dtype}, expected {states.dtype}; {way}")
        return answer


def load(name: str, states: np.ndarray) -> Transformed[Field]:
    """Find a field that somebody brings, and try it.

    Arguments:
        name: What names it; see above.
        states: States of the true attractor, in system units, with shape (N, D).

    Returns:
        The field, as a model is given to what judges it: one for all seeds.

    Raises:
        StudyError: If there is no such thing, it cannot be loaded, or it is no field of these states: it raises an
            exception, answers in another shape or precision, with what is not finite or depends on other states, or has
            derivatives that are not those of its values.
    """
    x = torch.tensor(states, dtype=torch.float64)
    field = Brought(name, function(name, x), x.shape[-1])
    _check_values(field, x)
    if field.called(x.clone().requires_grad_()).requires_grad:
        field = replace(field, differentiable=True)
        _check_derivatives(field, x)
    return in_place_of_a_model(field)


def _check_values(field: Brought, x: Tensor) -> None:
    """Evaluate a field at states (N, D), at all at once and at the first and the others apart."""
    f = field(x)
    if (wrong := ~torch.isfinite(f)).any():
        row, column = wrong.nonzero()[0].tolist()
        raise StudyError(
            f"{field.name}: component {column} is {f[row, column]} at the true state {x[row].tolist()} ({wrong.sum()} "
            f"such of {f.numel()}), expected finite numbers"
        )
    if not torch.allclose(torch.cat([field(x[:1]), field(x[1:])]), f, rtol=ALIKE, atol=ALIKE * f.std().item()):
        raise StudyError(
            f"{field.name}: what it makes of a state depends on the others given with it, or on chance; expected a "
            "function of each row alone"
        )


def _check_derivatives(field: Brought, x: Tensor) -> None:
    """Compare derivatives at states (N, D) with differences: torch knows none of a part that is detached."""
    v = x.std(0) * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    differences = (field(x + STEP * v) - field(x - STEP * v)) / (2 * STEP)
    try:
        derivatives = field.push_forward(x, v[:, None])[1][:, 0]
    except RuntimeError as error:
        raise StudyError(f"{field.name}: its derivatives raised {told(error)}") from error
    apart = ((derivatives - differences).norm(dim=-1) / differences.norm(dim=-1)).median()
    if not apart <= CLOSE:
        raise StudyError(
            f"{field.name}: its derivatives by torch are off the differences of its values, by {apart:.2g} of them "
            "(median); is a part detached, or has an autograd.grad in it no create_graph=True?"
        )
