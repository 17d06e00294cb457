"""Executors for tests of tasks on Kubeflow, with what TFX's entry point gives them."""

from __future__ import annotations

import atexit
import os
import pathlib
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

FILE = "data.txt"


class Copier(base_executor.BaseExecutor):
    """Copies the file of `examples` to `model`, says where both are, and notes the type and splits of the former."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Does it; see the base class."""
        (examples,), (model,) = input_dict["examples"], output_dict["model"]
        text = pathlib.Path(examples.uri, FILE).read_text("utf-8")
        pathlib.Path(model.uri, FILE).write_text(f"{text} {exec_properties['times']}", "utf-8")
        model.set_string_custom_property("made", os.path.join(model.uri, FILE))
        model.set_string_custom_property("read", examples.uri)
        model.set_string_custom_property("others", f"{model.uri}_run")
        model.set_string_custom_property("told", f"{examples.type_name} {examples.split_names} {sorted(output_dict)}")


class AbortsAtExit(Copier):
    """Leaves something behind that aborts the process when Python ends."""

    def Do(self, *details: Any) -> None:
        """Does it; see the base class."""
        super().Do(*details)
        atexit.register(os.abort)


class Fails(Copier):
    """Ends with an error."""

    def Do(self, *details: Any) -> None:
        """Does it; see the base class."""
        raise ValueError("expected another task; got this one")
