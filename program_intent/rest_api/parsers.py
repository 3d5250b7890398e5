"""DRF's parsers, for which any body ends in values or in an error that tells the client what is wrong."""

import codecs
import io
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import parsers
from rest_framework.exceptions import ParseError, UnsupportedMediaType


class _SafeParser(parsers.BaseParser):
    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        assert parser_context  # from DRF's Request, always
        # Some of Python's codecs, zlib and idna among them, fail in ways that neither Django nor DRF catches.
        if codecs.lookup(parser_context["encoding"]).name != "utf-8":
            raise UnsupportedMediaType(str(media_type), "Expected the charset utf-8 or none.")
        # Not the stream: DRF before 3.18 reads past DATA_UPLOAD_MAX_MEMORY_SIZE there.
        body = io.BytesIO(parser_context["request"].body)
        try:
            return super().parse(body, media_type, parser_context)
        except RecursionError:
            raise ParseError("Parse error - nested too deeply.") from None


class JSONParser(_SafeParser, parsers.JSONParser):
    """One intent, or an array of them."""


class FormParser(_SafeParser, parsers.FormParser):
    """One intent."""


class MultiPartParser(_SafeParser, parsers.MultiPartParser):
    """One intent."""
