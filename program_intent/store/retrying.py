"""Transactions that are done again, and connections that are made anew, where this may help."""

import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from django.db import DatabaseError, connections, transaction

from program_intent import engines

T = TypeVar("T")
_ATTEMPTS = 8


def drop_lost_connection(using: str) -> None:
    """So that the next statement opens another; not inside the caller's transaction, which would be lost."""
    connection = connections[using]
    if connection.autocommit and not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def retrying(using: str, work: Callable[[], T], *, is_one_statement: bool = False) -> T:
    """Do the work in a transaction, again after a deadlock or serialization failure.

    Work that writes in one statement gets no transaction around it, which would cost it two round trips.
    Inside the caller's transaction it is done once, and such a failure is raised: only the caller can start again.
    """
    if not connections[using].get_autocommit():
        return work()
    attempt = 0
    while True:
        attempt += 1
        try:
            with nullcontext() if is_one_statement else transaction.atomic(using=using):
                return work()
        except DatabaseError as error:
            if attempt == _ATTEMPTS or not engines.kind(connections[using]).is_transient(error):
                raise
            time.sleep(random.uniform(0, 0.01 * 2**attempt))
