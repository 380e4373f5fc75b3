"""Build every ext/NAME.pyx into the extension module bulkmail.native.NAME.

BULKMAIL_ANNOTATE=1 writes Cython's HTML beside the generated C.
"""

import os
import sys
import sysconfig
from pathlib import Path
from shutil import which

from setuptools import Extension, setup

ROOT = Path(__file__).parent
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "ext").glob("*.pyx"))
# In the package are the declarations of classes that extensions share.
HEADERS = sorted(
    path.relative_to(ROOT).as_posix()
    for kind in ("ext/*.pxd", "ext/*.h", "bulkmail/native/*.pxd")
    for path in ROOT.glob(kind)
)


def require_toolchain() -> None:
    """Stop with one sentence when the C compiler or Python's headers are missing."""
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if which(compiler.split()[0]) is None:
        sys.exit(
            f"bulkmail: no C compiler ({compiler}) found; install one: "
            "`apt-get install gcc` (Debian, Ubuntu) or `dnf install gcc` (Fedora)."
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        sys.exit(
            f"bulkmail: the headers of Python {version} (Python.h) are missing; install them: "
            "`apt-get install python3-dev` (Debian, Ubuntu) or `dnf install python3-devel` (Fedora)."
        )


def extensions() -> list[Extension]:
    from Cython.Build import cythonize

    modules = [
        Extension(
            f"bulkmail.native.{Path(source).stem}",
            [source],
            # The .pyx and .pxd are named here because cythonize(build_dir=...) drops them from the sdist.
            depends=[source, *HEADERS],
            include_dirs=["ext"],
            extra_compile_args=["-O3", "-g0"],
        )
        for source in SOURCES
    ]
    return cythonize(
        modules,
        build_dir="build/cython",
        # Declarations of the package's classes are found by their full name, headers beside the sources.
        include_path=[".", "ext"],
        annotate=os.environ.get("BULKMAIL_ANNOTATE") == "1",
        compiler_directives={"language_level": 3, "binding": False, "embedsignature": True},
        show_all_warnings=False,
    )


BUILDING = {"build", "build_ext", "bdist_wheel", "editable_wheel", "develop", "install"}.intersection(sys.argv)
if BUILDING:
    require_toolchain()
setup(ext_modules=extensions() if SOURCES else [])
