"""A host that names tables otherwise, as hosts do that share one schema."""

from typing import Any

from django.db.models.signals import class_prepared

# What Django itself can use on every database; on none a percent sign.
PREFIX = "PI_my-app.{0}it's_"


def rename(sender: Any, **kwargs: Any) -> None:
    sender._meta.db_table = f"{PREFIX}{sender._meta.db_table}"


class_prepared.connect(rename)
