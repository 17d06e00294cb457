"""What a user can mend is told from bugs by its class."""

from __future__ import annotations

import ast
import pathlib

import pydantic
import pytest

from modules.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "pipeline").rglob("*.py"))


def raised_in(path: pathlib.Path) -> list[str]:
    calls = (node.exc for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Raise))
    return [call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_pipeline_refuses_is_of_this_class(path: pathlib.Path) -> None:
    """A plain ValueError would be taken for a bug, and end in a trace."""
    assert "ValueError" not in raised_in(path)


def test_pydantic_takes_it_for_a_fault_of_the_field() -> None:
    class Layer(pydantic.BaseModel):
        speed: int

        @pydantic.field_validator("speed")
        @classmethod
        def _check(cls, speed: int) -> int:
            raise UserError(f"expected a walk; got {speed}")

    with pytest.raises(pydantic.ValidationError, match=r"speed\n.*expected a walk; got 9"):
        Layer(speed=9)
