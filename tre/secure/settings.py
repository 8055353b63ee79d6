"""An area on disk: which file lies where, its settings, and the two keys made once with it.

Guarantees: the area's folder is 0700 and its keys 0600, made by `create` and never overwritten. `key` (symmetric) makes
identifiers that say nothing about what they name; `signing.key` (Ed25519) signs receipts. `settings.yaml` (0600, as it may
hold passwords) names a database server, without which the database is a file of the area, a mail server, without which
no e-mail is sent, and what signing in by a JupyterHub needs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import Field, ValidationError

from tre.errors import Conflict, NotFound, PolicyError
from tre.rules import hub as hubs
from tre.rules.schema import Address, Closed

FOLDERS = ("data", "twins", "views", "notebooks", "jobs", "outputs", "releases", "keys", "scratch", "workers")


class Mail(Closed):
    """An SMTP server that takes our mail. Without `starttls` mail goes in the clear: for one on this machine."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
    port: int = Field(default=587, ge=1, le=65_535)
    starttls: bool = True
    sender: Address = Field(alias="from")
    user: str | None = None
    password: str | None = None


class HubSignIn(Closed):
    """For signing in to the pages by the Hub that area.yaml names: this gateway's address for people, and its secret there.

    `api`: the Hub's API as browsers reach it, where that is another address than the gateway's.
    """

    address: Annotated[str, Field(pattern=hubs.ADDRESS)]
    secret: Annotated[str, Field(min_length=16)]
    api: Annotated[str, Field(pattern=hubs.API)] | None = None


class Settings(Closed):
    """settings.yaml"""

    mail: Mail | None = None
    hub: HubSignIn | None = None
    database: Annotated[str, Field(pattern=r"^postgresql\+psycopg://")] | None = None


@dataclass(frozen=True)
class AreaFolder:
    """Paths of one area. Nothing is read at construction."""

    root: Path

    @classmethod
    def create(cls, root: Path, *, database: str | None = None) -> AreaFolder:
        """A new, empty area. Raises Conflict where one already is."""
        area = cls(root)
        if area.database_file.exists() or (root.exists() and any(root.iterdir())):
            raise Conflict("area_exists", f"{root} is not empty.", "Choose a new folder; an area is never overwritten.")
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        area.make_folders()
        if database is not None:
            _write_secret(area.settings, f"database: {json.dumps(database)}\n".encode())
        _write_secret(area.keys / "area.key", secrets.token_bytes(32))
        signing = Ed25519PrivateKey.generate()
        _write_secret(area.keys / "signing.key", signing.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
        return area

    def make_folders(self) -> None:
        for name in FOLDERS:
            (self.root / name).mkdir()

    @classmethod
    def open(cls, root: Path) -> AreaFolder:
        area = cls(root.resolve())
        if not area.database_file.is_file() and not area.settings.is_file():
            raise NotFound("area_missing", f"There is no area at {root}.", f"Make one: tre-admin init {root}")
        return area

    @property
    def database_file(self) -> Path:
        return self.root / "area.db"

    @property
    def settings(self) -> Path:
        return self.root / "settings.yaml"

    @property
    def database(self) -> Path | str:
        """The database's file, or the address of its server. Raises PolicyError where settings.yaml is wrong."""
        return self._settings().database or self.database_file

    @property
    def mail(self) -> Mail | None:
        """The server that takes our mail; None where none is named. Raises PolicyError where settings.yaml is wrong."""
        return self._settings().mail

    @property
    def hub(self) -> HubSignIn | None:
        """None where nobody signs in by a Hub. Raises PolicyError where settings.yaml is wrong."""
        return self._settings().hub

    def _settings(self) -> Settings:
        import yaml

        try:
            content = yaml.safe_load(self.settings.read_text("utf-8")) if self.settings.is_file() else None
            return Settings.model_validate(content or {})
        except (yaml.YAMLError, ValidationError):  # its text, which may hold a password, goes into no message
            raise PolicyError(
                "settings_invalid",
                f"{self.settings} is not as it must be.",
                "It may hold database: postgresql+psycopg://…, mail: with host, port, starttls, from, user, password, and hub: with "
                "address, secret, api.",
            ) from None

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    def folder(self, name: str) -> Path:
        return self.root / name

    def identifier(self, purpose: str, value: str) -> str:
        """16 hexadecimal digits that name `value` to those who know it, and tell nothing to those who don't."""
        key = (self.keys / "area.key").read_bytes()
        return hmac.new(key, f"{purpose}\n{value}".encode(), hashlib.sha256).hexdigest()[:16]

    def commitment(self, entries: int, head: str) -> str:
        """Binds a receipt to the audit log of its moment without telling how long the log was.

        The log's length says when runs on real rows ended; only the area's key can compare the two (audit verify does).
        """
        return self.commitments([(entries, head)])[0]

    def commitments(self, heads: Iterable[tuple[int, str]]) -> list[str]:
        """The same of many: the key is read once."""
        key = self.derived_key("audit")
        return [hmac.new(key, f"{entries} {head}".encode(), hashlib.sha256).hexdigest() for entries, head in heads]

    def derived_key(self, purpose: str) -> bytes:
        return hmac.new((self.keys / "area.key").read_bytes(), purpose.encode(), hashlib.sha256).digest()

    def sign(self, message: bytes) -> str:
        return self._signing().sign(message).hex()

    @property
    def public_key(self) -> str:
        """The receipts' key, 64 hexadecimal digits."""
        return self._signing().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def _signing(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes((self.keys / "signing.key").read_bytes())


def _write_secret(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(content)
