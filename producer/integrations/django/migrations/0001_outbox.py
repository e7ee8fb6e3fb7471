"""The outbox. Not called 0001_initial: the earlier system's own may be applied under the same label."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="OutboxEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("transaction", models.CharField(max_length=32)),
                ("model", models.CharField(blank=True, max_length=255)),
                ("row", models.CharField(blank=True, max_length=255)),
                ("events", models.TextField(default="[]")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("refused_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "db_table": "notification_service_outbox",
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        condition=models.Q(("refused_at", None)), fields=["id"], name="notification_outbox_waiting"
                    ),
                    models.Index(fields=["model", "row"], name="notification_outbox_row"),
                ],
            },
        ),
    )
