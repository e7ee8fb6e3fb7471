"""People with a role and a stage."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Stage(models.Model):
    title = models.CharField(max_length=100)


class User(AbstractUser):
    role = models.CharField(max_length=50, blank=True)
    stage = models.ForeignKey(Stage, models.SET_NULL, null=True)
