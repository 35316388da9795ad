"""Steps that are compiled: the same training to rounding, the same bits in any ensemble, and only where it pays."""

import pandas as pd
import pytest
import torch
from trainings import METHODS, SIDES, cell_of, fit

from nearorbit.training.compilation import pays

NETWORK = {"width": 32, "depth": 2}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of their own; torch looks where it is when it compiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    """After some eight of a function torch compiles no other, and runs it as it is."""
    torch.compiler.reset()


@pytest.fixture(scope="module")
def data():
    return cell_of()


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(m, marks=() if m == "baseline" else pytest.mark.slow)
        for m in [*METHODS, "Jacobian's norm", "Jacobian, joined"]
    ],
)
def test_a_compiled_training_is_the_same_to_rounding_and_in_any_ensemble_to_the_bit(data, method):
    settings = {"network": NETWORK, "steps": 12, "segment": 1, "substeps": 1, "validate_every": 6}
    together, _, history, costs = fit(*data, SIDES[method], **settings, compile=True)
    assert costs["compiled"] == 1
    plain, _, _, costs = fit(*data, SIDES[method], **settings, compile=False)
    assert costs["compiled"] == 0
    for a, b in zip(together.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    part = [file.isel(seed=[1]) for file in data]
    alone, _, own, _ = fit(*part, SIDES[method], **settings, compile=True)
    for a, b in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(a[1:2], b), f"differs by up to {(a[1] - b[0]).abs().max():.1e}"
    pd.testing.assert_frame_equal(history[history.seed == 1].reset_index(drop=True), own, check_exact=True)


def test_without_a_compiler_it_is_not_compiled_and_says_so(data, monkeypatch, capsys):
    def missing(*_, **__):
        raise RuntimeError("No working C++ compiler found\nmore lines")

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: missing)
    field, *_, costs = fit(*data, compile=True)
    assert costs["compiled"] == 0
    assert "not compiled, every operation runs by itself: No working C++ compiler found\n" in capsys.readouterr().err
    plain, *_ = fit(*data)
    assert all(torch.equal(a, b) for a, b in zip(field.parameters(), plain.parameters(), strict=True))


def test_what_pays_is_a_long_training_of_a_large_batch():
    x = torch.ones(1, 256, 64)
    step = lambda: [(x * k).sin() for k in range(20)]  # noqa: E731
    least = min(k for k in range(30) if pays(step, steps=2**k))
    assert 14 < least < 18  # ten thousands of steps, each of 0.7 million elements
    assert not pays(lambda: x @ x.mT, steps=2**16)
