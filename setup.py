"""Packaging of `movie-ranking`: one code base, two dependency lanes picked by environment markers.

current: Python 3.11 to 3.13, TFX 1.21, TensorFlow 2.21 (needs glibc 2.39 or newer).
legacy:  Python 3.10, TFX 1.16, TensorFlow 2.16 (everywhere else).
"""

import pathlib

from setuptools import find_packages, setup

CURRENT = 'python_version >= "3.11"'
LEGACY = 'python_version < "3.11"'

setup(
    name="movie-ranking",
    version="0.1.0",
    description="Ranks movies for users: a TFX pipeline around a TensorFlow Recommenders model",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["pipeline", "pipeline.*", "components", "modules", "data"]),
    package_data={
        "pipeline.engines": ["poms/*.xml", "checksums/*.sha256"],
        "pipeline.report": ["templates/*"],
        "pipeline.serving.page": ["static/*", "templates/*.html"],
    },
    py_modules=["movie_ranking_main"],
    entry_points={
        "console_scripts": [
            "movie-ranking=movie_ranking_main:main",
            "movie-ranking-worker=pipeline.engines.boot:main",
        ]
    },
    install_requires=[
        f"tfx==1.21.*; {CURRENT}",
        f"tfx==1.16.*; {LEGACY}",
        # The last release that still brings dill, which tfx-bsl 1.16 imports.
        f"apache-beam==2.68.0; {LEGACY}",
        "aiohttp>=3.10",
        "grpcio",
        "prometheus-client>=0.20",
        "tensorflow-recommenders>=0.7.3",
        "tf-keras",
        "click>=8.1",
        "jinja2>=3.1",
        "numpy",
        "optuna>=4",
        "pandas",
        "pooch>=1.8",
        "protobuf",
        "pyarrow",
        # Parquet files of strangers are read, and the Arrow of this lane would run code that they hold.
        f"pyarrow-hotfix; {LEGACY}",
        "pydantic>=2.7",
        "PyYAML",
        "rich>=13",
        "vl-convert-python>=1.7",
    ],
    extras_require={
        "dev": [
            "hypothesis>=6.100",
            # It refuses the release of importlib-metadata that is locked for Python 3.11.
            'mlflow-skinny>=3; python_version != "3.11"',
            "mypy>=1.10",
            "playwright>=1.48",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            "setuptools",
            "types-PyYAML",
            "wheel",
        ],
        "kfp": ["kfp>=2.5,<2.17", "kfp-pipeline-spec>=0.2.2,<2.17"],
        "mlflow": ["mlflow-skinny>=3"],
        # Below 0.5, which needs Python 3.12, myfm imports pkg_resources.
        "peers": [
            "implicit>=0.7",
            "myfm>=0.3.6",
            "scikit-surprise>=1.1.4",
            'setuptools<82; python_version < "3.12"',
            "threadpoolctl",
        ],
        "vertex": ["google-cloud-aiplatform>=1.50"],
    },
)
