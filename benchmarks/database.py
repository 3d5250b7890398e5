"""A fresh database of its own, with as many users as a report has learners."""

from pathlib import Path

from django.core.management import call_command
from django.db import connection, connections

TABLE = "program_intent_programintent"
_USER_COLUMNS = "password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined, id"
_USERS = {
    "postgresql": "SELECT '', false, 'u' || n, '', '', '', false, true, now(), n FROM generate_series(1, %s) n",
    "sqlite": (
        "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %s)"
        " SELECT '', 0, 'u' || n, '', '', '', 0, 1, '2020-01-01 00:00:00', n FROM s"
    ),
    "mysql": "SELECT '', 0, CONCAT('u', seq), '', '', '', 0, 1, NOW(), seq FROM seq_1_to_{0}",
}


def create(users: int) -> None:
    """Drop and create the database, migrate, and insert the users."""
    settings, name = connection.settings_dict, connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        connections.close_all()
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)
    else:
        connection.close()
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            collation = settings["TEST"].get("COLLATION")
            cursor.execute(f"CREATE DATABASE {name}" + (f" COLLATE {collation}" if collation else ""))
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        select = _USERS[connection.vendor].format(users)
        cursor.execute(f"INSERT INTO auth_user ({_USER_COLUMNS}) {select}", [users] if "%s" in select else [])
    analyze()


def empty() -> None:
    """The table as it was created; its file shrinks too."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"DELETE FROM {TABLE}")
            cursor.execute("VACUUM")
        else:
            cursor.execute(f"TRUNCATE TABLE {TABLE}")


def analyze() -> None:
    with connection.cursor() as cursor:
        for table in ("auth_user", TABLE):
            cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")


def vacuum() -> None:
    """What PostgreSQL does by itself some time after a load."""
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM {TABLE}")
