"""Kill a step's process group when the server that started it is gone.

Run as a script of its own (`python -I -S guard.py <process group>`) with the server's end of a pipe as
stdin: a server that ends in order says "done"; one that was killed only closes the pipe.
"""

import os
import signal
import sys
import time

GRACE_SECONDS = 2.0


def main() -> None:
    """Wait for the server, then for the grace, and kill."""
    group = int(sys.argv[1])
    # A terminal's Ctrl-C is for the server; it tells this process when it is through.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stdin.buffer.read() == b"done":
        return
    try:
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.05)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main()
