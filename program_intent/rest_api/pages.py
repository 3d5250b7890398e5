"""How long a page is, and the links between pages."""

import re
from typing import Any

from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from program_intent import conf
from program_intent.validation.values import Refused, shown

DEFAULT_LIMIT = 100


def parse_limit(text: str | None) -> int:
    """How many are on a page: as many as one may post, if asked for."""
    most = conf.max_batch_size()
    if text is None:
        return min(DEFAULT_LIMIT, most)
    if re.fullmatch("[1-9][0-9]{0,8}", text, re.A) and int(text) <= most:
        return int(text)
    raise Refused(f"Expected an integer from 1 to {most}, not {shown(text)}.")


def link(request: Request, **changes: Any) -> str:
    """The URL of the request with other values of these parameters."""
    url: str = request.build_absolute_uri()
    for name, value in changes.items():
        url = replace_query_param(url, name, value)
    return url
