"""The post: sends what the outbox holds by SMTP, where the area's settings name a server. The one owner of e-mail.

Guarantees: a mail holds a request's name and its state (rules.notices.mail), goes to one person's address in the policies in
force, and not before the notice may be seen. A server that does not answer holds nothing up and loses nothing: the mail stays in
the outbox and is tried again, after a longer pause each time. Where `starttls` is set, nothing is said to a server that offers none,
or whose certificate is not its host's. Several workers send no mail twice, but for one that is lost between a server's yes and
its own note of it; the mail then comes again under the same Message-ID.
Not guaranteed: that a mail arrives, or when. What a server says no to for good is let go; the notice stays.
"""

from __future__ import annotations

import logging
import math
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

import sqlalchemy as sa

from tre.rules import notices as words
from tre.rules.notices import Told
from tre.secure import notices
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.settings import Mail

log = logging.getLogger("tre.post")
m, n = tables.mails, tables.notices
# At once; the next worker leaves these alone for so long.
BATCH, LEASE_SECONDS = 50, 300
TIMEOUT_SECONDS = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 30, 3600
GONE = range(500, 600)


@dataclass(frozen=True)
class Letter:
    notice: str
    address: str
    told: Told
    about: str
    tries: int


class Post:
    def __init__(self, context: Context) -> None:
        self.context = context

    def step(self) -> int:
        """Send what is due; returns how many a server took."""
        settings = self.context.area.mail
        waiting = self._take() if settings is not None else []
        if settings is None or not waiting:
            return 0
        try:
            with _connected(settings) as server:
                return sum(self._send(server, settings, letter) for letter in waiting)
        except (OSError, smtplib.SMTPException) as error:  # its text may repeat what a stranger's server said
            log.error("the mail server cannot be used: %s", type(error).__name__)
            self._later(*waiting)
            return 0

    def _take(self) -> list[Letter]:
        """What is due, for this worker alone for a while. What nobody needs any more, or has no address, is let go."""
        now = math.floor(self.context.seconds())
        query = (
            sa.select(m.c.notice, m.c.tries, n.c.person, n.c.told, n.c.job, n.c.release, notices.over().label("over"))
            .select_from(notices.joined().join(m, m.c.notice == n.c.id))
            .where(m.c.due <= now)
            .order_by(m.c.due, m.c.notice)
            .limit(BATCH)
        )
        with self.context.database.read() as connection:
            if connection.execute(query).first() is None:  # as mostly: the write lock is for others
                return []
        with self.context.database.write() as connection:
            people = policy_files.current(connection).people
            addresses = {name: p.email for name, p in people.items() if p.email is not None}
            found = connection.execute(query).all()
            wanted = [row for row in found if not row.over and row.person in addresses]
            taken = [row.notice for row in wanted]
            connection.execute(m.delete().where(m.c.notice.in_({row.notice for row in found} - set(taken))))
            connection.execute(m.update().where(m.c.notice.in_(taken)).values(due=now + LEASE_SECONDS))
        return [
            Letter(row.notice, addresses[row.person], Told(row.told), row.release or row.job, row.tries)
            for row in wanted
        ]

    def _send(self, server: smtplib.SMTP, settings: Mail, letter: Letter) -> bool:
        try:
            server.send_message(self._written(settings, letter))
        except smtplib.SMTPRecipientsRefused as refused:
            codes = [code for code, _ in refused.recipients.values()]
            if not all(code in GONE for code in codes):
                self._later(letter)
                return False
            log.error("a mail was refused for good: %s", codes)
            self._done(letter)
            return False
        except (OSError, smtplib.SMTPException) as error:
            log.error("a mail was not taken: %s", type(error).__name__)
            self._later(letter)
            return False
        self._done(letter)
        return True

    def _written(self, settings: Mail, letter: Letter) -> EmailMessage:
        subject, text = words.mail(letter.told, letter.about)
        message = EmailMessage()
        message["From"], message["To"] = settings.sender, letter.address
        message["Subject"], message["Date"] = subject, formatdate(self.context.seconds())
        message["Message-ID"] = f"<{letter.notice}@{settings.sender.partition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    def _done(self, letter: Letter) -> None:
        with self.context.database.write() as connection:
            connection.execute(m.delete().where(m.c.notice == letter.notice))

    def _later(self, *letters: Letter) -> None:
        now = math.floor(self.context.seconds())
        with self.context.database.write() as connection:
            for letter in letters:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(letter.tries, 10))
                values = {"due": now + pause, "tries": letter.tries + 1}
                connection.execute(m.update().where(m.c.notice == letter.notice).values(**values))


def _connected(settings: Mail) -> smtplib.SMTP:
    server = smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT_SECONDS)
    try:
        if settings.starttls:
            server.starttls(context=ssl.create_default_context())
        if settings.user is not None:
            server.login(settings.user, settings.password or "")
    except BaseException:
        server.close()
        raise
    return server
