"""The only home of the rules: Python, REST, files and fixtures are all judged here, in the same words.

A rule that a value breaks raises ``Refused``; a ``Judge`` gathers them into one ``InvalidIntent`` per row.
"""

from program_intent.validation.judge import Columns, Judge, NewIntent
from program_intent.validation.learners import (
    Learners,
    _parse_by_field,
    key_field,
    learner_field,
    learner_parser,
    unknown_learner,
)
from program_intent.validation.times import parse_timestamp
from program_intent.validation.values import (
    REQUIRED,
    Refused,
    fits_mariadb,
    is_mariadb,
    parse_certainty,
    parse_reason,
    parse_uuid,
    shown,
    uuid_parser,
)

__all__ = [
    "REQUIRED",
    "Columns",
    "Judge",
    "Learners",
    "NewIntent",
    "Refused",
    "_parse_by_field",
    "fits_mariadb",
    "is_mariadb",
    "key_field",
    "learner_field",
    "learner_parser",
    "parse_certainty",
    "parse_reason",
    "parse_timestamp",
    "parse_uuid",
    "shown",
    "unknown_learner",
    "uuid_parser",
]
