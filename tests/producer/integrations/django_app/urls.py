"""One page: it makes a stage, and fails afterwards when it is asked to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path


def create(request: HttpRequest) -> HttpResponse:
    from tests.producer.integrations.django_app.models import Stage, User

    stage = Stage.objects.create(title=request.POST["title"], tuteur=User.objects.get(role="tuteur"))
    stage.stagiaires.set(User.objects.filter(role="stagiaire"))
    if "fail" in request.POST:
        raise ValueError("after the save")
    return HttpResponse(str(stage.pk))


urlpatterns = [path("stages/", create)]
