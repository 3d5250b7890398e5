"""One module per kind of database, one contract: judged rows in, what became of them out.

``CHUNK``
    How many rows one statement takes at most.
``speller(connection)``
    A function that gives judged rows, as five columns, the form in which this database stores them: equal rows,
    equal forms.
``prepare(rows, connection, *, all_new)``
    Rows of that form as the calls below take them, faster to store if ``all_new`` is what turns out to be true; neither
    of the two touches the database.
``insert(connection, prepared, created)``
    Store the rows that are new and whose learner exists; the primary keys given to them.
``count_inserted(connection, prepared, created)``
    The same, and only how many there were, with the positions of the rows that were refused: whose learner was no user
    when they were to be inserted, whatever has become of that since.
``stored(connection, prepared)``
    The rows that are stored: position among the rows, primary key, created.
``unknown(connection, prepared)``
    The positions of the rows that are not stored and whose learner is no user.

Rows are distinct, sorted and at least one: sorted, neighbours go to the same page of an index, and overlapping batches
lock in one order, which no collation changes. Nothing here judges, retries or reads settings.
"""

from types import ModuleType

from django.db.backends.base.base import BaseDatabaseWrapper

from program_intent.bulk import generic, mysql, postgresql, sqlite

_MODULES = {"postgresql": postgresql, "sqlite": sqlite, "mysql": mysql}


def for_connection(connection: BaseDatabaseWrapper) -> ModuleType:
    """The module for this connection's database; Django's ORM serves the ones not named."""
    return _MODULES.get(connection.vendor, generic)
