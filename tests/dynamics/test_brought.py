"""A field that somebody brings is the field that it says it is, or refused in a line."""

import sys

import brought
import numpy as np
import pytest
import torch
from lorenz63 import Lorenz, jacobian, orbit

from nearorbit.dynamics import fields
from nearorbit.dynamics.brought import load
from nearorbit.study.catalogue import StudyError

STATES = orbit(np.array([1.0, 2.0, 25.0]), 400, substeps=2)[300:]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    brought.python(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("mine", None)  # every test has a module of its own


def refusal(name: str) -> str:
    with pytest.raises(StudyError) as caught:
        load(name, STATES)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return str(caught.value)


@pytest.mark.parametrize("name", ["lorenz", "in_place", "Namespace.module"])
@pytest.mark.parametrize("place", ["mine", "mine.py", "./mine.py"])
def test_an_object_of_python_is_a_field_with_derivatives(folder, place, name):
    assert_is_lorenz(load(f"{place}:{name}", STATES))


def test_a_torchscript_file_is_a_field_with_derivatives(folder):
    assert_is_lorenz(load(str(brought.torchscript(folder)), STATES))


@pytest.mark.parametrize("single", [False, True])
def test_an_onnx_file_is_a_field_without(folder, single):
    assert_is_lorenz(
        load(str(brought.onnx(folder, single=single)), STATES), known=False, rtol=1e-5 if single else 1e-12
    )


def test_a_function_of_arrays_is_a_field_without(folder):
    assert_is_lorenz(load("mine:of_arrays", STATES), known=False)


def assert_is_lorenz(field, *, known=True, rtol=1e-12):
    x = np.stack([STATES[:40], STATES[40:80]]).reshape(2, 4, 10, 3)
    with torch.inference_mode():  # as what judges
        f, J = field(torch.tensor(x)), fields.jacobian(field, torch.tensor(x))
    np.testing.assert_allclose(f, Lorenz()(x), rtol=rtol, atol=100 * rtol)
    if known:
        np.testing.assert_allclose(J, jacobian(x), rtol=rtol, atol=100 * rtol)
    else:
        assert J.isnan().all() and J.shape == (*x.shape, 3)


def test_a_field_may_differentiate_on_its_own_account(folder):
    field = load("mine:of_an_energy", STATES)
    with torch.inference_mode():
        x = torch.tensor(STATES)
        np.testing.assert_allclose(field(x), -(x**3))
        np.testing.assert_allclose(fields.jacobian(field, x), torch.diag_embed(-3 * x**2), atol=1e-12)


def test_a_file_may_import_what_lies_beside_it(folder, monkeypatch):
    (folder / "other").mkdir()
    (folder / "other/beside_it.py").write_text("def f(x):\n    return -x\n")
    (folder / "other/one.py").write_text("from beside_it import f\n")
    x = torch.tensor(STATES)
    assert torch.equal(load("other/one.py:f", STATES)(x), -x)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py", "--field mine.py: expected module:name, folder/file.py:name, a TorchScript file"),
        ("nowhere.py:f", "nowhere.py: no such file; --field takes module:name"),
        ("nowhere.pt", "nowhere.pt: no such file"),
        ("nowhere.onnx", "nowhere.onnx: no such file"),
        ("nowhere:f", "no module 'nowhere', neither installed nor in /"),
        ("nowhere.inside:f", "no module 'nowhere.inside'"),
        ("mine:lorentz", "mine: it has no 'lorentz'; did you mean 'lorenz'?"),
        ("mine:Module", "mine:Module: it is a class, expected what is called with states"),
        ("mine:Namespace.number", "it is of type int, expected what is called"),
        ("mine:cut", "of states, shape (100, 3), it made shape (100, 2), expected a row for each state"),
        ("mine:single", "it made torch.float32, expected torch.float64; convert it in the end"),
        ("mine:logarithm", "mine:logarithm: component 0 is nan at the true state ["),
        ("mine:failing", "it raised KeyError: 'no weights' (mine.py, line 58)"),
        ("mine:by_chance", "depends on the others given with it, or on chance"),
        ("mine:normalized", "depends on the others given with it, or on chance"),
        ("mine:partly_detached", "derivatives by torch are off the differences of its values"),
        ("mine:of_a_list", "it made a list, expected a torch tensor or a NumPy array"),
        ("mine:of_time_and_state", "it raised TypeError: of_time_and_state() missing 1 required positional argument"),
    ],
)
def test_what_is_no_field_is_refused_in_a_line(folder, name, message):
    assert message in refusal(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(x): return (", "broken.py: its import raised SyntaxError: '(' was never closed"),
        ("\nimport no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing' (broken.py, line 2)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (broken.py, line 2)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_with_its_own_error(folder, text, message):
    (folder / "broken.py").write_text(text)
    assert message in refusal("broken.py:f")


def test_a_field_that_fails_later_says_so(folder):
    field = load("mine:failing_far_away", STATES)
    with pytest.raises(StudyError, match=r"it raised ValueError: out of my range \(mine.py, line 63\)"):
        field(torch.full((1, 5, 3), 1e6, dtype=torch.float64))


def test_a_torchscript_file_that_is_none_is_refused(folder):
    torch.save({"weight": torch.ones(3)}, folder / "weights.pt")
    (folder / "text.pt").write_text("weights")
    for name in ("weights.pt", "text.pt"):
        assert f"{name}: not a TorchScript file (" in refusal(name)
    assert "a model of Python is named by file.py:name" in refusal("weights.pt")


def test_what_a_torchscript_file_raises_is_told_without_its_trace(folder):
    class Narrow(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.ones(4, 3, dtype=torch.float64)

    assert "it raised RuntimeError: mat1 and mat2 shapes" in refusal(str(brought.torchscript(folder, Narrow())))


def test_an_onnx_file_that_is_no_field_is_refused(folder):
    (folder / "text.onnx").write_text("weights")
    assert "text.onnx: not an ONNX file that onnxruntime can run (InvalidProtobuf" in refusal("text.onnx")
    fixed = refusal(str(brought.onnx(folder, rows=8)))
    assert "'x' has shape [8, 3], expected (any, components); export it with a dynamic first axis" in fixed
    assert "expected a float or double input" in refusal(str(brought.onnx(folder, outputs=2)))


def test_an_onnx_file_without_onnxruntime_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (folder / "lorenz.onnx").write_bytes(b"")
    assert "lorenz.onnx: an ONNX file needs onnxruntime: pip install 'nearorbit[onnx]'" in refusal("lorenz.onnx")
