"""The record, and the doors that keep it append-only."""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from django.conf import settings
from django.db import connections, models, router
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from model_utils.fields import AutoCreatedField

from program_intent import engines
from program_intent.data import Certainty, Intent
from program_intent.engines.generic import Prepared
from program_intent.exceptions import AppendOnlyError, InvalidIntent, printable
from program_intent.models.fields import CodePointCharField
from program_intent.models.run import Run
from program_intent.validation.judge import Judge, NewIntent
from program_intent.validation.learners import unknown_learner
from program_intent.validation.times import is_told, parse_timestamp
from program_intent.validation.values import Refused, shown

# All but the primary key.
_CARRIED = (*Intent.__match_args__[1:], "run_id")


class ProgramIntentQuerySet(models.QuerySet["ProgramIntent"]):
    """Reads as any queryset; whatever would change, drop or bypass the judging of rows is refused.

    Deleting a user still takes the learner's intents along: Django's cascade uses ``_raw_delete``.
    """

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("update()")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("bulk_update()")

    def delete(self) -> NoReturn:
        raise AppendOnlyError("delete()")

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError(
            "bulk_create() (it would skip the checks; use program_intent.api.record_intents)",
        )

    # As in Django: no manager.delete(), so that nobody deletes a table by a slip.
    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]
    update.alters_data = True  # type: ignore[attr-defined]


class ProgramIntent(models.Model):
    """What a learner means to do about a program, why we believe it, how sure we are, and since when.

    The learner key has no database constraint and no index of its own: both engines lock the parent row for every child
    inserted, which would block logins during a load (docs/decisions/0001).

    .. pii: links a learner to the programs they mean to complete; goes with the user, and where the user's row stays
        by erase_learner, which a retirement calls
    .. pii_types: id
    .. pii_retirement: local_api
    """

    id = models.BigAutoField(primary_key=True)
    learner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="program_intents",
        help_text=_("The user whose intent this is."),
    )
    program_uuid = models.UUIDField(_("program UUID"))
    reason = CodePointCharField(max_length=64, help_text=_("Why we believe it, e.g. BUNDLE_PURCHASE."))
    certainty = models.CharField(max_length=11, choices=[(each.value, each.value) for each in Certainty])
    effective_timestamp = models.DateTimeField(help_text=_("When the event that made the intent happened."))
    created = AutoCreatedField(help_text=_("When it was written; one batch shares one value."))
    run = models.ForeignKey(
        Run,
        on_delete=models.PROTECT,
        null=True,
        editable=False,
        db_constraint=False,
        db_index=False,
        related_name="program_intents",
        help_text=_("Which load, sync or consumer brought it; none where an application or REST did."),
    )

    objects = models.Manager.from_queryset(ProgramIntentQuerySet)()

    class Meta:
        # So that _base_manager, which related managers and save() use, has the same closed doors.
        base_manager_name = "objects"
        default_permissions = ("add", "view")
        verbose_name = _("program intent")
        constraints = [
            # "Once", and the read of one learner: every intent of a program lies together, by certainty and time.
            models.UniqueConstraint(
                fields=["learner", "program_uuid", "certainty", "effective_timestamp", "reason"],
                name="program_intent_once",
            ),
            models.CheckConstraint(
                condition=models.Q(certainty__in=[each.value for each in Certainty]),
                name="program_intent_certainty",
            ),
        ]
        indexes = [
            # The read of one program: its learners in order.
            models.Index(
                fields=["program_uuid", "learner", "certainty", "effective_timestamp"],
                name="program_intent_program",
            ),
        ]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        pre_save.connect(admit_from_fixture, sender=cls)

    def __str__(self) -> str:
        """Nothing of the intent: Django shows this to whoever may delete the learner, and logs it."""
        return f"#{self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuse at once what Django would pass over or refuse in words of its own; see ``save_base``."""
        if not self._state.adding:
            raise AppendOnlyError("save() of a stored intent")
        learner = self._named_learner()
        if learner is None or (isinstance(learner, models.Model) and learner.pk is None):
            self._judged(router.db_for_write(type(self), instance=self))
        super().save(*args, **kwargs)

    def save_base(  # type: ignore[override]  # always by keyword, and the rest is passed on
        self, raw: bool = False, using: str | None = None, **kwargs: Any
    ) -> None:
        """Insert a new row, judged like every other door; a stored row is refused.

        It is written now and brought by no run, whatever it carries, but where it is raw: ``admit_from_fixture``.

        :raises AppendOnlyError: the row, or another with this primary key, is stored already.
        :raises InvalidIntent: a value is refused, or the learner does not exist.
        :raises django.db.IntegrityError: the same intent is stored already, as for any unique row in Django.
        """
        using = using or router.db_for_write(type(self), instance=self)
        if not raw:
            self._admit(using)
            # Of this class, or a child's parent row would be updated.
            kwargs |= {"force_insert": (ProgramIntent,), "update_fields": None}
        super().save_base(raw=raw, using=using, **kwargs)

    def _admit(self, using: str) -> None:
        self._refuse_stored(using)
        judged = self._judged(using)
        if _is_found(judged, using, engine_of(using).refused):
            raise InvalidIntent({"learner": [unknown_learner(judged.learner)]})
        self._carry((*judged, timezone.now(), None))

    def _admit_from_fixture(self, using: str) -> None:
        try:
            created = parse_timestamp(self.created)
        except Refused as refusal:
            raise InvalidIntent({"created": [str(refusal)]}) from None
        judged = self._judged(using)
        if _is_found(judged, using, engine_of(using).erased):
            raise InvalidIntent(
                {"learner": [f"The learner {shown(judged.learner)} was erased with what was in effect then."]}
            )
        told = (*judged, created, self.run_id)
        stored = ProgramIntent._base_manager.using(using).filter(pk=self.pk).values_list(*_CARRIED).first()
        if stored and not all(map(is_told, stored, told)):
            raise AppendOnlyError("save() of a stored intent")
        self._carry(stored or told)

    def _refuse_stored(self, using: str) -> None:
        link: Any = self._meta.get_ancestor_link(ProgramIntent)  # of a child, which may carry its key there alone
        keys = [key for key in (self.id, link and getattr(self, link.attname)) if key is not None]
        if not self._state.adding or ProgramIntent._base_manager.using(using).filter(pk__in=keys).exists():
            raise AppendOnlyError("save() of a stored intent")

    def _judged(self, using: str) -> NewIntent:
        values = (self._named_learner(), self.program_uuid, self.reason, self.certainty, self.effective_timestamp)
        return Judge(connections[using])(values)

    def _named_learner(self) -> Any:
        """The primary key, or a user who had none when they were named."""
        key: Any = self.learner_id
        return self._state.fields_cache.get("learner") if key is None else key

    def _carry(self, values: Iterable[Any]) -> None:
        for name, value in zip(_CARRIED, values, strict=True):
            setattr(self, name, value)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("delete()")


def engine_of(using: str) -> engines.Engine:
    """How the record is stored and read in a database; for the thread that asks."""
    return engines.of(connections[using], ProgramIntent)


def spelled_out(model: type[models.Model], name: str, text: str, using: str) -> str:
    """The text, with what nobody can read, or the column cannot spell, spelled out, up to what the column holds."""
    text = printable(text)
    field: Any = model._meta.get_field(name)
    if not engine_of(using).can_spell(field, text):
        text = text.encode("ascii", "backslashreplace").decode()
    return text[: field.max_length]


def _is_found(judged: NewIntent, using: str, find: Callable[[Prepared], set[int]]) -> bool:
    engine = engine_of(using)
    return bool(find(engine.prepare(list(engine.speller()(*([value] for value in judged))))))


@receiver(pre_save, sender=ProgramIntent)
def admit_from_fixture(instance: ProgramIntent, raw: bool, using: str, **kwargs: Any) -> None:
    """Judge a fixture's row, also a proxy's, because fixtures call Django's ``Model.save_base`` past ours.

    They say when it was written. A stored row that is told as it is stays, and passes. Users may come later in the
    same file, so there alone the learner is not looked up. A child's fixture brings the child's own columns alone, and
    its parent's row apart.
    """
    if raw and instance._meta.concrete_model is ProgramIntent:
        instance._admit_from_fixture(using)
