"""The shapes of bodies: what is answered, and what the OpenAPI schema says; ``validation`` alone judges input."""

from datetime import UTC
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import ISO_8601, serializers

from program_intent.data import Certainty

CERTAINTIES = [each.value for each in Certainty]
LEARNER_HELP = "The user, named by the host's `LEARNER_LOOKUP_FIELD`: the primary key unless set otherwise."


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
class LearnerField(serializers.Field[Any, Any, Any, Any]):
    """The name of a learner; ``learners`` in the serializer's context maps primary keys to names."""

    def to_representation(self, learner_id: Any) -> Any:
        return self.context["learners"][learner_id]


class MomentField(serializers.DateTimeField):
    """UTC with ``Z``, whatever the host's time zone and ``DATETIME_FORMAT``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format=ISO_8601, default_timezone=UTC, **kwargs)


class ProgramIntentSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    learner = LearnerField(source="learner_id", help_text=LEARNER_HELP)
    program_uuid = serializers.UUIDField()
    reason = serializers.CharField(help_text="Why we believe it.")
    certainty = serializers.ChoiceField(CERTAINTIES, help_text="How sure we are.")
    effective_timestamp = MomentField(help_text="When the event that made the intent happened; UTC.")
    created = MomentField(help_text="When it was written; UTC.")


class NewProgramIntentSerializer(serializers.Serializer[Any]):
    learner = LearnerField(required=False, help_text=f"{LEARNER_HELP} The caller if left out.")
    program_uuid = serializers.UUIDField(help_text="With or without hyphens, in any case.")
    reason = serializers.CharField(
        max_length=64, help_text="Letters, digits and underscores, the first a letter; upper-cased."
    )
    certainty = serializers.ChoiceField(CERTAINTIES)
    effective_timestamp = serializers.DateTimeField(
        required=False, allow_null=True, help_text="With its offset from UTC; now if left out."
    )


class Messages(serializers.ListField):
    child = serializers.CharField()


class ProgramIntentErrorsSerializer(serializers.Serializer[Any]):
    """Field name to messages; `non_field_errors` where the body as a whole is refused."""

    learner = Messages(required=False)
    program_uuid = Messages(required=False)
    reason = Messages(required=False)
    certainty = Messages(required=False)
    effective_timestamp = Messages(required=False)
    non_field_errors = Messages(required=False)


class ProgramIntentOutcomeSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["created", "duplicate", "rejected"])
    intent = ProgramIntentSerializer(allow_null=True, help_text="Null if rejected.")
    # The metaclass collects the field; it does not shadow Serializer.errors.
    errors = ProgramIntentErrorsSerializer(help_text="Empty unless rejected.")  # type: ignore[assignment]


class ProgramIntentBatchSerializer(serializers.Serializer[Any]):
    created = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    rejected = serializers.IntegerField()
    outcomes = ProgramIntentOutcomeSerializer(many=True, help_text="One per row, in the same order.")


class ProgramIntentQueryErrorsSerializer(serializers.Serializer[Any]):
    """Parameter to messages; `non_field_errors` where the query as a whole is refused."""

    learner = Messages(required=False)
    program_uuid = Messages(required=False)
    as_of = Messages(required=False)
    known_at = Messages(required=False)
    non_field_errors = Messages(required=False)


class ProgramIntentDetailSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField()
