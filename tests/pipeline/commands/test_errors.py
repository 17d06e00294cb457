"""What becomes of errors: one line and exit code 2 for what a user can mend, a trace for the rest."""

from __future__ import annotations

import pathlib
import resource

import click
import pydantic
import pytest

from data.errors import DataError
from modules.errors import UserError
from pipeline.commands import errors
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


@pytest.mark.parametrize(("limit", "is_refused"), [(2 << 30, False), ((2 << 30) - 1, True), (-1, False)])
def test_less_memory_than_tensorflow_takes_is_refused(monkeypatch, limit: int, is_refused: bool) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: {resource.RLIMIT_AS: (limit, -1)}[which])
    if not is_refused:
        errors.check_address_space()
        return
    with pytest.raises(UserError, match=r"expected 2,097,152 KiB .*; got 2,097,151; raise it with `ulimit -v`"):
        errors.check_address_space()


def test_a_folder_on_a_full_disk_is_refused(monkeypatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(errors.tempfile, "TemporaryFile", lambda dir: pathlib.Path("/dev/full").open("wb"))  # noqa: SIM115  # closed by its user
    with pytest.raises(UserError, match=r"in --output that can be made and written; got .*: No space left on device"):
        errors.make_writable(tmp_path, "--output")


def test_a_folder_that_can_be_written_is_left_empty(tmp_path: pathlib.Path) -> None:
    errors.make_writable(tmp_path / "a" / "b", "--output")
    assert list((tmp_path / "a" / "b").iterdir()) == []
