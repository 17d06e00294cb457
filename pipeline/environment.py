"""What has to hold in a process before TensorFlow and TFX are imported."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings


def prepare() -> None:
    """Sets environment variables, warning filters, and how often Python looks for garbage.

    Call it before the first import of TensorFlow.
    """
    _open_standard_streams()
    # TFRS and TensorFlow Transform need Keras 2.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # TensorFlow reports at start-up, as errors, that it found CUDA libraries twice; Python's errors still show.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Importing TensorFlow, Beam and TFX makes millions of objects that stay, and by default Python would search them
    # for garbage again and again, which takes a fifth of the start-up.
    gc.set_threshold(100_000, 20, 20)
    # The last search, at exit, would take more than a second, just before all memory is given back anyway.
    atexit.register(gc.freeze)
    # Google's clients, which TFX imports and a local run never uses, announce their own support policy.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")


def _open_standard_streams() -> None:
    """Has standard input, output and error lead nowhere where they are closed, as by `>&-`.

    Otherwise the next file to be opened takes their number, and what is printed goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given out first.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))
