"""The desk's own files: twins that were fetched, bundles that were fetched, and how to reach the gateway.

Layout, under TRE_HOME (default ~/.local/share/tre): twins/ID/{info.json,twin.parquet}, releases/ID/ (a bundle each),
login.json (mode 0600), keys/ (receipt keys this desk has seen). TRE_RELEASES may name further folders with bundles, so
that anyone with a notebook and its bundle can replay it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from tre.messages import DatasetInfo, Released, ReleasedOutput
from tre.statistics.request import Request


class Store:
    def __init__(self, home: Path, more_releases: tuple[Path, ...] = ()) -> None:
        self.home = home
        self.more_releases = more_releases
        self._verified: set[str] = set()

    @classmethod
    def default(cls) -> Store:
        home = os.environ.get("TRE_HOME") or Path.home() / ".local" / "share" / "tre"
        more = os.environ.get("TRE_RELEASES", "")
        return cls(Path(home), tuple(Path(p) for p in more.split(os.pathsep) if p))

    # Twins

    def save_twin(self, info: DatasetInfo, content: bytes) -> Path:
        folder = self.home / "twins" / info.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "info.json").write_text(info.model_dump_json())
        self.twin_path(info.id).write_bytes(content)
        return self.twin_path(info.id)

    def info(self, dataset: str) -> DatasetInfo | None:
        for path in (self.home / "twins" / dataset / "info.json", *self._bundled(f"datasets/{dataset}.json")):
            if path.is_file():
                return DatasetInfo.model_validate_json(path.read_bytes())
        return None

    def twin_path(self, dataset: str) -> Path:
        return self.home / "twins" / dataset / "twin.parquet"

    def twin(self, dataset: str) -> Path | None:
        path = self.twin_path(dataset)
        return path if path.is_file() else None

    # Releases

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    def bundles(self) -> list[Path]:
        """Folders that hold a bundle, newest receipt last: later releases win."""
        roots = [self.releases, *self.more_releases]
        found = {
            p.parent
            for root in roots
            if root.is_dir()
            for p in [*root.glob("*/values.json"), *root.glob("values.json")]
        }
        return [b for b in sorted(found, key=lambda p: p.stat().st_mtime) if self._good(b)]

    def _good(self, folder: Path) -> bool:
        """Only what its receipt covers is ever shown as released. Raises VerificationFailed for a bundle that was changed."""
        from tre.desk import bundle

        key = str(folder)
        if key not in self._verified:
            bundle.verify(bundle.read(folder), self.known_keys())
            self._verified.add(key)
        return True

    def _bundled(self, name: str) -> Iterator[Path]:
        return (b / name for b in reversed(self.bundles()))

    def released(self, request: Request) -> Released | None:
        digest = request.digest
        for path in self._bundled("values.json"):
            for item in json.loads(path.read_bytes())["released"]:
                released = Released.model_validate(item)
                if released.request.digest == digest:
                    return released
        return None

    def released_output(self, name: str) -> tuple[ReleasedOutput, Path] | None:
        for path in self._bundled("outputs.json"):
            for item in json.loads(path.read_bytes())["outputs"]:
                if item["name"] == name:
                    output = ReleasedOutput.model_validate(item)
                    return output, path.parent / output.file
        return None

    # The gateway

    @property
    def login(self) -> Path:
        return self.home / "login.json"

    def save_login(self, url: str, token: str) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.login, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump({"url": url, "token": token}, f)

    def known_keys(self) -> set[str]:
        """Public receipt keys (hexadecimal) that a gateway this desk logged in to has shown."""
        folder = self.home / "keys"
        return {p.read_text().strip() for p in folder.glob("*.hex")} if folder.is_dir() else set()

    def remember_key(self, key: str) -> None:
        folder = self.home / "keys"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{key[:16]}.hex").write_text(key)
