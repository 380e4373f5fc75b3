"""Build the natives with AddressSanitizer, UndefinedBehaviorSanitizer and all of Cython's checks, beside the others.

    python -m tests.fuzz.build      build/fuzz/lib/bulkmail/native/*.so

They are loaded only by a process that `tests.fuzz` starts with the sanitizers' runtimes preloaded.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build/fuzz"
NATIVE = BUILT / "lib/bulkmail/native"
FLAGS = [
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
]
DIRECTIVES = {
    "language_level": 3,
    "binding": False,
    "boundscheck": True,
    "wraparound": True,
    "initializedcheck": True,
    "nonecheck": True,
    "overflowcheck": False,
    "cdivision": False,
}


def runtimes() -> list[str]:
    """The sanitizers' shared libraries, which must be in a process before all others. Empty where gcc has none."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return []
    found = []
    for name in ("libasan.so", "libubsan.so"):
        said = subprocess.run([gcc, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        path = Path(said.stdout.strip())
        if not path.is_absolute():
            return []
        found.append(str(path.resolve()))
    return found


def environment() -> dict[str, str]:
    """What a process needs that loads these natives. Memory comes from malloc, which the sanitizer watches."""
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(runtimes()),
        "PYTHONMALLOC": "malloc",
        # CPython keeps much to its end, which is no leak; a small quarantine, or memory seems to grow.
        "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=8:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:abort_on_error=1",
        "BULKMAIL_FUZZ_NATIVE": str(NATIVE),
    }


def build() -> None:
    """Only what is out of date is built."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    os.chdir(ROOT)
    extensions = [
        Extension(
            f"bulkmail.native.{path.stem}",
            [str(path.relative_to(ROOT))],
            include_dirs=["ext"],
            extra_compile_args=FLAGS,
            extra_link_args=["-fsanitize=address,undefined"],
        )
        for path in sorted((ROOT / "ext").glob("*.pyx"))
    ]
    modules = cythonize(
        extensions, build_dir="build/fuzz/cython", include_path=[".", "ext"], compiler_directives=DIRECTIVES, quiet=True
    )
    command = Distribution({"name": "bulkmail-fuzz", "ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = str(BUILT / "lib")
    command.build_temp = str(BUILT / "temp")
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    if not runtimes():
        sys.exit("fuzz: gcc with its sanitizers (libasan, libubsan) is needed: `apt-get install gcc` (Debian, Ubuntu)")
    build()
