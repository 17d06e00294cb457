"""YAML stands for what PyYAML's safe loader makes of it, as long as that is not out of all proportion."""

from __future__ import annotations

import time

import pytest
import yaml

from pipeline.config import bounded_yaml
from pipeline.config.pipeline_config import read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)  # fmt: skip
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "trainer: {seed: 7, model: {epochs: [1, 2.5, null, true]}}",
        "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n",
        b"a: caf\xc3\xa9",
    ],
)
def test_it_reads_what_the_safe_loader_reads(text: str | bytes) -> None:
    assert bounded_yaml.load(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", [BOMB, MERGED], ids=["lists", "merged fields"])
def test_a_bomb_of_aliases_is_refused_at_once(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ValueError, match="more than 10,000 values, as aliases repeat them"):
        read_yaml(text, "c.yaml")
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    "text",
    [f"a: [{'0, ' * 10_000}0]", "\n".join(f"a{number}: 0" for number in range(5_001))],
    ids=["a list", "fields"],
)
def test_too_many_values_are_refused_without_a_word_on_aliases(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read: more than 10,000 values; a configuration has some hundred$"):
        read_yaml(text, "c.yaml")


def test_an_alias_of_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="an alias that stands for a value it is part of"):
        read_yaml("a: &a [1, *a]", "c.yaml")


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.getcwd []", "!!python/object:os.X {a: 1}", "? !!python/name:os.X\n: 1"]
)
def test_no_object_of_python_is_made(text: str) -> None:
    with pytest.raises(ValueError, match=r"in c\.yaml; got at line 1, .*tag:yaml\.org,2002:python/"):
        read_yaml(text, "c.yaml")
