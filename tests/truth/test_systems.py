import subprocess
import sys

import numpy as np
import pytest
import torch

from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError
from nearorbit.truth.integrators import compiled, orbits_of
from nearorbit.truth.systems.dysts_flow import metadata
from nearorbit.truth.systems.kuramoto_sivashinsky import operators

DELAYED = {"IkedaDelay", "MackeyGlass", "PiecewiseCircuit", "ScrollDelay", "SprottDelay", "VossDelay"}
UNBOUNDED = {name for name, data in metadata().items() if data["unbounded_indices"]}
REFUSED = DELAYED | UNBOUNDED | {"Torus"}
KINKED = {"AnishchenkoAstakhov", "BelousovZhabotinsky", "CellularNeuralNetwork", "Chua", "Colpitts", "MacArthur"}
KINKED |= {"MultiChua", "SanUmSrisuchinwong", "SprottMore"}
NAMES = sorted(set(catalogue.names("systems")) - REFUSED - {catalogue.MEASURED, catalogue.NEAREST})


def build(name, **settings):
    return catalogue.build("systems", name, settings)


def states(system, *shape):
    """States near the start, each component moved by about 1 %."""
    rng = np.random.default_rng(0)
    return system.start * (1 + 0.01 * rng.standard_normal((*shape, system.dimension)))


def assert_close(actual, desired):
    """Equal up to rounding, relative to the largest entry."""
    np.testing.assert_allclose(actual, desired, rtol=0, atol=1e-11 * np.abs(desired).max())


@pytest.mark.parametrize("name", NAMES)
def test_torch_and_heyoka_agree_with_numpy_on_field_and_jacobian(name):
    system = build(name)
    x = states(system, 2, 3)
    field, jacobian = compiled(system)(x)
    tensor = torch.as_tensor(x)
    derivative = torch.func.jacfwd(lambda state: system(state, torch))
    assert field.shape == x.shape and jacobian.shape == (*x.shape, system.dimension)
    assert_close(field, system(x))
    assert_close(system(tensor, torch).numpy(), system(x))
    assert_close(torch.func.vmap(torch.func.vmap(derivative))(tensor).numpy(), jacobian)


@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_its_states_one_by_one(name):
    system = build(name)
    x = states(system, 4)
    assert_close(system(x), np.stack([system(state) for state in x]))


@pytest.mark.parametrize("name", sorted(set(metadata()) - REFUSED))
def test_flows_agree_with_dysts(name):
    flows = pytest.importorskip("dysts.flows")
    system = build(name)
    x = states(system)
    assert_close(system(x), np.array(getattr(flows, name)().rhs(x, 0.0), dtype=float))


def test_kinked_flows_are_known_as_such():
    assert {name for name in NAMES if not build(name).smooth} == KINKED


@pytest.mark.parametrize("name, reason", [("MackeyGlass", "delay"), ("Torus", "change with time")])
def test_systems_without_an_autonomous_field_are_refused_with_the_reason(name, reason):
    with pytest.raises(StudyError, match=f"'{name}': .*{reason}"):
        build(name)


def test_flows_with_a_phase_that_grows_without_bound_are_refused_by_its_name():
    assert len(UNBOUNDED) == 19
    for name in UNBOUNDED:
        with pytest.raises(StudyError, match=f"'{name}': its component .* grows without bound"):
            build(name)
    with pytest.raises(StudyError, match="its component z is"):
        build("Duffing")


def test_the_period_of_a_flow_is_that_of_its_own_parameters():
    assert build("Lorenz").period == build("Lorenz", rho=28.0, beta=2.667).period == metadata()["Lorenz"]["period"]
    assert build("Lorenz", rho=28.01).period is None  # to be estimated


def test_misspelt_names_are_answered_with_the_nearest():
    with pytest.raises(StudyError, match="did you mean 'Lorenz'"):
        build("Lorentz")
    with pytest.raises(StudyError, match="did you mean 'beta'"):
        build("Lorenz", betta=1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "large", None, True, [1.0, 2.0]])
def test_parameters_that_are_no_numbers_are_refused(value):
    with pytest.raises(StudyError, match="'beta' has to be a finite number"):
        build("Lorenz", beta=value)
    with pytest.raises(StudyError, match="'forcing' has to be a finite number"):
        build("lorenz96", forcing=value)


@pytest.mark.parametrize("value", [0, 3, 4.5, "ten", True])
def test_sizes_that_are_no_sizes_are_refused(value):
    with pytest.raises(StudyError, match="'size' has to be an integer"):
        build("lorenz96", size=value)


def test_parameters_of_a_study_take_effect():
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(build("Lorenz", beta=8 / 3)(x) - build("Lorenz")(x), [0, 0, -3 * (8 / 3 - 2.667)])
    tau = [1.0, 2.0, 4.0]
    np.testing.assert_allclose(build("BeerRNN", tau=tau)(x) * tau, build("BeerRNN", tau=[1.0, 1.0, 1.0])(x))


def test_precision_of_a_tensor_is_kept():
    for name in ("Lorenz", "BeerRNN", "Thomas", "lorenz96", "kuramoto_sivashinsky"):
        system = build(name)
        assert system(torch.as_tensor(system.start, dtype=torch.float32), torch).dtype == torch.float32, name


def test_dysts_is_imported_only_for_its_flows():
    code = (
        "import sys; from nearorbit.study import catalogue; catalogue.build('systems', 'lorenz96', {});"
        "assert 'Lorenz' in catalogue.names('systems'); assert not {'dysts', 'torch', 'heyoka'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_advection_of_lorenz96_conserves_energy_and_shifts_with_the_sites():
    system = build("lorenz96", size=7, forcing=3.0)
    x = np.random.default_rng(0).standard_normal((5, 7))
    np.testing.assert_allclose(((system(x) + x - 3.0) * x).sum(-1), 0, atol=1e-12)
    np.testing.assert_allclose(system(np.roll(x, 2, -1)), np.roll(system(x), 2, -1))


def test_derivatives_on_the_grid_are_exact_for_waves():
    length, grid = 22.0, 16
    wave = 2 * np.pi / length * 3
    points = np.arange(grid) * length / grid
    linear, gradient = operators(grid, length)
    np.testing.assert_allclose(gradient @ np.sin(wave * points), wave * np.cos(wave * points), atol=1e-12)
    np.testing.assert_allclose(linear @ np.sin(wave * points), (wave**2 - wave**4) * np.sin(wave * points), atol=1e-12)


def test_kuramoto_sivashinsky_conserves_the_mean():
    system = build("kuramoto_sivashinsky", length=22.0, grid=32)
    x = np.random.default_rng(0).standard_normal((3, 32))
    np.testing.assert_allclose(system(x).mean(-1), 0, atol=1e-11)


def test_the_hyperchaotic_system_of_chen_is_as_published():
    system = build("hyperchaotic_chen")
    x = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(system(x), [35 * (2 - 1) + 4, (7 - 3) * 1 + 12 * 2, 1 * 2 - 3 * 3, 2 * 3 + 0.58 * 4])
    np.testing.assert_allclose(np.trace(compiled(system)(x)[1]), 12 + 0.58 - 35 - 3)


def test_lotka_volterra_conserves_its_function_and_turns_around_its_fixed_point():
    system = build("lotka_volterra")
    np.testing.assert_allclose(system(np.array([1.8 / 0.8, 1.3 / 0.9])), 0, atol=1e-15)
    x, y = orbits_of(system)(system.start, np.linspace(0, 30, 100)).T
    conserved = 0.8 * x - 1.8 * np.log(x) + 0.9 * y - 1.3 * np.log(y)
    np.testing.assert_allclose(conserved, conserved[0], rtol=1e-12)
    assert x.max() > 8 and y.max() > 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(
            (value, r"list of 2 numbers, x, y|finite number")
            for value in ([1.0], [1.0, 2.0, 3.0], [1.0, -2.0], [np.nan, 1.0])
        ),
        *((value, r"list \(each a finite number\)") for value in (1.0, "ab", [1.0, "y"])),
    ],
    ids=str,
)
def test_a_start_that_is_no_state_is_refused(value, expected):
    with pytest.raises(StudyError, match=rf"'lotka_volterra': 'start.* has to be a ({expected})"):
        build("lotka_volterra", start=value)
