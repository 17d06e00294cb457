from __future__ import annotations

import pytest

from pipeline.config import assignments


def test_the_first_sign_divides_and_the_last_of_a_key_holds() -> None:
    assert assignments.split(("a=1", "b.c=x=y", "d=", "a= 2 "), example="e=1") == {"a": " 2 ", "b.c": "x=y", "d": ""}


@pytest.mark.parametrize("text", ["epochs", "=5", "", "="])
def test_a_text_without_key_or_sign_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"expected KEY=VALUE, such as team=films; got '{text}'"):
        assignments.split(("a=1", text), example="team=films")
