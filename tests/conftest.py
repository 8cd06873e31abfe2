"""One thread a process: tests run in several processes, and two threads for small tensors cost more than they bring."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch and Aer are imported
