import numpy as np
import pytest
import torch
from lorenz63 import Lorenz
from lorenz63 import jacobian as true_jacobian
from safetensors.torch import save_file

from nearorbit.dynamics.activations import ACTIVATIONS
from nearorbit.dynamics.fields import Coordinates, Transformed, TrueField, jacobian
from nearorbit.dynamics.models import load, save
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study.catalogue import StudyError


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_pushing_tangents_through_the_layers_equals_automatic_differentiation(activation, dtype, tolerance):
    field = NeuralField(3, [0, 1], width=16, depth=2, activation=activation).to(dtype)
    x, v = draw(2, 7, 3, dtype=dtype), draw(2, 7, 4, 3, dtype=dtype)
    f, action = field.push_forward(x, v)
    torch.testing.assert_close(f, field(x), rtol=tolerance, atol=tolerance)
    for k in range(4):
        _, expected = torch.func.jvp(field, (x,), (v[..., k, :],))
        torch.testing.assert_close(action[..., k, :], expected, rtol=tolerance, atol=tolerance)


def test_the_jacobian_agrees_with_central_differences():
    field = NeuralField(4, [0], width=16)
    x, h = draw(1, 5, 4), 1e-5
    differences = torch.stack([(field(x + h * e) - field(x - h * e)) / (2 * h) for e in torch.eye(4)], -1)
    torch.testing.assert_close(jacobian(field, x), differences, rtol=1e-6, atol=1e-8)


def test_the_jacobian_of_the_true_field_is_exact():
    x = 10 * draw(5, 3)
    torch.testing.assert_close(jacobian(TrueField(Lorenz()), x), torch.from_numpy(true_jacobian(x.numpy())))


def test_the_initial_weights_of_a_member_depend_on_its_seed_alone():
    together, alone = NeuralField(3, [4, 7]), NeuralField(3, [7])
    for a, b in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(a[1:], b, rtol=0, atol=0)


def test_states_may_have_any_number_of_dimensions():
    field = NeuralField(3, [0, 1], width=8)
    x = draw(2, 4, 5, 3)
    torch.testing.assert_close(field(x)[:, 2, 3], field(x[:, 2, 3]))
    torch.testing.assert_close(jacobian(field, x)[:, 2, 3], jacobian(field, x[:, 2, 3]))


@pytest.mark.parametrize("members", [(), (2,)])
def test_a_field_in_other_coordinates_and_back_is_the_field(members):
    field = TrueField(Lorenz())
    coordinates = Coordinates(draw(*members, 3), 1 + draw(*members, 3).square(), 2 + draw(*members, 1).square())
    x, v = draw(2, 6, 3), draw(2, 6, 4, 3)
    there = Transformed(field, coordinates)
    back = Transformed(there, coordinates.inverse)
    torch.testing.assert_close(back(x), field(x))
    torch.testing.assert_close(back.push_forward(x, v), field.push_forward(x, v))
    torch.testing.assert_close(coordinates.inverse(coordinates(x)), x)
    torch.testing.assert_close(coordinates.undo(coordinates(x)), x)


def test_a_jacobian_transforms_as_a_derivative():
    coordinates = Coordinates(draw(3), 1 + draw(3).square(), torch.tensor([5.0], dtype=torch.float64))
    y = draw(4, 3)
    expected = (
        true_jacobian(coordinates.undo(y).numpy()) * coordinates.scale.numpy() / coordinates.scale.numpy()[:, None]
    )
    J = jacobian(Transformed(TrueField(Lorenz()), coordinates), y)
    np.testing.assert_allclose(J, expected / 5.0, rtol=1e-12)


def test_a_saved_ensemble_is_read_back_as_a_field_in_system_units(tmp_path):
    field = NeuralField(3, [0, 1], width=8, activation="tanh")
    coordinates = Coordinates(draw(2, 3), 1 + draw(2, 3).square(), 2 + draw(2, 1).square())
    save(
        tmp_path / "model.safetensors", field, coordinates, network={"width": 8, "activation": "tanh"}, components="xyz"
    )
    loaded = load(tmp_path / "model.safetensors")
    x = draw(2, 5, 3)
    torch.testing.assert_close(loaded(x), Transformed(field, coordinates.inverse)(x))


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "missing"])
def test_a_damaged_model_is_refused_and_left_in_place(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    save(path, NeuralField(3, [0]), Coordinates(draw(1, 3), draw(1, 3), draw(1, 1)), network={}, components="xyz")
    content = path.read_bytes()
    if damage == "foreign":
        save_file({"weight": torch.zeros(2)}, path)
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    with pytest.raises(StudyError, match=r"model\.safetensors: (not a|no such).*(trains|make) it"):
        load(path)
    assert path.exists() == (damage != "missing")
