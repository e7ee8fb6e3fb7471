"""Steps ③ to ⑤: from a pending event to stored notifications, and word of them to the gateways.

tasks.py        the doors: what a message wakes
planning.py     event → audience → people → batches
storing.py      batches → notifications
publishing.py   stored batches → Redis
delivery/       critical notifications by mail, processed events to a webhook
upkeep.py       what stood still is taken up again; partitions ahead of time
counting.py     what happened becomes counts
retention.py    weeks that are old are archived and dropped
cleaning.py     everything else that has had its day
"""
