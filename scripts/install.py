"""Makes .venv and installs what is locked, under a lock and only once; run it through scripts/setup."""

import argparse
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"base": ["requirements.lock"], "dev": ["requirements.lock", "requirements-dev.lock"]}
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


def main(kind: str) -> None:
    """Install `kind` unless its stamp says that it is there."""
    if is_installed(kind):
        return
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel drops it when this process ends, however it ends
    try:
        if not is_installed(kind):
            install(kind)
    finally:
        os.close(lock)


def is_installed(kind: str) -> bool:
    """Tell whether what is installed is what the lock files and pyproject.toml ask for."""
    stamp = VENV / f"installed-{kind}"
    return os.access(PYTHON, os.X_OK) and stamp.is_file() and stamp.read_text() == digest(kind)


def digest(kind: str) -> str:
    """Return what an installation depends on, also where it is: an editable one holds its path."""
    found = hashlib.sha256(bytes(ROOT))
    for name in [*LOCKS[kind], "pyproject.toml"]:
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()


def install(kind: str) -> None:
    """Make .venv, install, and leave stamps behind."""
    for name in LOCKS:
        (VENV / f"installed-{name}").unlink(missing_ok=True)
    if not works(PYTHON):
        say(f"Making .venv with Python {sys.version.split()[0]}.")
        # --clear: what an interrupted run, another machine or a moved folder left is of no use.
        run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", "--clear", str(VENV))
    say("Installing the locked dependencies (only this once; a minute or so).")
    options = ("--root-user-action", "ignore", "--no-build-isolation")
    run(str(PYTHON), *PIP, "install", *options, "--require-hashes", "-r", LOCKS[kind][-1])
    run(str(PYTHON), *PIP, "install", *options, "--no-deps", "-e", ".")
    for name in LOCKS:
        if name in {"base", kind}:
            (VENV / f"installed-{name}").write_text(digest(name))


def works(python: Path) -> bool:
    """Tell whether the interpreter of .venv runs and has pip."""
    command = [python, "-m", "pip", "--version"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(*command: str) -> None:
    """Run a step to its end; where it fails, end with its output and what to do."""
    if subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode:
        say("That failed, see above. A network is needed for the first installation; later ones need none.")
        sys.exit(1)


def say(text: str) -> None:
    """Tell the person before the terminal."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="what the tests need too")
    try:
        main("dev" if parser.parse_args().dev else "base")
    except OSError as error:
        say(
            f"{error.filename or ROOT}: {error.strerror}. The folder of the checkout must be writable the first time."
        )
        sys.exit(1)
