"""What ``make test`` says of an engine that it leaves out."""

import sys
from typing import Any

import pytest

import test_settings
from tests import run_engines

ON_ONE_ENGINE = pytest.mark.skipif(test_settings.ENGINE != "sqlite", reason="the same whichever engine is tested")
WHAT_TO_INSTALL = "install gcc, pkg-config and libmariadb-dev, and run make test again"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that would be tested, on a machine where mysqlclient could not be built."""
    engines: list[str] = []

    def run(engine: str, arguments: list[str]) -> Any:
        engines.append(engine)
        return run_engines.Run(engine, "", exit_status=0, passed=1, failed=0, skipped=0, seconds=0)

    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    monkeypatch.setattr(run_engines, "run", run)
    return engines


@ON_ONE_ENGINE
def test_the_last_lines_say_which_engines_were_not_tested_and_how_to(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ENGINES", raising=False)
    assert run_engines.main() == 0
    assert "sqlite" in ran
    assert "mariadb" not in ran
    told = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split(":")[0] for line in told] == ["mariadb", "mysql"]
    assert all(": not tested, " in line and line.endswith(WHAT_TO_INSTALL) for line in told)


@ON_ONE_ENGINE
def test_an_engine_that_is_demanded_and_missing_fails_the_run(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGINES", "sqlite mariadb")
    assert (run_engines.main(), ran) == (1, [])
    assert capsys.readouterr().err.endswith(f"{WHAT_TO_INSTALL}\n")
