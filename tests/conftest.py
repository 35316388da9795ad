"""One thread for all tests, as for jobs, set before torch is imported."""

import os

from nearorbit.__main__ import THREADS

os.environ |= dict.fromkeys(THREADS, "1")
