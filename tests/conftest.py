"""One thread a process: tests run in several processes, and two threads for small tensors cost more than they bring."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch and Aer are imported

# A shell that starts a script in the background has it ignore Ctrl-C, and all of its children; tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
