"""Every convention on the page is held by tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/conventions.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_convention_names_tests_that_exist():
    assert rows()
    for what, _, held_by in rows():
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", held_by)
        assert named, f"{what}: {held_by}"
        assert held_by == ", ".join(f"`{file}::{test}`" for file, test in named)
        for file, test in named:
            text = (ROOT / file).read_text()
            assert re.search(rf"^def {test}\(", text, re.MULTILINE), f"{what}: {file}::{test}"
