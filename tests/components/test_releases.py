"""A run says what it computes with."""

from __future__ import annotations

import platform

import numpy as np
import pytest
import tensorflow as tf

from components import releases


def test_releases_are_those_that_are_loaded() -> None:
    found = releases.releases()
    assert found["python"] == platform.python_version()
    assert found["tensorflow"] == tf.__version__
    assert found["numpy"] == np.__version__


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "DISTRIBUTIONS", ("numpy", "a-library-that-is-not-installed"))
    assert set(releases.releases()) == {"python", "numpy"}
