"""Package of the jobs: installed by `make`, and on a cluster's workers by Beam's --setup_file."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
BEAM = ">=2.77,<3"  # requirements/*.txt pin it: Beam refuses workers whose version is another

setup(
    name="molino-jobs",
    version=re.search(r'VERSION = "(.+)"', (HERE / "molino/__init__.py").read_text())[1],
    description="Batch jobs on Apache Beam that mill raw public data into Parquet that training jobs can trust",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    author="the Molino authors",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["molino", "molino.*"]),
    package_data={"": ["py.typed", "*.json", "*.html", "*.css", "*.txt", "words/*.txt"]},
    install_requires=[
        f"apache-beam{BEAM}",
        "jinja2>=3.1.6",
        "matplotlib>=3.10",
        "numpy>=2.2",
        "obstore>=0.12",
        "packaging>=22",
        "pyarrow>=23.0.1",  # two CVEs below
        "pyyaml>=6",
        "tqdm>=4.67",
        "xxhash>=3.5",
        "zlib-ng>=1",
    ],
    extras_require={
        "aws": ["boto3>=1.40"],
        "dataflow": [f"apache-beam[gcp]{BEAM}"],
        "heic": ["pillow-heif>=1.1"],
        "images": ["numba>=0.63", "opencv-python-headless>=5", "pillow>=12", "simplejpeg>=1.9"],
        "shapes": ["numba>=0.63"],
        "tensorflow": [
            "numba>=0.63",
            "setuptools<81",  # tensorflow-hub needs pkg_resources
            "tensorflow>=2.21,<2.22",
            "tensorflow-hub>=0.16.1",
            "tensorflow-transform>=1.21",
        ],
        "xlsx": ["python-calamine>=0.6"],
        "dev": [
            "datasets>=4",
            "duckdb>=1.4",
            "hypothesis>=6",
            "jax>=0.6",
            "mypy>=1.18",
            "pandas>=3.1",
            "polars>=1.34",
            "psutil>=7",
            "pytest>=9",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "python-calamine>=0.6",
            "ruff>=0.14",
            "scikit-learn>=1.7",
            "setuptools>=77",
            "uv>=0.9",
        ],
        "bench": ["pyspark>=4"],
    },
    entry_points={"console_scripts": ["molino = molino.jobs.cli:command"]},
)
