"""Celery's settings, each with its reason. The broker's address comes from `shared.settings`.

The broker carries doorbells only: everything that must not be lost stands in PostgreSQL.
"""

from __future__ import annotations

from shared.tasks import CLEAN_UP, EVENTS, FOLD_COUNTS, MAKE_PARTITIONS, QUEUE_OF, SWEEP

# -- What is carried --------------------------------------------------------------------------------
task_serializer = "json"
accept_content = ["json"]  # pickle would run what it reads
ignore_result = True
task_ignore_result = True  # results stand in PostgreSQL; no backend to keep clean
task_default_queue = EVENTS
task_routes = {name: {"queue": queue} for name, queue in QUEUE_OF.items()}
task_create_missing_queues = True

# -- Delivery ---------------------------------------------------------------------------------------
# A doorbell is done when it is heard: what a killed worker leaves is found by the sweep after 5 s, long before a
# broker would bring its message back. And with kombu 5.7 a task that acknowledges when it ends, after Redis was
# away meanwhile, ends the whole worker (see workers/app.py).
task_acks_late = False
worker_prefetch_multiplier = 1  # no more messages than processes: one that waits here is heard by nobody else
broker_connection_retry_on_startup = True  # start before the broker does
broker_connection_max_retries = None  # the default of 100 gives up for ever after an outage
broker_pool_limit = 4
broker_transport_options = {
    "visibility_timeout": 600,  # messages of a worker killed before it heard them come back after 10 minutes, not an hour
    "unacked_restore_throttle": 1,  # looked for every 10 s instead of every 100 s
    "socket_timeout": 5,  # kombu's default waits for ever on a silent Redis
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
}

# -- Limits -----------------------------------------------------------------------------------------
task_soft_time_limit = 240  # seconds; both far below the visibility timeout
task_time_limit = 300
worker_max_tasks_per_child = 10_000  # a doorbell is short: a fresh process now and then, no more
worker_soft_shutdown_timeout = 10  # seconds that running tasks have after SIGTERM; a doorbell takes under one
worker_enable_soft_shutdown_on_idle = False  # nothing to wait for

# -- Noise ------------------------------------------------------------------------------------------
worker_hijack_root_logger = False  # our own structured lines
worker_send_task_events = False  # an event per task would double the broker's work
worker_cancel_long_running_tasks_on_connection_loss = False  # storing goes on without the broker
worker_proc_alive_timeout = 30  # seconds a child may take to start on a busy machine
enable_utc = True
timezone = "UTC"

# -- Beat -------------------------------------------------------------------------------------------
SWEEP_SECONDS = 5
FOLD_SECONDS = 2  # how old the statistics are
beat_schedule = {
    # Expires: messages of a time without workers must not pile up.
    "sweep": {"task": SWEEP, "schedule": SWEEP_SECONDS, "options": {"expires": SWEEP_SECONDS}},
    "fold-counts": {"task": FOLD_COUNTS, "schedule": FOLD_SECONDS, "options": {"expires": FOLD_SECONDS}},
    "make-partitions": {"task": MAKE_PARTITIONS, "schedule": 3600, "options": {"expires": 3600}},
    "clean-up": {"task": CLEAN_UP, "schedule": 3600, "options": {"expires": 3600}},
}
