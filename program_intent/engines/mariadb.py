"""MariaDB, where it differs from MySQL."""

from functools import lru_cache
from uuid import UUID

from program_intent.engines.mysql import MySQL


class MariaDB(MySQL):
    WRITER = "QUERY_ID"

    @staticmethod
    @lru_cache(maxsize=4096)
    def why_unstorable(program_uuid: UUID) -> str:
        """Its UUID column holds none with byte 6 >= 0x80 and 0 < byte 8 <= 0x80 (MDEV-29959)."""
        if program_uuid.bytes[6] >= 0x80 and 0 < program_uuid.bytes[8] <= 0x80:
            return f"{program_uuid} cannot be stored: MariaDB's UUID column refuses this variant of UUID."
        return ""
