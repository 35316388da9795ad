"""What several tests are given."""

import pytest


@pytest.fixture
def one_thread():
    """Sums have another order with more threads, and other bits."""
    import torch  # here, for most tests need none

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
