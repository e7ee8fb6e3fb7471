"""The application's own models."""

from __future__ import annotations

from django.db import models


class Employee(models.Model):
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=20)

    class Meta:
        app_label = "django_app"


class Stage(models.Model):
    title = models.CharField(max_length=100, unique=True)
    status = models.CharField(max_length=20, default="en_cours")
    views = models.IntegerField(default=0)
    tuteur = models.ForeignKey(Employee, models.SET_NULL, null=True, related_name="+")
    stagiaires = models.ManyToManyField(Employee)

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
