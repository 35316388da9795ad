"""What a GPU has to give: the same trainings and forecasts as a CPU, captured or not, in level memory.

On a machine without a GPU the CPU stands for it, so that these tests cannot rot.
"""

import gc

import numpy as np
import pytest
import torch
from lorenz63 import Lorenz, table_of_truth
from trainings import EVEN, SIDES, KilledError, cell_of, fit, killed_after

from nearorbit.dynamics.fields import Transformed
from nearorbit.evaluation.forecast import forecast
from nearorbit.study import catalogue
from nearorbit.training.checkpoint import Checkpoint
from nearorbit.training.devices import named

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STEPS = {"cuda": 12, "cpu": 4}  # of a training; a CPU agrees with itself


@pytest.fixture(scope="module")
def data():
    return cell_of()


def alike(first, second, tolerance=1e-6):
    """Tell whether trainings in double precision ended at the same weights, but for the order of sums."""
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=tolerance, atol=tolerance)


@pytest.fixture
def three_ways(monkeypatch, capsys):
    """Train captured, launched one by one, and on the CPU; nothing may fall back to another."""

    def run(*arguments, **settings):
        settings = {"steps": STEPS[DEVICE], "validate_every": 4, "precision": "float64"} | settings
        graph, *_, costs = fit(*arguments, **settings, device=DEVICE)
        assert "no CUDA graph" not in capsys.readouterr().err
        assert costs["device"] == named(torch.device(DEVICE))
        with monkeypatch.context() as patch:
            patch.setattr("nearorbit.training.loop.captured", lambda function, state: function)
            eager, *_ = fit(*arguments, **settings, device=DEVICE)
        alike(graph, eager)
        alike(graph, fit(*arguments, **settings, device="cpu")[0])

    return run


@pytest.mark.parametrize("side", SIDES)
def test_a_captured_training_equals_one_launched_one_by_one_and_one_on_the_cpu(data, side, three_ways):
    three_ways(*data, SIDES[side])


@pytest.mark.parametrize("network", catalogue.names("networks"))
def test_so_does_every_network(data, network, three_ways):
    observed = data[0].isel(component=slice(2)) if network in EVEN else data[0]
    three_ways(observed, None, None, network={"network": network}, equations=Lorenz())


def test_so_does_one_that_smooths_its_data(data, three_ways):
    three_ways(*data, catalogue.build("methods", "baseline", {"smoothings": 3}))


@pytest.mark.parametrize("settings", [{"recompute": True}, {"substeps": 3}, {"precision": "float32"}], ids=str)
def test_settings_of_the_loop_are_captured_too(data, settings, capsys):
    fit(*data, "neighborhood", device=DEVICE, **settings)
    assert "no CUDA graph" not in capsys.readouterr().err


@pytest.mark.parametrize("side", SIDES)
def test_a_step_in_single_precision_is_as_right_as_on_a_cpu(data, side):
    """Products of reduced precision would be wrong by 1e-3."""
    settings = {"steps": 1, "validate_every": 1, "keep": "last", "clip": 1e9}
    single = {device: fit(*data, SIDES[side], device=device, **settings)[2] for device in ("cpu", DEVICE)}
    for column in ("loss", "validation"):
        np.testing.assert_allclose(single["cpu"][column], single[DEVICE][column], rtol=2e-4)


@pytest.mark.parametrize(("first", "second"), [("cpu", DEVICE), (DEVICE, "cpu")])
def test_a_training_moves_from_one_device_to_the_other_with_its_checkpoint(
    data, first, second, tmp_path, monkeypatch, capsys
):
    settings = {"steps": 40, "precision": "float64"}
    whole, *_ = fit(*data, device=second, **settings)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "key")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_after(patch, checkpoints=0)
        fit(*data, device=first, checkpoint=checkpoint, **settings)
    moved, *_ = fit(*data, device=second, checkpoint=checkpoint, **settings)
    assert "resumed at step 10" in capsys.readouterr().err
    alike(whole, moved)


@pytest.mark.skipif(DEVICE == "cpu", reason="memory of a GPU")
@pytest.mark.parametrize("method", ["baseline", "neighborhood", "homotopy"])
def test_memory_stays_level(data, method):
    """However many steps there are, and however many trainings one process makes."""
    peaks, left = [], []
    for steps in (40, 40, 200):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        left.append(torch.cuda.memory_allocated())
        fit(*data, method, device=DEVICE, steps=steps)
        peaks.append(torch.cuda.max_memory_allocated() - left[-1])
    assert peaks[2] < 1.02 * peaks[1] + 2**16, peaks
    assert left[2] <= left[1] + 2**16, left


def test_a_forecast_on_the_gpu_is_that_on_the_cpu(data):
    """To rounding where chaos has not yet made it large; exponents within their standard errors."""
    field, coordinates, *_ = fit(*data, "jacobian", steps=400, network={"width": 32, "depth": 2})
    truth = table_of_truth(seeds=3)
    evaluation = {"exponents": {"starts": 4, "horizon": 40, "transient": 10, "accuracy": 0.05}}
    tables = {}
    for device in ("cpu", DEVICE):
        inverse = type(coordinates)(*(t.double().to(device) for t in vars(coordinates).values())).inverse
        learned = Transformed(field.to(device, torch.float64).requires_grad_(False), inverse)
        tables[device] = forecast(learned, None, truth, evaluation=evaluation)
    cpu, gpu = tables["cpu"], tables[DEVICE]
    for name in ("field", "jacobian"):
        np.testing.assert_allclose(gpu[name], cpu[name], rtol=1e-9, atol=1e-9)
    early = {"lead": slice(40)}
    np.testing.assert_allclose(gpu["forecasts"].isel(early), cpu["forecasts"].isel(early), rtol=1e-6, atol=1e-6)
    error = np.hypot(gpu["stderr"], cpu["stderr"])
    assert (np.abs(gpu["exponents"] - cpu["exponents"]) < 5 * error + 0.02).all()
