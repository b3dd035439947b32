"""One thread for the linear algebra of NumPy: workers are the parallelism, and more threads would change bits.

With several threads OpenBLAS cuts a product where the number of threads says; rows at a cut go through other kernels,
whose sums differ in the last bit.
"""

import ctypes
import functools
import glob
import os

import numpy as np

# the names that OpenBLAS has in the wheels of NumPy, and elsewhere
NAMES = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


@functools.cache
def pin_blas() -> bool:
    """Let NumPy's OpenBLAS use one thread in this process; return whether it was found.

    Where it is not, as with Accelerate on a Mac, OPENBLAS_NUM_THREADS and its like must be set from outside.
    """
    home = os.path.dirname(os.path.abspath(np.__file__))
    places = [os.path.join(home, "..", "numpy.libs", "*openblas*"), os.path.join(home, ".dylibs", "*openblas*")]
    pinned = False
    for path in sorted(path for place in places for path in glob.glob(place)):
        library = ctypes.CDLL(path)  # loaded already: this is another name for it
        for name in NAMES:
            if hasattr(library, name):
                getattr(library, name)(1)
                pinned = True
                break
    return pinned
