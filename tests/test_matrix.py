"""The environments of tox: whichever two versions a host has, they were tested together."""

import re
from configparser import ConfigParser
from itertools import combinations, product
from pathlib import Path

import pytest

import test_settings
from tests.run_engines import KNOWN

ROOT = Path(__file__).parent.parent
VERSIONS = (
    ("py311", "py312", "py313"),
    ("django52", "django60", "django61"),
    ("drf316", "drf317", "drf318"),
    KNOWN,
)
# Django 6 needs Python 3.12, and Django 6.1 what DRF has since 3.18.
NEVER = {("py311", "django60"), ("py311", "django61"), ("django61", "drf316"), ("django61", "drf317")}


def environments() -> set[str]:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    return {name for line in tox["tox"]["env_list"].split() for name in expanded(line)}


def expanded(name: str) -> list[str]:
    parts = re.split(r"\{([^}]*)\}", name)
    return ["".join(chosen) for chosen in product(*(part.split(",") for part in parts))]


@pytest.mark.skipif(test_settings.ENGINE != "sqlite", reason="the matrix is the same on every engine")
def test_each_two_versions_that_go_together_are_tested_together() -> None:
    met = {pair for name in environments() for pair in combinations(name.split("-"), 2)}
    wanted = {pair for one, other in combinations(VERSIONS, 2) for pair in product(one, other)}
    assert met == wanted - NEVER
