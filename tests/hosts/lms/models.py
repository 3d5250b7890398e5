from django.conf import settings
from django.db import models


class RetirementState(models.Model):
    state_name = models.CharField(max_length=30, unique=True)

    def __str__(self) -> str:
        return self.state_name


class UserRetirementStatus(models.Model):
    # Without a constraint: the table is made before those of apps with migrations.
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False)
    original_username = models.CharField(max_length=150)
    original_email = models.EmailField()
    current_state = models.ForeignKey(RetirementState, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return self.original_username
