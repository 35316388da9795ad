"""Lorenz' system as somebody might bring it, in each form."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

MINE = '''
import numpy as np
import torch
from torch import nn


def lorenz(x):
    a, b, c = x.unbind(-1)
    return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)


def in_place(x):
    f = torch.empty_like(x)
    f[:, 0] = 10 * (x[:, 1] - x[:, 0])
    f[:, 1] = x[:, 0] * (28 - x[:, 2]) - x[:, 1]
    f[:, 2] = x[:, 0] * x[:, 1] - 8 / 3 * x[:, 2]
    return f


def of_arrays(x):
    a, b, c = np.moveaxis(x, -1, 0)
    return np.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)


class Module(nn.Module):
    """In single precision, with dropout, as after a training."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3, bias=False)
        self.linear.weight.data = torch.tensor([[-10.0, 10, 0], [28, -1, 0], [0, 0, 0]])
        self.last = nn.Parameter(torch.tensor(8.0))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        a, b, c = self.dropout(x).unbind(-1)
        return self.linear(x) + torch.stack([0 * a, -a * c, a * b - self.last / 3 * c], -1)


class Namespace:
    module = Module()
    number = 3


def cut(x):
    return lorenz(x)[..., :2]


def single(x):
    return lorenz(x).float()


def logarithm(x):
    return torch.log(x)


def failing(x):
    raise KeyError("no weights")


def failing_far_away(x):
    if abs(x).max() > 1e4:
        raise ValueError("out of my range")
    return 1e5 * x


def by_chance(x):
    return lorenz(x) + torch.randn_like(x)


def normalized(x):
    return lorenz(x) - lorenz(x).mean(0)


def partly_detached(x):
    a, b, c = x.unbind(-1)
    return torch.stack([10 * (b - a), a * (28 - c.detach()) - b, a * b - 8 / 3 * c], -1)


def of_an_energy(x, **options):
    x = x if x.requires_grad else x.requires_grad_()
    (gradient,) = torch.autograd.grad((x**4).sum() / 4, x, create_graph=True)
    return -gradient


def of_a_list(x):
    return [0.0]


def of_time_and_state(t, x):
    return x
'''


class Scripted(nn.Module):
    """The same, to be compiled."""

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = x.unbind(-1)
        return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)


def python(folder: Path) -> Path:
    (folder / "mine.py").write_text(MINE)
    return folder / "mine.py"


def torchscript(folder: Path, module: nn.Module | None = None) -> Path:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.script(module or Scripted()).save(folder / "lorenz.pt")
    return folder / "lorenz.pt"


def onnx(folder: Path, *, single: bool = False, rows: int | str = "N", outputs: int = 1) -> Path:
    """An ONNX file of x A + x_0 (0, -x_2, x_1), node by node."""
    import onnx
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT if single else TensorProto.DOUBLE
    weights = [-10, 28, 0, 10, -1, 0, 0, 0, -8 / 3]
    constants = [
        helper.make_tensor("A", kind, [3, 3], weights),
        helper.make_tensor("s", kind, [3], [0, -1, 1]),
        helper.make_tensor("first", TensorProto.INT64, [3], [0, 0, 0]),
        helper.make_tensor("second", TensorProto.INT64, [3], [0, 2, 1]),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["linear"]),
        helper.make_node("Gather", ["x", "first"], ["a"], axis=1),
        helper.make_node("Gather", ["x", "second"], ["b"], axis=1),
        helper.make_node("Mul", ["a", "b"], ["ab"]),
        helper.make_node("Mul", ["ab", "s"], ["products"]),
        helper.make_node("Add", ["linear", "products"], ["f"]),
    ]
    x, *made = (helper.make_tensor_value_info(name, kind, [rows, 3]) for name in ["x", "f", "linear"][: outputs + 1])
    graph = helper.make_graph(nodes, "lorenz", [x], made, constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "lorenz.onnx"
    )
    return folder / "lorenz.onnx"
