"""From the socket to the mail that is not sent: a browser that has answered keeps its person's mailbox quiet."""

from __future__ import annotations

from sqlalchemy import text

from shared.database import transaction
from shared.settings import Settings
from tests.company import Company
from tests.gateway.live.gateway_process import GatewayProcess
from tests.mail_server import MailServer
from tests.system import wait_until
from tests.workers.delivery.conftest import add_addresses, record_critical, send


def test_who_answered_over_a_socket_gets_no_mail_and_who_is_silent_or_away_gets_one(
    company: Company, mailing: Settings, mail_server: MailServer
) -> None:
    company.people(["answers", "silent", "away"], "role_rh")
    add_addresses(company, mailing)

    def confirmed() -> int:
        with transaction(mailing) as session:
            return int(session.scalar(text("SELECT count(*) FROM notifications WHERE delivered_at IS NOT NULL")) or 0)

    with (
        GatewayProcess(mailing, limits={"record_seconds": 0.05}) as gateway,
        gateway.connect(company.token("answers")) as answers,
        gateway.connect(company.token("silent")) as silent,
    ):
        record_critical(mailing, audience=["role_rh"])
        silent.wait_for("role_notification")
        answers.wait_for("role_notification")
        answers.settle()
        wait_until(confirmed, "the answer is written down", explain=gateway.log)
        send(mailing)
        send(mailing)
    assert sorted(mail_server.recipients) == ["away@example.org", "silent@example.org"]
