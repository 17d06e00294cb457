"""What becomes of errors: one line and exit code 2 for what a user can mend, a trace for the rest."""

from __future__ import annotations

import click
import pydantic
import pytest

from data.errors import DataError
from modules.errors import UserError
from pipeline.commands.errors import usage_errors


class _Layer(pydantic.BaseModel):
    speed: int


@pytest.mark.parametrize("error", [UserError("no such flag"), DataError("no such row")], ids=str)
def test_what_a_user_can_mend_is_a_usage_error(error: UserError) -> None:
    with pytest.raises(click.UsageError, match=str(error)), usage_errors():
        raise error


def test_a_fault_of_the_configuration_is_named_by_its_field() -> None:
    with pytest.raises(click.UsageError, match="speed: Input should be a valid integer"), usage_errors():
        _Layer(speed="slow")


@pytest.mark.parametrize(
    "bug", [ValueError("operands could not be broadcast"), KeyError("config"), OSError("no disk")], ids=repr
)
def test_anything_else_is_a_bug_and_stays_what_it_is(bug: Exception) -> None:
    with pytest.raises(type(bug)) as raised, usage_errors():
        raise bug
    assert raised.value is bug


def test_further_types_are_a_line_that_says_nothing_of_usage() -> None:
    with pytest.raises(click.ClickException, match="no disk") as raised, usage_errors(OSError):
        raise OSError("no disk")
    assert not isinstance(raised.value, click.UsageError)
