"""The contract of all networks, by kind; a new file in networks/ is tested as it lands."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from lorenz63 import Lorenz
from safetensors import safe_open

from nearorbit.dynamics.fields import Coordinates, Differentiated, Transformed, TrueField, identity
from nearorbit.dynamics.flow import rollout
from nearorbit.dynamics.models import load, make, save
from nearorbit.dynamics.networks.polynomial import GAIN
from nearorbit.study import catalogue
from nearorbit.training.optimizer import flatten, gradient

NETWORKS = catalogue.names("networks")
SMALL = {"width": 16, "depth": 2}
SIDES = {name: {"network": name} for name in NETWORKS} | {
    "hamiltonian of named pairs": {"network": "hamiltonian", "pairs": [["px", "x"], ["y", "py"]]},
    "lagrangian of named pairs": {"network": "lagrangian", "pairs": [["x", "y"], ["px", "py"]]},
    "cubic polynomial": {"network": "polynomial", "degree": 3},
}
COMPONENTS = ["x", "y", "px", "py"]


class Springs:
    """Two springs of different strength: equations in any array namespace, of four components."""

    dimension, components = 4, COMPONENTS

    def __call__(self, x, xp=np):
        q, r, p, s = (x[..., i] for i in range(4))
        return xp.stack([p, s, -q - 0.1 * q * q * q, -2.0 * r], -1)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def coordinates(members, dimension=4):
    return Coordinates(draw(members, dimension), 1 + draw(members, dimension).square(), 1 + draw(members, 1).square())


def made(side, seeds=(0, 1), change=None):
    spec = SIDES[side]
    takes = vars(catalogue.build("networks", spec["network"], spec))
    spec = {name: value for name, value in SMALL.items() if name in takes} | spec
    change = coordinates(2)[: len(seeds)] if change is None else change
    return make(spec, COMPONENTS, seeds, change, Springs()), spec, change


class Plain(Differentiated):
    """The same field, whose tangents come from automatic differentiation alone."""

    def __init__(self, field):
        self._field, self.dimension = field, field.dimension

    def __call__(self, x):
        return self._field(x)


@pytest.mark.parametrize("side", SIDES)
def test_tangents_of_first_and_second_order_are_those_of_automatic_differentiation(side):
    field, *_ = made(side)
    x, v, w = draw(2, 5, 4), draw(2, 5, 3, 4), draw(2, 5, 6, 4)
    pairs = tuple(torch.triu_indices(3, 3))
    with torch.inference_mode():
        torch.testing.assert_close(field.push_forward(x, v), Plain(field).push_forward(x, v))
    torch.testing.assert_close(
        field.push_forward_second(x, v, w, pairs), Plain(field).push_forward_second(x, v, w, pairs)
    )


@pytest.mark.parametrize("side", SIDES)
def test_a_member_is_the_network_of_its_seed_alone(side):
    together, spec, change = made(side)
    x, v = draw(2, 5, 4), identity(draw(2, 5, 4))
    for e in range(2):
        alone = make(spec, COMPONENTS, [e], change[e : e + 1], Springs())
        part = together[e : e + 1]
        assert part.members == 1
        for field in (alone, part):
            assert torch.equal(field(x[e : e + 1]), together(x)[e : e + 1])
            torch.testing.assert_close(
                field.push_forward(x[e : e + 1], v[e : e + 1])[1], together.push_forward(x, v)[1][e : e + 1]
            )


@pytest.mark.parametrize("side", SIDES)
def test_every_weight_that_matters_has_a_gradient_and_no_other_member_has_one(side):
    field, *_ = made(side)
    weights = flatten(field)
    own = gradient(field(draw(2, 5, 4))[0].square().sum(), field)
    assert own[0].abs().sum() > 0 and own[1].abs().sum() == 0 and own.isfinite().all() and weights.shape == own.shape


@pytest.mark.parametrize("side", SIDES)
def test_a_saved_network_is_read_back_in_system_units(side, tmp_path):
    field, spec, change = made(side)
    spec = {**spec, "system": {"system": "springs"}} if spec["network"] == "known" else spec
    save(tmp_path / "model.safetensors", field, change, network=spec, components=COMPONENTS)
    loaded, x = load(tmp_path / "model.safetensors", equations=lambda line: Springs()), draw(2, 5, 4)
    torch.testing.assert_close(loaded(x), Transformed(field, change.inverse)(x))


def layers(tensors, e, h, prefix="", shortcut=False):
    """A perceptron as the header describes it, with silu."""
    names = [name for name in tensors if name.startswith(f"{prefix}weights.")]
    for n in range(len(names)):
        z = h @ tensors[f"{prefix}weights.{n}"][e] + tensors[f"{prefix}biases.{n}"][e]
        if n == len(names) - 1:
            return z
        h = (h if shortcut and n else 0) + z / (1 + np.exp(-z))


def monomials(y, degree):
    """All monomials, by degree and in lexicographic order of their components."""
    from itertools import combinations_with_replacement

    terms = [t for n in range(degree + 1) for t in combinations_with_replacement(range(y.shape[-1]), n)]
    return np.stack([np.prod(y[..., list(term)], -1) for term in terms], -1)


def slopes(function, y, h=1e-4):
    """The gradient of a scalar at states (N, D), by differences of fourth order."""
    one = [
        (8 * (function(y + s) - function(y - s)) - function(y + 2 * s) + function(y - 2 * s)) / (12 * h)
        for s in h * np.eye(y.shape[-1])
    ]
    return np.stack(one, -1)


def by_euler_and_lagrange(tensors, e, y):
    """The header's formula for positions x, y and velocities px, py."""
    a, b = tensors["rate"][e], tensors["drift"][e]

    def lagrangian(z):  # of y_q and eta
        q, eta = z[..., :2], z[..., 2:]
        state = np.concatenate([q, (eta - b) / a], -1)
        return layers(tensors, e, state, "lagrangian.")[..., 0] + (eta**2).sum(-1) / 2

    z = np.concatenate([y[..., :2], a * y[..., 2:] + b], -1)
    first = slopes(lagrangian, z)
    second = np.stack([slopes(lambda s, i=i: slopes(lagrangian, s)[..., i], z) for i in range(4)], -2)
    force = first[..., :2] - np.einsum("nij,nj->ni", second[:, 2:, :2], z[..., 2:])
    return np.concatenate([z[..., 2:], np.linalg.solve(second[:, 2:, 2:], force[..., None])[..., 0] / a], -1)


FORMULAS = {  # what the header of a file says, in NumPy: tensors, member, y, x, spec -> g(y)
    "mlp": lambda t, e, y, x, spec: layers(t, e, y),
    "residual": lambda t, e, y, x, spec: layers(t, e, y, shortcut=True),
    "polynomial": lambda t, e, y, x, spec: monomials(y, spec["degree"]) @ (20 * t["weights.0"][e]),
    "hamiltonian": lambda t, e, y, x, spec: (
        slopes(lambda z: layers(t, e, z, "energy.")[..., 0], y) @ t["symplectic"][e].T
    ),
    "lagrangian": lambda t, e, y, x, spec: by_euler_and_lagrange(t, e, y),
    "known": lambda t, e, y, x, spec: (
        Springs()(x) / (t["coordinates.rate"][e] * t["coordinates.scale"][e]) + layers(t, e, y, "rest.")
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_header_names_every_tensor_of_the_file(name, tmp_path):
    field, spec, change = made(name)
    save(tmp_path / "model.safetensors", field, change, network=spec, components=COMPONENTS)
    with safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert all(f"{tensor.split('.')[0]}" in file.metadata()["equations"] for tensor in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("name", FORMULAS)
def test_a_stranger_evaluates_a_saved_network_by_its_header(name, tmp_path):
    field, spec, change = made(name)
    spec = spec | ({"degree": 2} if name == "polynomial" else {})
    save(tmp_path / "model.safetensors", field, change, network=spec, components=COMPONENTS)
    with safe_open(tmp_path / "model.safetensors", "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = file.metadata()
    assert json.loads(header["network"])["network"] == name and json.loads(header["components"]) == COMPONENTS
    x, e = draw(5, 4).numpy(), 1
    mean, scale, rate = (tensors[f"coordinates.{part}"][e] for part in ("mean", "scale", "rate"))
    value = rate * scale * FORMULAS[name](tensors, e, (x - mean) / scale, x, json.loads(header["network"]))
    expected = Transformed(field, change.inverse)(torch.from_numpy(x).expand(2, 5, 4))[e].detach()
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)


def test_a_polynomial_of_second_degree_is_the_lorenz_field():
    change = coordinates(1, 3)
    network = make({"network": "polynomial", "degree": 2}, ["x", "y", "z"], [0], change)
    y = draw(1, 40, 3)
    truth = Transformed(TrueField(Lorenz()), change)
    basis = torch.from_numpy(monomials(y[0].numpy(), 2))
    with torch.no_grad():
        network.weights[0].copy_(torch.linalg.lstsq(basis, truth(y)[0]).solution[None] / GAIN)
    other = draw(1, 7, 3)
    torch.testing.assert_close(network(other), truth(other))


def test_a_hamiltonian_network_conserves_its_energy_in_system_units():
    field, *_ = made("hamiltonian")
    start = 0.3 * draw(2, 3, 4)
    states = rollout(field, start, torch.linspace(0, 20, 41, dtype=torch.float64), substeps=10)
    energy = layers(
        {name: t.detach().numpy() for name, t in field.state_dict().items()}, 0, states[0].detach().numpy(), "energy."
    )
    assert np.ptp(energy, axis=1).max() < 1e-6 * np.ptp(energy)


def test_velocities_are_the_changes_of_positions_exactly():
    field, _, change = made("lagrangian")
    x = draw(2, 5, 4)
    torch.testing.assert_close(Transformed(field, change.inverse)(x)[..., :2], x[..., 2:])


def test_known_equations_are_right_where_the_network_says_nothing():
    field, _, change = made("known")
    with torch.no_grad():
        for weight in (*field.rest.weights, *field.rest.biases):
            weight.zero_()
    x = draw(2, 5, 4)
    torch.testing.assert_close(Transformed(field, change.inverse)(x), Springs()(x, torch))


@pytest.mark.parametrize(
    ("spec", "components", "message"),
    [
        ({"network": "hamiltonian"}, ["x", "y", "z"], "have to be paired, each in one pair; there are 3"),
        ({"network": "lagrangian", "pairs": [["x", "v"]]}, ["x", "y"], "the pairs x/v"),
        ({"network": "hamiltonian", "pairs": [["x", "y", "z"]]}, ["x", "y", "z"], "have to be paired"),
        ({"network": "polynomial", "degree": 0}, ["x"], "degree has to be from 1 to 5, not 0"),
        ({"network": "mlp", "activation": "relu6"}, ["x"], "no 'relu6'; it is one of silu, tanh"),
        ({"network": "mlp", "width": 0}, ["x"], "must be at least 1"),
        ({"network": "perceptron"}, ["x"], "no network 'perceptron'"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(spec, components, message):
    with pytest.raises(catalogue.StudyError, match=message):
        make(spec, components, [0], coordinates(1, len(components)))


def test_a_setting_of_a_network_is_its_own():
    assert replace(catalogue.build("networks", "known", {}), parameters={"rho": 3}).known({"system": "Lorenz"}) == {
        "system": "Lorenz",
        "rho": 3,
    }
