import csv
import gzip
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Create the learners that a report names by primary key, and the superuser admin (password admin)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("report", help="a gzipped CSV file with the column learner")

    def handle(self, *, report: str, **options: Any) -> None:
        with gzip.open(report, "rt", encoding="utf-8", newline="") as file:
            learners = sorted({int(row["learner"]) for row in csv.DictReader(file)})
        User.objects.bulk_create(
            User(pk=learner, username=f"learner-{learner}", password=make_password(None)) for learner in learners
        )
        User.objects.create_superuser("admin", password="admin")
        self.stdout.write(f"Created {len(learners):,} learners, and the superuser admin (password admin).")
