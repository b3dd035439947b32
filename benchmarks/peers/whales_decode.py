"""Only decode images: python whales_decode.py INPUT OUTPUT HOW [THREADS].

HOW is `cv2`, `simplejpeg`, `half`, `quarter` (simplejpeg at half and quarter of the sides), or `find`: the functions of
the original method, without the job around them, which write `regions.json` as the published method does.
"""

import concurrent.futures
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import simplejpeg


def decode_cv2(data: bytes) -> None:
    """Decode as `cv2.imread` does."""
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def decode_simplejpeg(data: bytes, scale: int = 1) -> None:
    """Decode with libjpeg-turbo, at a fraction of the size."""
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    simplejpeg.decode_jpeg(data, "BGR", min_height=-(-height // scale), min_width=-(-width // scale))


def find(data: bytes) -> dict:
    """Decode and find with this project's functions."""
    from molino.transforms.images.decode import decode_image
    from molino.transforms.whales.find_region import find_region_original

    found = find_region_original(decode_image(data)[0])
    return {"box": found.box, "contours": found.regions, "white_pixels": found.white_pixels}


HOW = {
    "cv2": decode_cv2,
    "simplejpeg": decode_simplejpeg,
    "half": lambda data: decode_simplejpeg(data, 2),
    "quarter": lambda data: decode_simplejpeg(data, 4),
    "find": find,
}


def main(folder: str, output: str, how: str, threads: str = "1") -> None:
    """Work on every JPEG of a folder."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    cv2.setNumThreads(1)
    paths = sorted(Path(folder).rglob("*.jpg"))
    with concurrent.futures.ThreadPoolExecutor(int(threads)) as pool:
        found = list(pool.map(lambda path: HOW[how](path.read_bytes()), paths))
    if how == "find":
        keys = (str(path.relative_to(folder)) for path in paths)
        Path(output, "regions.json").write_text(json.dumps(dict(zip(keys, found, strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
