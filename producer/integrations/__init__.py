"""Adapters: an application's own changes become events, and its people and groups are followed.

`Watch` says what the rows of a class mean, the same for every adapter; `producer.integrations.sqlalchemy`
and `producer.integrations.django` see the changes. Neither is imported by the rest.
"""
