"""The processes fit together: every task has a door and a queue, every queue somebody who listens."""

from __future__ import annotations

import re
import subprocess

import pytest

import celeryconfig
from shared import tasks as names
from tests.system import ROOT
from workers.app import app
from workers.delivery.claiming import LEASE_SECONDS
from workers.delivery.email import EmailChannel
from workers.delivery.turn import HARD_LIMIT_SECONDS, SOFT_LIMIT_SECONDS, TURN_SECONDS
from workers.delivery.webhook import WebhookChannel

TASKS = {
    value
    for name, value in vars(names).items()
    if name.isupper() and isinstance(value, str) and value.startswith("workers.")
}


def test_every_task_name_has_a_door_and_a_queue() -> None:
    app.loader.import_default_modules()
    assert {name for name in app.tasks if name.startswith("workers.")} == TASKS
    assert set(names.QUEUE_OF) == TASKS


def test_some_process_of_the_procfile_listens_to_every_queue() -> None:
    heard = {
        queue
        for queues in re.findall(r"--queues (\S+)", (ROOT / "Procfile").read_text())
        for queue in queues.split(",")
    }
    assert heard == set(names.QUEUE_OF.values())


def test_beat_rings_only_doors_that_exist_and_lets_its_messages_expire() -> None:
    for entry in celeryconfig.beat_schedule.values():
        assert entry["task"] in TASKS
        assert entry["options"]["expires"] <= entry["schedule"]


def test_beat_runs_and_cleans_up_once_an_hour() -> None:
    assert re.search(r"^beat: celery .*--app workers\.app beat ", (ROOT / "Procfile").read_text(), re.MULTILINE)
    assert celeryconfig.beat_schedule["clean-up"]["task"] == names.CLEAN_UP
    assert celeryconfig.beat_schedule["clean-up"]["schedule"] == 3600


@pytest.mark.parametrize(("data_dir", "schedule"), [("/srv/x", "/srv/x"), ("", ".data"), (None, ".data")])
def test_beat_s_schedule_stands_in_data_dir_or_where_that_is_by_default(data_dir: str | None, schedule: str) -> None:
    written = re.findall(r"--schedule (\S+)", (ROOT / "Procfile").read_text())[0]
    environment = {} if data_dir is None else {"DATA_DIR": data_dir}
    shown = subprocess.run(
        ["sh", "-c", f"printf %s {written}"], env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{schedule}/beat-schedule"


def test_tasks_end_before_the_broker_would_deliver_them_again() -> None:
    assert (
        celeryconfig.task_soft_time_limit
        < celeryconfig.task_time_limit
        < celeryconfig.broker_transport_options["visibility_timeout"]
    )


def test_a_claim_outlives_whoever_sends_it() -> None:
    assert TURN_SECONDS < SOFT_LIMIT_SECONDS < HARD_LIMIT_SECONDS < LEASE_SECONDS


def test_a_channel_whose_provider_hangs_leaves_processes_to_the_others() -> None:
    lines = [line for line in (ROOT / "Procfile").read_text().splitlines() if f"--queues {names.DELIVERIES} " in line]
    processes = int(re.findall(r"--concurrency (\d+)", lines[0])[0])
    assert len(lines) == 1
    assert processes >= EmailChannel.senders + WebhookChannel.senders
