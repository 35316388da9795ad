"""One thread for all tests, set before torch is imported, and for the jobs that they start.

Sums have another order with more threads, and other bits; and workers that share a few cores wait for one another.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
