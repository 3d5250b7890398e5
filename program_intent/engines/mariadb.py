"""MariaDB, where it differs from MySQL."""

import re
from functools import lru_cache
from uuid import UUID

from django.db.models import CharField, Model, TextField

from program_intent.engines.mysql import MySQL

_KEY = re.compile(r"ELT\(.*?\)")


class MariaDB(MySQL):
    WRITER = "QUERY_ID"

    @staticmethod
    @lru_cache(maxsize=4096)
    def why_unstorable(program_uuid: UUID) -> str:
        """Its UUID column holds none with byte 6 >= 0x80 and 0 < byte 8 <= 0x80 (MDEV-29959)."""
        if program_uuid.bytes[6] >= 0x80 and 0 < program_uuid.bytes[8] <= 0x80:
            return f"{program_uuid} cannot be stored: MariaDB's UUID column refuses this variant of UUID."
        return ""

    @classmethod
    def same_learner(cls, model: type[Model], column: str, key: str = "s.learner_id") -> str:
        """What a subquery answers is kept, and given again for a key that a collation takes for the same: but not where
        it depends on the row."""
        is_same = super().same_learner(model, column, key)
        is_of_a_row = key == "s.learner_id" and isinstance(cls.key_field(model), CharField | TextField)
        return f"{is_same} AND s.position > 0" if is_of_a_row else is_same

    def text(self, template: str, **more: str) -> str:
        """Only constants become of a column's character set by themselves, and a key among the rows is none."""
        key = self.key_field(self.model)
        if "rows" in more and isinstance(key, CharField | TextField):
            of_connection, of_column, collation = self.character_sets(key)
            if of_connection != of_column:
                more["rows"] = _KEY.sub(rf"CONVERT(\g<0> USING {of_column}) COLLATE {collation}", more["rows"])
        return super().text(template, **more)
