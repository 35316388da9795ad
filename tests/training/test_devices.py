"""Trainings spread evenly over the GPUs of a machine, and leave their places however they end."""

import signal
import subprocess
import sys
import warnings
from collections import Counter

import pytest
import torch

from nearorbit.study.catalogue import StudyError
from nearorbit.training.devices import pick_device

TRAINING = """
import sys, time
from pathlib import Path
from nearorbit.training.devices import place
print(place(["a", "b", "c"], Path(sys.argv[1])), flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path):
    running = []

    def start() -> tuple[subprocess.Popen, int]:
        process = subprocess.Popen([sys.executable, "-c", TRAINING, tmp_path], stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_trainings_spread_over_gpus_and_a_killed_one_leaves_its_place(start):
    processes = [start() for _ in range(5)]
    assert Counter(gpu for _, gpu in processes) == {0: 2, 1: 2, 2: 1}
    killed, gpu = processes[1]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert start()[1] == gpu


@pytest.mark.parametrize("name", ["cuda:7", "gpu", "meta"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(StudyError, match=r"training\.device"):
        pick_device(name)


def test_a_driver_that_torch_does_not_fit_is_said_in_a_line(monkeypatch, capsys):
    def too_old():
        warnings.warn(
            "CUDA initialization: The NVIDIA driver is too old. (Triggered internally at x.cpp)", stacklevel=1
        )
        return False

    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    assert pick_device("auto").type == "cpu"
    line = "CUDA initialization: The NVIDIA driver is too old; install a build of torch that fits the driver"
    assert f"training on the CPU: {line}" in capsys.readouterr().err
    with pytest.raises(StudyError, match=f"'cuda' asked for, but {line}"):
        pick_device("cuda")
    assert pick_device("cpu").type == "cpu"
