"""Covariant Lyapunov vectors where they are known."""

import numpy as np
import pytest
from scipy.linalg import expm

from nearorbit.dynamics.covariant import covariant, duals

RATES = np.array([0.5, -0.3, -2.0])
TURN = np.random.default_rng(0).normal(size=(3, 3)) + 2 * np.eye(3)  # its columns are far from orthogonal


def linear(rates):
    """The propagator of a linear field with real eigenvalues; states are at rest."""
    A = TURN @ np.diag(rates) @ np.linalg.inv(TURN)

    def propagate(x, tangents, duration):
        return x, expm(A * duration) @ tangents

    return propagate


def along(rates, **settings):
    window = {"interval": 0.1, "before": 200, "count": 20, "after": 200} | settings
    return covariant(linear(np.asarray(rates)), np.zeros((2, 3)), **window)


def test_covariant_vectors_of_a_linear_field_are_its_eigenvectors():
    found = along(RATES)
    expected = TURN / np.linalg.norm(TURN, axis=0)
    cosines = np.abs(np.einsum("...ij,ij->...j", found.vectors, expected))
    np.testing.assert_allclose(cosines, 1, atol=1e-9)
    np.testing.assert_allclose(found.growth, 0.1 * np.broadcast_to(RATES, found.growth.shape), atol=1e-9)
    assert found.uncertainty.max() < 1e-5, found.uncertainty


def test_the_duals_are_dual():
    found = along(RATES)
    products = duals(found.vectors) @ found.vectors
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-6)


def test_vectors_of_equal_exponents_are_told_and_the_others_are_known():
    found = along([0.5, -1.0, -1.0])
    assert found.uncertainty[0] < 1e-5 and found.uncertainty[1:].max() > 0.01, found.uncertainty
    assert np.isfinite(found.vectors).all() and np.isfinite(found.growth).all()


def test_a_transient_that_is_too_short_is_told():
    assert along(RATES, before=3).uncertainty.max() > 0.01
    assert along(RATES, after=3).uncertainty.max() > 0.01


@pytest.mark.filterwarnings("ignore")
def test_an_orbit_that_is_lost_is_blank():
    def lost(x, tangents, duration):
        return np.where(np.arange(len(x))[:, None] == 1, np.nan, x), linear(RATES)(x, tangents, duration)[1]

    found = covariant(lost, np.zeros((2, 3)), interval=0.1, before=50, count=5, after=50)
    assert np.isfinite(found.vectors[0]).all() and np.isnan(found.vectors[1]).all()
