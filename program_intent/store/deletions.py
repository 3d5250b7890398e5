"""The deletion of a user is an erasure: Django's cascade takes the intents, and here they are kept from coming back."""

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.db.models.signals import class_prepared, pre_delete

from program_intent.store.erase import note_deletion


def connect() -> None:
    """Listen to users alone, for a model that somebody listens to is no longer deleted in one statement."""
    for model in apps.get_models():
        _listen_to_users(model)
    class_prepared.connect(_listen_to_users)  # a proxy may come later, in an admin.py


def _listen_to_users(sender: type[Model], **kwargs: Any) -> None:
    if sender._meta.concrete_model is get_user_model()._meta.concrete_model:  # itself, and its proxies
        pre_delete.connect(note, sender=sender, dispatch_uid=("program_intent", sender))


def note(*, instance: Any, using: str, **kwargs: Any) -> None:
    # As users have it, and not as whoever made the instance from a key spelled it.
    note_deletion(instance._meta.pk.to_python(instance.pk), using=using)
