"""The page of a learner: all programs with their answers, and the history."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import connections
from django.http import Http404, HttpRequest

from program_intent.api import get_latest_certain_intents
from program_intent.read.history import intents_of, page_of, parse_cursor
from program_intent.read.parameters import read_from
from program_intent.validation.learners import learner_parser
from program_intent.validation.values import Refused

PER_PAGE = 100  # intents of the history
MAX_PROGRAMS = 1000


def learner_context(request: HttpRequest, text: str) -> dict[str, Any]:
    """What the template shows of the learner whose primary key this is, who may be gone.

    :raises Http404: it is no primary key of a user.
    """
    using = read_from()
    try:
        key = learner_parser("pk", connections[using])(text)
    except Refused as refused:
        raise Http404(str(refused)) from None
    user = get_user_model()._base_manager.using(using).filter(pk=key).first()
    intents = intents_of(key, using=using, program_uuids=None)
    recorded = intents.order_by("program_uuid").values_list("program_uuid", flat=True).distinct()[: MAX_PROGRAMS + 1]
    programs = list(recorded)[:MAX_PROGRAMS]
    answers = get_latest_certain_intents(key, program_uuids=programs)
    border = None
    if cursor := request.GET.get("cursor"):
        try:
            border = parse_cursor(cursor, intents)
        except Refused as refused:
            messages.error(request, str(refused))
    return {
        "learner": user if user and user.pk == key else key,  # a collation may take another's key for this one
        "key": key,
        "answers": [(program, answers.get(program)) for program in programs],
        "is_cut": len(recorded) > MAX_PROGRAMS,
        "history": page_of(intents, border=border, limit=PER_PAGE),
    }
