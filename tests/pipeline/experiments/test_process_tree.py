from __future__ import annotations

import os
import subprocess
import sys

from pipeline.experiments import process_tree

MEGABYTES = 64
# A process with an odd name that starts another, which holds memory and tells its number.
GRANDCHILD = f"import os; held = bytearray(b'x' * ({MEGABYTES} << 20)); print(os.getpid(), flush=True); input()"
CHILD = (
    "import subprocess, sys; open('/proc/self/comm', 'w').write('a) R 1 (b'); "
    f"subprocess.run([sys.executable, '-c', {GRANDCHILD!r}], check=False)"
)


def test_what_a_process_has_started_counts_with_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert process_tree.pids(child.pid) == [child.pid, grandchild]
        assert {child.pid, grandchild} < set(process_tree.pids(os.getpid()))
        both, below = (process_tree.resident_bytes(pid) for pid in (child.pid, grandchild))
        assert MEGABYTES << 20 < below < both < 4 * (MEGABYTES << 20)
        child.communicate("\n")
    assert process_tree.pids(child.pid) == [child.pid]
    assert process_tree.resident_bytes(child.pid) == 0
