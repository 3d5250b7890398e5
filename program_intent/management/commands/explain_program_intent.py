"""``manage.py explain_program_intent``: a learner and a program in, the explanation out."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import router

from program_intent import api, conf
from program_intent.exceptions import InvalidIntent
from program_intent.management import outputs
from program_intent.management.options import add_moments, in_one_line
from program_intent.models import ProgramIntent
from program_intent.validation.learners import Learners
from program_intent.validation.values import Refused


class Command(BaseCommand):
    help = "Explain a learner's latest and most certain intent for a program: what won, what lost, what is not counted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("learner", metavar="LEARNER", help="The learner, named by LEARNER_LOOKUP_FIELD.")
        parser.add_argument("program_uuid", metavar="PROGRAM_UUID", help="The program.")
        add_moments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with in_one_line():
            explanation = api.explain_latest_certain_intent(
                _key(options["learner"]),
                options["program_uuid"],
                as_of=options["as_of"],
                known_at=options["known_at"],
            )
            outputs.tell(self.stdout, str(explanation))


def _key(learner: str) -> Any:
    try:
        return Learners(conf.learner_lookup_field(), router.db_for_read(ProgramIntent)).key(learner)[1]
    except Refused as refused:
        raise InvalidIntent({"learner": [str(refused)]}) from refused
