"""The page of a learner: all programs with their answers, and the history; and the one that asks before they are
forgotten."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Count, Max
from django.http import Http404, HttpRequest
from django.utils import timezone

from program_intent.api import get_latest_certain_intents
from program_intent.intake.refused import count_naming
from program_intent.models import ErasedLearner
from program_intent.read.history import intents_of, page_of, parse_cursor
from program_intent.read.parameters import read_from, written_to
from program_intent.validation.learners import learner_parser
from program_intent.validation.values import Refused

PER_PAGE = 100  # intents of the history
MAX_PROGRAMS = 1000


def learner_context(request: HttpRequest, text: str) -> dict[str, Any]:
    """What the template shows of the learner whose primary key this is, who may be gone.

    :raises Http404: it is no primary key of a user.
    """
    using = read_from()
    key = key_of(text, using)
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
        **_named(key, using),
        "answers": [(program, answers.get(program)) for program in programs],
        "is_cut": len(recorded) > MAX_PROGRAMS,
        "history": page_of(intents, border=border, limit=PER_PAGE),
    }


def forget_context(key: Any) -> dict[str, Any]:
    """What the template shows of what goes where a learner is forgotten, and until when they will be refused."""
    using = written_to()
    intents = intents_of(key, using=using, program_uuids=None)
    going = intents.aggregate(number=Count("pk"), last=Max("effective_timestamp"))
    before = ErasedLearner.objects.using(using).filter(pk=key).first()
    untils = [going["last"], before and before.key_until]
    return {
        **_named(key, using),
        "intents": going["number"],
        "rejected": count_naming(key, using=using),
        "is_for_ever": before and before.key_until is None,
        "until": max((each for each in untils if each and each > timezone.now()), default=None),
    }


def page_name(opts: Any, page: str) -> str:
    """What a page of a model's admin is called, as by Django and its ``admin_urlname``."""
    return f"{opts.app_label}_{opts.model_name}_{page}"


def key_of(text: str, using: str) -> Any:
    """The primary key that a part of an address means.

    :raises Http404: it is no primary key of a user.
    """
    try:
        return learner_parser("pk", connections[using])(text)
    except Refused as refused:
        raise Http404(str(refused)) from None


def _named(key: Any, using: str) -> dict[str, Any]:
    user = get_user_model()._base_manager.using(using).filter(pk=key).first()
    # A collation may take another's key for this one.
    return {"learner": user if user and user.pk == key else key, "key": key}
