"""One thread for all tests, as for jobs, set before torch is imported."""

import os
from pathlib import Path

import pytest
from repository import finished

from nearorbit.__main__ import THREADS

os.environ |= dict.fromkeys(THREADS, "1")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A copy of the repository in which the smoke study has run, to copy."""
    base = tmp_path_factory.getbasetemp()
    return finished(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
