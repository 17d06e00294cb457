"""What the processes of the models are forked from: a process that has imported TensorFlow, and run nothing of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing import forkserver, resource_tracker

CONTEXT = multiprocessing.get_context("forkserver")
# None of ours: it looks for them in the current folder first, which may have packages of the same names.
CONTEXT.set_forkserver_preload(["tensorflow", "tensorflow_serving.apis.prediction_log_pb2"])


def start() -> None:
    """Starts it unless it runs already; what it imports takes seconds, for which nobody has to wait.

    It and all that is forked from it go on when SIGINT or SIGTERM is sent to all processes of the server, as by Ctrl-C
    in a terminal, so that the server gets answers to what is under way. They end with the server, or when it says so.
    """
    # Notices of Google's clients, which TensorFlow may import, are no lines of the server's log.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    # On its own first start it would let these signals through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
