"""The shapes of bodies: what is answered, and what the OpenAPI schema says; ``validation`` alone judges input."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from program_intent.data import FIELDS, Certainty, Clause, Intent, RunKind, in_json, in_utc

CERTAINTIES = [each.value for each in Certainty]
CLAUSES = [each.value for each in Clause]
RUN_KINDS = [each.value for each in RunKind]
LEARNER_HELP = "The user, named by the host's `LEARNER_LOOKUP_FIELD`: the primary key unless set otherwise."


# A schema of our own would be changed in place by drf-spectacular 0.28.
@extend_schema_field(int | str)  # type: ignore[arg-type]  # it takes any type hint
class LearnerField(serializers.Field[Any, Any, Any, Any]):
    """The name of a learner, None if there is none; ``learners`` in the context has the names by primary key."""

    def to_representation(self, learner_id: Any) -> Any:
        return in_json(self.context["learners"].get(learner_id))


@extend_schema_field(int | str)  # type: ignore[arg-type]
class LearnerKeyField(serializers.Field[Any, Any, Any, Any]):
    """The primary key of a learner, whose user may be gone."""

    def __init__(self) -> None:
        super().__init__(help_text="The user's primary key, by which erasures name the learner too.")

    def to_representation(self, learner_id: Any) -> Any:
        return in_json(learner_id)


class EnumField(serializers.ChoiceField):
    """Choices under a name of their own in the schema: by the field's name, a host's ``status`` would collide."""

    def __init__(self, name: str, choices: list[str], **kwargs: Any) -> None:
        super().__init__(choices, **kwargs)
        extend_schema_field({"type": "string", "enum": choices}, component_name=name)(self)  # type: ignore[type-var]


class MomentField(serializers.DateTimeField):
    def to_representation(self, moment: datetime) -> str:
        return in_utc(moment)


class ProgramIntentSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    learner = LearnerField(source="learner_id", allow_null=True, help_text=f"{LEARNER_HELP} Null if there is none.")
    program_uuid = serializers.UUIDField()
    reason = serializers.CharField(help_text="Why we believe it.")
    certainty = EnumField("ProgramIntentCertainty", CERTAINTIES, help_text="How sure we are.")
    effective_timestamp = MomentField(help_text="When the event that made the intent happened; UTC.")
    created = MomentField(help_text="When it was written; UTC.")

    def to_representation(self, intent: Intent) -> dict[str, Any]:
        """As the fields say, without them: Django REST framework copies all seven for each answer, which cost 5 times
        as much as the answer for a learner with 5 programs.
        """
        return {
            "id": intent.id,
            "learner": in_json(self.context["learners"].get(intent.learner_id)),
            "program_uuid": str(intent.program_uuid),
            "reason": intent.reason,
            "certainty": intent.certainty.value,
            "effective_timestamp": in_utc(intent.effective_timestamp),
            "created": in_utc(intent.created),
        }


class NewProgramIntentSerializer(serializers.Serializer[Any]):
    learner = LearnerField(required=False, help_text=f"{LEARNER_HELP} The caller if left out.")
    program_uuid = serializers.UUIDField(help_text="With or without hyphens, in any case.")
    reason = serializers.CharField(
        max_length=64, help_text="Letters, digits and underscores, the first a letter; upper-cased."
    )
    certainty = EnumField("ProgramIntentCertainty", CERTAINTIES)
    effective_timestamp = serializers.DateTimeField(
        required=False, allow_null=True, help_text="With its offset from UTC; now if left out."
    )


class Messages(serializers.ListField):
    child = serializers.CharField()


class ErrorsSerializer(serializers.Serializer[Any]):
    names: tuple[str, ...]

    def get_fields(self) -> "dict[str, serializers.Field[Any, Any, Any, Any]]":
        return {name: Messages(required=False) for name in (*self.names, "non_field_errors")}

    def to_representation(self, errors: Mapping[str, list[str]]) -> dict[str, Any]:
        """Whole: under the name of an unknown key too."""
        return dict(errors)


class ProgramIntentErrorsSerializer(ErrorsSerializer):
    """Field name to messages, also of an unknown one; `non_field_errors` where the body as a whole is refused."""

    names = FIELDS


class ProgramIntentOutcomeSerializer(serializers.Serializer[Any]):
    status = EnumField("ProgramIntentOutcomeStatus", ["created", "duplicate", "rejected"])
    intent = ProgramIntentSerializer(allow_null=True, help_text="Null if rejected.")
    # The metaclass collects the field; it does not shadow Serializer.errors.
    errors = ProgramIntentErrorsSerializer(help_text="Empty unless rejected.")  # type: ignore[assignment]


class ProgramIntentBatchSerializer(serializers.Serializer[Any]):
    created = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    rejected = serializers.IntegerField()
    outcomes = ProgramIntentOutcomeSerializer(many=True, help_text="One per row, in the same order.")


class ProgramIntentHistorySerializer(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True, help_text="The page of older intents; null if there is none.")
    previous = serializers.URLField(allow_null=True, help_text="The page of newer intents; null if there is none.")
    results = ProgramIntentSerializer(many=True)


class ProgramIntentPageSerializer(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True, help_text="The next page; null if there is none.")
    results = ProgramIntentSerializer(many=True, help_text="At most one per learner.")


class ProgramIntentCountsSerializer(serializers.Serializer[Any]):
    CERTAIN_YES = serializers.IntegerField()
    CERTAIN_NO = serializers.IntegerField()
    MAYBE = serializers.IntegerField()


class UnchosenProgramIntentSerializer(serializers.Serializer[Any]):
    intent = ProgramIntentSerializer()
    clause = EnumField("ProgramIntentClause", CLAUSES)
    words = serializers.CharField(source="clause.words", help_text="The clause, for people.")


class ProgramIntentRunSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = EnumField("ProgramIntentRunKind", RUN_KINDS)
    started = MomentField(help_text="UTC.")
    source = serializers.CharField(  # type: ignore[assignment]  # the metaclass collects it
        allow_null=True, help_text="The source or topic, or the names of the files; null without `view_run`."
    )
    by = serializers.CharField(allow_null=True, help_text="Who started it; null without `view_run`.")


class ProgramIntentExplanationSerializer(serializers.Serializer[Any]):
    learner = LearnerField(source="learner_id", allow_null=True, help_text=f"{LEARNER_HELP} Null if there is none.")
    program_uuid = serializers.UUIDField()
    as_of = MomentField(help_text="Now, if it was left out; UTC.")
    known_at = MomentField(allow_null=True, help_text="UTC; null if it was left out.")
    winner = ProgramIntentSerializer(allow_null=True, help_text="Null if no intent counts.")
    lost = UnchosenProgramIntentSerializer(
        many=True,
        help_text="What counts, in the order of the rule, and by which clause it is not the answer; the first"
        " `MAX_BATCH_SIZE`.",
    )
    lost_left_out = serializers.IntegerField(help_text="How many more lost.")
    not_counted = UnchosenProgramIntentSerializer(
        many=True, help_text="What is not yet true or not yet known; newest first; the first `MAX_BATCH_SIZE`."
    )
    not_counted_left_out = serializers.IntegerField(help_text="How many more do not count.")
    runs = serializers.DictField(
        child=ProgramIntentRunSerializer(), help_text="By an intent's `id`, which run brought it; none if none did."
    )


class ProgramIntentQuerySerializer(serializers.Serializer[Any]):
    learners = serializers.ListField(child=LearnerField(), help_text=LEARNER_HELP)
    program_uuids = serializers.ListField(
        child=serializers.UUIDField(), required=False, allow_null=True, help_text="Only these; all if left out."
    )
    as_of = serializers.DateTimeField(required=False, allow_null=True, help_text="Now if left out.")
    known_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Everything if left out.")


class ProgramIntentsOfLearnerSerializer(serializers.Serializer[Any]):
    learner = LearnerField(source="learner_id", help_text=LEARNER_HELP)
    intents = ProgramIntentSerializer(many=True, help_text="One per program, ordered by `program_uuid`.")


class ProgramIntentChangeSerializer(ProgramIntentSerializer):
    learner_id = LearnerKeyField()

    def to_representation(self, intent: Intent) -> dict[str, Any]:
        return {**super().to_representation(intent), "learner_id": in_json(intent.learner_id)}


class ProgramIntentChangesSerializer(serializers.Serializer[Any]):
    intents = ProgramIntentChangeSerializer(many=True)
    cursor = serializers.CharField(help_text="What to give as `after` for what follows.")


class ProgramIntentErasureSerializer(serializers.Serializer[Any]):
    learner_id = LearnerKeyField()
    until = MomentField(allow_null=True, help_text="Drop and refuse what was in effect by then; UTC. Null: all.")


class ProgramIntentRetirementSerializer(serializers.Serializer[Any]):
    """One of them at least; together they name one learner."""

    learner = LearnerField(required=False, help_text=LEARNER_HELP)
    edx_lms_user_id = LearnerField(required=False, help_text="As `lms_user_id`.")
    lms_user_id = LearnerField(
        required=False, help_text="The user model's field of that name; the primary key where it has none."
    )
    username = serializers.CharField(required=False, help_text="What the user is called, or was.")
    original_username = serializers.CharField(required=False, help_text="As `username`.")


class ProgramIntentRetirementErrorsSerializer(ErrorsSerializer):
    """Key to messages, also of an unknown one; `non_field_errors` where the body as a whole is refused."""

    names = tuple(ProgramIntentRetirementSerializer().fields)


class ProgramIntentDetailSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField()
