"""The published whale detector, plainly, with OpenCV: python whales_original.py INPUT_DIR OUTPUT_DIR.

The method of github.com/eduardofv/whale_detector, whose parameters are the defaults here. Writes `regions.json`: per
image its box, the number of contours and of marked pixels. `--images` also writes the published program's four files.
Tests take `find_region` for the right answer.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np


def histogram(hsv: np.ndarray, bins: int) -> np.ndarray:
    """Return the histogram of hue, saturation and value, (bins, bins, bins) float32; 255 is in no bin."""
    return cv2.calcHist([hsv], [0, 1, 2], None, [bins] * 3, [0, 255] * 3)


def mark(hsv: np.ndarray, marks: np.ndarray, whole: np.ndarray, bins: int, threshold: float, smallest: int) -> None:
    """Write 255 into `marks` where a quarter is unlike the whole image; look into the other quarters."""
    height, width = marks.shape
    if height < smallest or width < smallest:
        return
    y, x = height // 2, width // 2
    for part in (np.s_[:y, :x], np.s_[:y, x:], np.s_[y:, :x], np.s_[y:, x:]):
        if cv2.compareHist(whole, histogram(hsv[part], bins), cv2.HISTCMP_CORREL) < threshold:
            marks[part] = 255
        else:
            mark(hsv[part], marks[part], whole, bins, threshold, smallest)


def find_region(
    image: np.ndarray, *, bins: int = 16, threshold: float = 0.25, smallest: int = 10, kernel: int = 40
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray | None]:
    """Return the marks before and after the small ones are cleared, the outer contours, and the largest of them."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    marks = np.zeros(image.shape[:2], np.uint8)
    mark(hsv, marks, histogram(hsv, bins), bins, threshold, smallest)
    square = np.ones((kernel, kernel), np.uint8)
    cleared = cv2.dilate(cv2.erode(marks, square), square)
    contours = list(cv2.findContours(cleared, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0])
    largest, most = None, 0
    for contour in contours:
        _, _, width, height = cv2.boundingRect(contour)
        if width * height > most:
            largest, most = contour, width * height
    return marks, cleared, contours, largest


def write_images(name: str, image: np.ndarray, cleared: np.ndarray, contours: list[np.ndarray], largest, folder: Path):
    """Write extract, mask, mask-areas and areas."""
    x, y, width, height = cv2.boundingRect(largest)
    cv2.imwrite(f"{folder}/{name}.extract.jpg", image[y : y + height, x : x + width])
    for contour in contours:
        left, top, across, down = cv2.boundingRect(contour)
        cv2.rectangle(cleared, (left - 10, top - 10), (left + across + 10, top + down + 10), 255, 2)
    cv2.imwrite(f"{folder}/{name}.mask.jpg", cleared[y : y + height, x : x + width])
    cv2.imwrite(f"{folder}/{name}.mask-areas.jpg", cv2.cvtColor(cleared, cv2.COLOR_GRAY2BGR))
    cv2.rectangle(image, (x - 10, y - 10), (x + width + 10, y + height + 10), (0, 0, 255), 5)
    cv2.drawContours(image, [largest], 0, (0, 255, 0), 5)
    cv2.imwrite(f"{folder}/{name}.areas.jpg", image)


def main() -> None:
    """Find the region of every image of a folder."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("input", type=Path)
    made.add_argument("output", type=Path)
    made.add_argument("--images", action="store_true")
    made.add_argument("--threads", type=int, default=1, help="of OpenCV")
    given = made.parse_args()
    cv2.setNumThreads(given.threads)
    found = {}
    for path in sorted(given.input.rglob("*")):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        image = cv2.imread(str(path))
        marks, cleared, contours, largest = find_region(image)
        found[str(path.relative_to(given.input))] = {
            "box": None if largest is None else cv2.boundingRect(largest),
            "contours": len(contours),
            "white_pixels": int((marks > 0).sum()),
        }
        if given.images and largest is not None:
            write_images(path.name, image, cleared, contours, largest, given.output)
    (given.output / "regions.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
