"""A coupled rollout solves the coupled equation, however strong the coupling."""

from math import factorial

import numpy as np
import pytest
import torch
from lorenz63 import Lorenz, orbit

from nearorbit.dynamics.drive import Drive, phi
from nearorbit.dynamics.fields import TrueField
from nearorbit.dynamics.flow import rollout

STEP = 0.0125  # a sixtieth of the period
SAMPLES = 101


def coupled(strength: float, substeps: int) -> torch.Tensor:
    """The Lorenz system from beside a wave of about its size, coupled to this."""
    times = STEP * torch.arange(SAMPLES, dtype=torch.float64)
    fine = STEP * np.arange(2 * substeps * (SAMPLES - 1) + 1) / (2 * substeps)
    values = np.stack([8 * np.sin(8 * fine), 9 * np.sin(8 * fine + 0.4), 24 + 9 * np.cos(16 * fine)], -1)[None]
    start = torch.tensor([[1.0, 2.0, 20.0]], dtype=torch.float64)
    drive = Drive(torch.from_numpy(values), strength)
    return rollout(TrueField(Lorenz()), start, times, drive=drive, substeps=substeps)


@pytest.mark.parametrize("z", [0.0, -1e-9, -1e-3, -0.3, -0.999, -1.001, -4.0, -30.0, -900.0])
def test_the_weights_are_integrals_of_exponentials(z):
    # phi_k(z) = integral over s from 0 to 1 of exp((1 - s) z) s^(k - 1) / (k - 1)!
    nodes, weights = np.polynomial.legendre.leggauss(300)
    s = (nodes + 1) / 2
    expected = [np.exp(z)] + [
        0.5 * weights @ (np.exp((1 - s) * z) * s ** (k - 1)) / factorial(k - 1) for k in (1, 2, 3)
    ]
    np.testing.assert_allclose(
        [value.item() for value in phi(torch.tensor(z, dtype=torch.float64))], expected, rtol=1e-9
    )


@pytest.mark.parametrize("strength", [0.1, 5.0, 50.0, 500.0, 50000.0])
def test_a_coupling_of_any_strength_is_integrated_to_the_fourth_order_or_better_than_the_spacing(strength):
    exact = coupled(strength, 64)
    errors = [(coupled(strength, n) - exact).abs().max().item() for n in (1, 2, 4)]
    assert errors[0] < 0.01 * 8  # of a deviation
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    if strength * STEP < 1:
        assert errors[0] > 11 * errors[1] > 121 * errors[2]


def test_a_strong_coupling_holds_the_orbit_on_the_drive():
    given = coupled(50000.0, 1)[0, 1:]
    fine = STEP * np.arange(1, SAMPLES)
    np.testing.assert_allclose(given[:, 0], 8 * np.sin(8 * fine), atol=0.01)


def test_without_coupling_it_is_the_classical_method():
    start = np.array([[1.0, 2.0, 20.0]])
    times = 0.03 * torch.arange(21, dtype=torch.float64)
    drive = Drive(torch.randn(1, 401, 3, dtype=torch.float64), torch.tensor(0.0))
    states = rollout(TrueField(Lorenz()), torch.from_numpy(start), times, drive=drive, substeps=10)
    torch.testing.assert_close(states, torch.from_numpy(orbit(start, 21)), rtol=1e-6, atol=1e-6)
