"""Names of the tasks and of the queues they ride on: the only thing that whoever rings has to know.

Tasks are doorbells without arguments: whoever wakes takes along everything that waits.
"""

from __future__ import annotations

EVENTS = "events"  # single notifications: never behind a large one
BULK = "bulk"  # planning and storing of large audiences
UPKEEP = "upkeep"  # sweep, partitions
DELIVERIES = "deliveries"  # e-mail and webhook: a provider that is slow or dead delays nothing else

PROCESS_EVENT = "workers.process_event"
PLAN_BULK = "workers.plan_bulk"
STORE_BATCHES = "workers.store_batches"
PUBLISH_BATCHES = "workers.publish_batches"
ANNOUNCE_PEOPLE = "workers.announce_people"
SEND_EMAILS = "workers.send_emails"
SEND_WEBHOOKS = "workers.send_webhooks"
SWEEP = "workers.sweep"
MAKE_PARTITIONS = "workers.make_partitions"
FOLD_COUNTS = "workers.fold_counts"
CLEAN_UP = "workers.clean_up"

QUEUE_OF = {
    PROCESS_EVENT: EVENTS,
    ANNOUNCE_PEOPLE: EVENTS,
    PLAN_BULK: BULK,
    STORE_BATCHES: BULK,
    PUBLISH_BATCHES: UPKEEP,
    SEND_EMAILS: DELIVERIES,
    SEND_WEBHOOKS: DELIVERIES,
    SWEEP: UPKEEP,
    MAKE_PARTITIONS: UPKEEP,
    FOLD_COUNTS: UPKEEP,
    CLEAN_UP: BULK,  # archiving may take minutes: never in the way of single notifications
}
