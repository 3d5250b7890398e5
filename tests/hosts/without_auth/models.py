from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models


class Learner(AbstractBaseUser):
    key = models.CharField(primary_key=True, max_length=20)
    username = models.CharField(max_length=20, unique=True)

    USERNAME_FIELD = "username"
