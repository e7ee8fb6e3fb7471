"""Step ⑧: other channels than the socket, for those whom it did not reach, and for other systems.

    planning.py   which deliveries there are: in SQL, a statement per some batches of people
    claiming.py   who sends what now: leases, retries, and the circuit breaker of each channel
    turn.py       claim → send without a database session → record each outcome at once
    channel.py    what a channel is
    email.py      critical notifications that a person has not confirmed, by mail
    webhook.py    every processed event, signed, in order, to WEBHOOK_URL

A delivery is sent at least once: a worker that is killed after the provider took a message and before
that is recorded leaves it to the next, which sends it again under the same id.
"""
