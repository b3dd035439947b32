"""One thread for the linear algebra of NumPy: workers are the parallelism, and more threads would change bits.

With several threads OpenBLAS cuts a product where the number of threads says; rows at a cut go through other kernels,
whose sums differ in the last bit.
"""

import ctypes
import functools
import glob
import importlib.util
import os

# the names that OpenBLAS has in the wheels of NumPy, and elsewhere
NAMES = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


@functools.cache
def pin_blas() -> None:
    """Let NumPy's OpenBLAS use one thread in this process, for good.

    Where it is not found, as with Accelerate on a Mac, OPENBLAS_NUM_THREADS and its like must be set from outside.
    """
    numpy = importlib.util.find_spec("numpy")
    home = os.path.dirname(os.path.abspath(numpy.origin or "")) if numpy else ""
    for place in (os.path.join(home, "..", "numpy.libs"), os.path.join(home, ".dylibs")):
        for path in sorted(glob.glob(os.path.join(glob.escape(place), "*openblas*"))):
            library = ctypes.CDLL(path)  # loaded already: this is another name for it
            if name := next((name for name in NAMES if hasattr(library, name)), None):
                getattr(library, name)(1)
