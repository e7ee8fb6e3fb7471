"""The Celery app of the workers: `celery --app workers.app worker --queues events`."""

from __future__ import annotations

import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import SecurityWarning
from celery.signals import setup_logging
from kombu.transport.redis import QoS

from shared.celery_app import make_celery
from shared.logs import configure_logs
from shared.settings import get_settings

# It warns root of pickle, which is not accepted; in a container there is often nobody but root.
warnings.simplefilter("ignore", SecurityWarning)
# It warns of a default that celeryconfig.py sets, at every loss of the broker.
warnings.simplefilter("ignore", CPendingDeprecationWarning)

# When Redis goes away, kombu 5.7 puts back what is not acknowledged over the connection it has just closed, and the
# AttributeError of that ends the worker. There is nothing to put back: a lost doorbell costs a sweep.
QoS.restore_at_shutdown = False

app = make_celery(get_settings())
app.conf.imports = ["workers.tasks", "workers.upkeep_tasks"]


@setup_logging.connect
def _setup_logging(**_: Any) -> None:
    """Connected at all, this keeps Celery from setting up logs of its own."""
    configure_logs(get_settings())
