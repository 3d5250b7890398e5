"""Who was erased, for those who keep copies."""

from datetime import UTC, datetime

from program_intent.data import Erasure
from program_intent.models import ErasedLearner


def erasures(*, since: datetime | None, using: str) -> list[Erasure]:
    found = ErasedLearner.objects.using(using).order_by("erased", "pk")
    if since is not None:
        found = found.filter(erased__gte=since)
    return [
        Erasure(key, intents, until and until.astimezone(UTC))
        for key, intents, until in found.values_list("pk", "intents", "key_until")
    ]
