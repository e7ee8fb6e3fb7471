"""The application's own models."""

from __future__ import annotations

import uuid

from django.db import models


class User(models.Model):
    username = models.CharField(max_length=100)
    role = models.CharField(max_length=20)
    is_active = models.BooleanField(default=True)

    class Meta:
        app_label = "django_app"


class Stage(models.Model):
    title = models.CharField(max_length=100, unique=True)
    status = models.CharField(max_length=20, default="en_cours")
    views = models.IntegerField(default=0)
    tuteur = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    stagiaires = models.ManyToManyField(User)

    class Meta:
        app_label = "django_app"


class Document(models.Model):
    title = models.CharField(max_length=100)
    stage = models.ForeignKey(Stage, models.CASCADE)

    class Meta:
        app_label = "django_app"


class Report(Document):
    """Of a subclass: watched with its base."""

    pages = models.IntegerField(default=0)

    class Meta:
        app_label = "django_app"


class Team(models.Model):
    """Of a key that is no number."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    people = models.ManyToManyField(User)

    class Meta:
        app_label = "django_app"
