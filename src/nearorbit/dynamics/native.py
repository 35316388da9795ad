"""Sources in C++ that are compiled where they are used, for the processor that runs them.

The C++ compiler of the machine (``c++``, or what ``CXX`` names) takes seconds for one. What it makes is kept, for each
source, compiler and kind of processor: where ``TORCHINDUCTOR_CACHE_DIR`` says, as torch keeps what it compiles (the
workflow has it in ``results/compiled``), or in the user's cache. ``NEARORBIT_KERNELS=0`` in the environment leaves all
to torch.
"""

import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

# No contraction: a number has the same bits wherever it stands among others.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")


def load(source: Path) -> ctypes.CDLL | None:
    """Load what a source is compiled to, compiled before if need be; None where that fails, or is not wanted."""
    if os.environ.get("NEARORBIT_KERNELS") == "0":
        return None
    compiler = os.environ.get("CXX", "c++")
    try:
        about = subprocess.run([compiler, *FLAGS, "-E", "-v", "-xc++", os.devnull], capture_output=True, check=True)
        key = hashlib.blake2b(source.read_bytes() + about.stderr, digest_size=12).hexdigest()
        path = _folder() / f"{source.stem}-{key}.so"
        if not path.exists():
            _compile(compiler, source, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.CalledProcessError):  # there may not even be a home
        return None


def processor() -> str:
    """Name the processor, as Linux does where it is that."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _folder() -> Path:
    given = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearorbit"
    folder = Path(given) if given else user
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _compile(compiler: str, source: Path, path: Path) -> None:
    """Compile into a file of another name, and move it into place: another process may be at it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        subprocess.run(
            [compiler, *FLAGS, "-shared", "-fPIC", str(source), "-o", str(made)], capture_output=True, check=True
        )
        made.replace(path)
