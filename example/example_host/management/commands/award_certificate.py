from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Say on the event bus that a learner was awarded the certificate of a program, as openedx/credentials does."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("learner", type=int, help="a primary key")
        parser.add_argument("program", help="a UUID")

    def handle(self, *, learner: int, program: str, **options: Any) -> None:
        from edx_event_bus_redis import create_producer
        from openedx_events.learning.data import ProgramCertificateData, ProgramData, UserData, UserPersonalData
        from openedx_events.learning.signals import PROGRAM_CERTIFICATE_AWARDED

        person = UserPersonalData(username=f"learner-{learner}", email="learner@example.org", name="A Learner")
        certificate = ProgramCertificateData(
            user=UserData(pii=person, id=learner, is_active=True),
            program=ProgramData(uuid=program, title="A program", program_type="MicroMasters"),
            uuid="ec9e51e5-3b3b-4a3b-8f3b-3b3b3b3b3b3b",
            status="awarded",
            url="https://credentials.example.org/",
        )
        create_producer().send(
            signal=PROGRAM_CERTIFICATE_AWARDED,
            topic="certificates",
            event_key_field="program_certificate.program.uuid",
            event_data={"program_certificate": certificate},
            event_metadata=PROGRAM_CERTIFICATE_AWARDED.generate_signal_metadata(),
        )
        self.stdout.write(f"On the bus: learner {learner} was awarded the certificate of {program}.")
