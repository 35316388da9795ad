"""One thread for all tests, as for jobs, set before torch is imported."""

import os
import sys
from pathlib import Path

import pytest
from repository import finished

from nearorbit.__main__ import THREADS

os.environ |= dict.fromkeys(THREADS, "1")
LONG = ("test_workflow.py", "test_training.py", "test_wheel.py", "test_pages.py", "test_run.py")  # minutes each


def pytest_configure(config):
    """Let xdist take files in the order that they are in here, not those with the most tests first."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that no core waits for one of them in the end."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A copy of the repository in which the smoke study has run, to copy."""
    base = tmp_path_factory.getbasetemp()
    return finished(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(autouse=True)
def denormals():
    """Take back what a training asks of its process: that denormal numbers are zero, which hypothesis refuses."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
