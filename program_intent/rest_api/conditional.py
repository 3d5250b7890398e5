"""Whether a client still has the answer that it would get (RFC 9110, section 13)."""

import hashlib
from collections.abc import Iterable

from django.utils.http import parse_etags
from rest_framework.exceptions import APIException
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request

from program_intent import __version__
from program_intent.data import Intent


class PreconditionFailed(APIException):
    status_code = 412
    default_detail = "Expected If-None-Match: the ETag is weak, so If-Match never holds."
    default_code = "precondition_failed"


def headers(request: Request, learner: object, intents: Iterable[Intent]) -> dict[str, str]:
    """What tells this answer from any other that the same URL may give.

    An intent never changes, so the keys of the intents stand for all of them. The tag is weak, because the bytes depend
    on the host's renderers too. A page for people has none: it shows more than the answer.
    """
    if isinstance(request.accepted_renderer, BrowsableAPIRenderer):
        return {}
    keys = [intent.id for intent in intents]
    answer = repr((__version__, request.accepted_media_type, learner, keys))
    return {"ETag": f'W/"{hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()[:32]}"'}


def is_current(request: Request, etag: str | None) -> bool:
    """Whether the client has named the answer that it would get.

    :raises PreconditionFailed: it asks for one that is the same byte by byte.
    """
    if etag is None:
        return False
    if parse_etags(request.headers.get("If-Match", "")) not in ([], ["*"]):
        raise PreconditionFailed
    held = parse_etags(request.headers.get("If-None-Match", ""))
    return held == ["*"] or etag in held or etag.removeprefix("W/") in held
