"""Covariant vectors of true systems, and what they say an error of the field does to the exponents."""

from functools import cache

import numpy as np
import pytest

from nearorbit.dynamics.lyapunov import spectrum, standard_error
from nearorbit.dynamics.response import response
from nearorbit.dynamics.shadowing import Frames
from nearorbit.study.catalogue import build
from nearorbit.truth import attractors, covariant_vectors
from nearorbit.truth.integrators import compiled, orbits_of, propagator

LORENZ = {"system": "Lorenz", "sigma": 10, "rho": 28, "beta": 8 / 3}
SYSTEMS = {
    "Lorenz": LORENZ,
    "ShimizuMorioka": {"system": "ShimizuMorioka"},
    "Rossler": {"system": "Rossler"},
    "Lorenz96_N5": {"system": "lorenz96", "size": 5, "forcing": 8},
}


@cache
def along(label, states=2**14):
    """A system, and its covariant vectors along orbits of so many states in all."""
    system = build("systems", label, SYSTEMS[label])
    found = attractors.exponents(system, label=label, starts=8, horizon=100, transient=20, patience=20)
    return system, covariant_vectors.covariant_vectors(system, found, label=label, states=states)


def frames(table):
    names = ("field", "jacobian", "vectors", "growth", "curvature", "exponents")
    return Frames(
        *(table[name].to_numpy() for name in names), *(table[name].item() for name in ("spread", "step", "period"))
    )


def answer(label, change, **settings):
    """The answer to a change of parameters."""
    _, table = along(label, **settings)
    known = frames(table)
    field, jacobian = compiled(build("systems", label, SYSTEMS[label] | change))(table["states"].to_numpy())
    return response(known, field - known.field, jacobian - known.jacobian)


SLOW = [pytest.param(label, marks=pytest.mark.slow) for label in ("ShimizuMorioka", "Rossler")]


@pytest.mark.parametrize("label", ["Lorenz", "Lorenz96_N5", *SLOW])
def test_vectors_have_duals_the_flow_among_them_and_grow_as_the_spectrum_says(label):
    _, table = along(label)
    known = frames(table)
    products = known.duals @ known.vectors
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(len(known.exponents)), products.shape), atol=1e-6)
    cosines = np.abs(np.einsum("...i,...i", known.field, known.vectors[..., known.neutral]))
    np.testing.assert_allclose(cosines / np.linalg.norm(known.field, axis=-1), 1, atol=1e-5)
    rates = known.growth.reshape(len(known.growth), 32, -1, known.growth.shape[-1]).mean(2) / known.step
    errors = np.hypot(standard_error(np.moveaxis(rates, 1, 0)), table["stderr"].to_numpy())
    assert (np.abs(rates.mean((0, 1)) - known.exponents) < 4 * errors).all(), (rates.mean((0, 1)), known.exponents)
    assert table["distinct"].all()


def test_vectors_move_with_the_flow():
    system, table = along("Lorenz")
    states, V = table["states"].to_numpy()[:, :-1], table["vectors"].to_numpy()
    start = np.pad(states.reshape(-1, 3), ((0, 0), (0, 7)))
    moved = propagator(system)(start, V[:, :-1].reshape(-1, 3, 3), float(table["step"]))[1].reshape(*states.shape, 3)
    np.testing.assert_allclose(moved, np.exp(table["growth"].to_numpy()[:, :-1, None]) * V[:, 1:], atol=1e-6)


@pytest.mark.parametrize("label", ["Lorenz", "Lorenz96_N5"])
def test_shifts_along_the_true_orbit_add_up_to_the_trace(label):
    known, rng = frames(along(label)[1]), np.random.default_rng(0)
    errors = rng.normal(size=known.jacobian.shape)
    found = response(known, rng.normal(size=known.field.shape), errors)
    assert found.fixed.sum() == pytest.approx(np.trace(errors, axis1=-2, axis2=-1).mean(), abs=1e-9)


def test_a_field_that_is_shifted_in_space_moves_orbits_and_no_exponents():
    _, table = along("Lorenz")
    known, c = frames(table), 0.01 * table["states"].to_numpy().std((0, 1))
    # f(x - c): its error is -J c, and that of its Jacobian -H[c, .], of Lorenz' system a constant
    second = np.zeros((3, 3, 3))
    second[1, 0, 2] = second[1, 2, 0] = -1
    second[2, 0, 1] = second[2, 1, 0] = 1
    found = response(known, -known.jacobian @ c, np.broadcast_to(-second @ c, known.jacobian.shape))
    assert np.abs(found.fixed).max() > 0.03, found.fixed
    np.testing.assert_allclose(found.shadowed, 0, atol=2e-4)
    np.testing.assert_allclose(found.moved, 0, atol=1e-3)
    assert found.displacement == pytest.approx(np.linalg.norm(c) / known.spread, rel=0.1)


def test_a_field_that_is_faster_stretches_all_exponents():
    known = frames(along("Lorenz")[1])
    found = response(known, 0.01 * known.field, 0.01 * known.jacobian)
    np.testing.assert_allclose(found.shadowed, 0.01 * known.exponents, atol=1e-6)
    np.testing.assert_allclose(found.moved, 0.01 * known.exponents, atol=1e-6)
    assert np.abs(found.fixed - 0.01 * known.exponents).max() > 0.1, found.fixed  # the orbit has its old clock


@pytest.mark.parametrize("parameter", ["sigma", "rho", "beta"])
def test_the_flow_keeps_its_exponent_and_the_sum_is_that_of_the_divergence(parameter):
    found = answer("Lorenz", {parameter: 1.01 * LORENZ[parameter]})
    assert np.abs([found.shadowed[1], found.moved[1]]).max() < 2e-4
    assert np.abs(found.fixed[1]) > 0.005
    known = {"sigma": -0.1, "rho": 0.0, "beta": -0.01 * 8 / 3}[parameter]
    assert found.fixed.sum() == pytest.approx(known, abs=1e-6)
    assert found.shadowed.sum() == pytest.approx(known, abs=1e-3)
    assert found.moved.sum() == pytest.approx(known, abs=3e-3)  # as exact as the sum of the exponents


def test_a_system_with_kinks_is_blank():
    system = build("systems", "SprottMore", {"system": "SprottMore"})
    found = attractors.exponents(system, label="SprottMore", starts=2, horizon=2, transient=1)
    table = covariant_vectors.covariant_vectors(system, found, label="SprottMore", states=2**11)
    assert table["vectors"].isnull().all() and not table["distinct"].any()


def test_exponents_that_are_equal_are_told_and_their_answers_are_still_a_sum(capsys):
    system = build("systems", "pair", {"system": "lorenz96", "size": 4, "forcing": 4})  # a cycle, or a torus
    found = attractors.exponents(system, label="pair", starts=2, horizon=50, transient=20, patience=1)
    degenerate = found.assign(exponents=found["exponents"] * 0 - 0.1 * np.arange(4) // 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covariant_vectors, "TRANSIENTS", (0.1, 0.2))
        table = covariant_vectors.covariant_vectors(system, degenerate, label="pair", states=2**11)
    assert not table["distinct"].all()
    assert "systems.pair: covariant vectors" in capsys.readouterr().err
    errors = np.random.default_rng(0).normal(size=table["jacobian"].shape)
    known = frames(table)
    found = response(known, np.zeros(known.field.shape), errors)
    assert found.fixed.sum() == pytest.approx(np.trace(errors, axis1=-2, axis2=-1).mean(), abs=1e-6)


def long_spectrum(label, change, horizon, interval, orbits=128):
    """Exponents of a changed system from long orbits, and their standard errors."""
    system = build("systems", label, SYSTEMS[label] | change)
    period = float(along(label)[1]["period"])
    start = orbits_of(system)(system.start, np.linspace(100 * period, (100 + 10 * orbits) * period, orbits))
    start = np.pad(start, ((0, 0), (0, 1 + 2 * system.dimension)))
    found = spectrum(
        propagator(system), start, interval=interval, transient=20 * period, horizon=horizon,
        carried=1 + 2 * system.dimension,
    )  # fmt: skip
    return found.exponents, found.stderr


CHANGES = [("Lorenz", name, value, 1000, 0.15) for name, value in LORENZ.items() if name != "system"]
CHANGES += [("ShimizuMorioka", "a", 0.85, 4000, 1.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("label", "parameter", "value", "horizon", "interval"), CHANGES)
def test_the_predicted_shift_is_the_one_found_after_one_percent_of_a_parameter(
    label, parameter, value, horizon, interval
):
    predicted = answer(label, {parameter: 1.01 * value}, states=2**16)
    (up, up_error), (down, down_error) = (
        long_spectrum(label, {parameter: factor * value}, horizon, interval) for factor in (1.01, 0.99)
    )
    found, error = (up - down) / 2, np.hypot(up_error, down_error) / 2
    allowed = np.maximum(0.1 * np.abs(found), 3 * np.hypot(error, predicted.moved_stderr))
    text = f"{parameter}: found {found} ± {error}, predicted {predicted.moved} ± {predicted.moved_stderr}"
    print(text)
    assert (np.abs(predicted.moved - found) < allowed).all(), text
