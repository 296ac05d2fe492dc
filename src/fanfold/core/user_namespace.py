"""Runs a command in a user namespace of its own, by its path in a bare interpreter: `user_namespace.py COMMAND ...`.

Postgres refuses to run as root. In here root is uid 1000, while its files stay its own: no user is made, no
folder opened.
A program of its own, since Python code between fork and exec is not safe in a process that has threads. Linux only.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # linux/sched.h


def enter() -> None:
    """Become uid 1000 in a new user namespace; OSError where they are forbidden, as in many containers.

    By ctypes, since `os.unshare` exists from Python 3.12 on.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not allowed here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")


if __name__ == "__main__":
    enter()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted; the caller names the program
