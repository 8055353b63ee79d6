"""The desk's own files: twins that were fetched, bundles that were fetched, and how to reach the gateway.

Layout, under TRE_HOME (default ~/.local/share/tre): twins/ID/{info.json,twin.parquet}, releases/ID/ (a bundle each),
login.json (mode 0600), keys/ (receipt keys this desk has seen). TRE_RELEASES may name further folders with bundles, so
that anyone with a notebook and its bundle can replay it.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from tre.errors import VerificationFailed
from tre.messages import DatasetInfo, Released, ReleasedEstimate, ReleasedOutput
from tre.rules.canonical import digest_bytes
from tre.statistics import linking
from tre.statistics.blocks import Estimate
from tre.statistics.request import Request


@dataclass(frozen=True)
class Bundle:
    """A release on this desk whose every byte fits its receipt."""

    folder: Path
    release: str
    key_known: bool


class Store:
    def __init__(self, home: Path, more_releases: tuple[Path, ...] = ()) -> None:
        self.home = home
        self.more_releases = more_releases
        self._verified: dict[Path, Bundle | None] = {}

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
        """From the twin that was fetched, else from a bundle."""
        info = self._twin_info(dataset)
        for bundle in self.bundles() if info is None else []:
            path = bundle.folder / "datasets" / f"{dataset}.json"
            if path.is_file():
                return DatasetInfo.model_validate_json(path.read_bytes())
        return info

    def infos(self) -> list[DatasetInfo]:
        """Of all twins that are here."""
        folder = self.home / "twins"
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        return [info for info in map(self._twin_info, names) if info is not None]

    def _twin_info(self, dataset: str) -> DatasetInfo | None:
        path = self.home / "twins" / dataset / "info.json"
        return DatasetInfo.model_validate_json(path.read_bytes()) if path.is_file() else None

    def twin_path(self, dataset: str) -> Path:
        return self.home / "twins" / dataset / "twin.parquet"

    def twin(self, dataset: str) -> Path | None:
        path = self.twin_path(dataset)
        return path if path.is_file() else None

    # Releases

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    def bundles(self) -> list[Bundle]:
        """The bundles that are what their receipts say, newest first. One that is not is left out, with a warning."""
        roots = [self.releases, *self.more_releases]
        found = {p.parent for r in roots if r.is_dir() for p in [*r.glob("*/values.json"), *r.glob("values.json")]}
        newest = sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)
        return [b for b in map(self._bundle, newest) if b is not None]

    def _bundle(self, folder: Path) -> Bundle | None:
        if folder not in self._verified:
            from tre.desk import bundle

            try:
                verdict = bundle.verify(bundle.read(folder), self.known_keys())
                self._verified[folder] = Bundle(folder, str(verdict["receipt"]["release"]), bool(verdict["key_known"]))
            except VerificationFailed as failed:
                warnings.warn(f"{folder} is not replayed: {failed.message}", stacklevel=2)
                self._verified[folder] = None
        return self._verified[folder]

    def released(self, request: Request) -> tuple[Released, bool] | None:
        """A released value of this request, from the dataset version of the desk's twin if it has one, and whether its
        receipt is signed with a key that this desk knows."""
        digest, version = request.digest, self._version(request)
        for bundle in self.bundles():
            for item in json.loads((bundle.folder / "values.json").read_bytes())["released"]:
                released = Released.model_validate(item)
                if released.request.digest == digest and version in (None, released.dataset_version):
                    return released, bundle.key_known
        return None

    def _version(self, request: Request) -> str | None:
        """Of the data behind the desk's twins; None where it has none."""
        found = [self._twin_info(d) for d in (request.dataset, request.link) if d is not None]
        versions = [info.version for info in found if info is not None]
        if len(versions) < len(found):
            return None
        return versions[0] if len(versions) == 1 else linking.version(*versions)

    def released_output(self, name: str) -> tuple[ReleasedOutput, Bundle] | None:
        for bundle in self.bundles():
            for item in json.loads((bundle.folder / "outputs.json").read_bytes())["outputs"]:
                if item["name"] == name:
                    return ReleasedOutput.model_validate(item), bundle
        return None

    def released_estimate(self, name: str, estimate: Estimate) -> tuple[ReleasedEstimate, bool] | None:
        """An estimate that was released under this name and asked for in the same words; by which notebook, its bundle
        says."""
        for bundle in self.bundles():
            for item in json.loads((bundle.folder / "values.json").read_bytes()).get("estimates", []):
                found = ReleasedEstimate.model_validate(item)
                if (found.name, found.estimate) == (name, estimate):
                    return found, bundle.key_known
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
        """The receipt keys (hexadecimal) of the gateways that this desk has used."""
        folder = self.home / "keys"
        return {json.loads(p.read_bytes())["key"] for p in folder.glob("*.json")} if folder.is_dir() else set()

    def pin_key(self, url: str, key: str) -> None:
        """Remember a gateway's key at its first use. Raises VerificationFailed when it is another one later."""
        folder = self.home / "keys"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{digest_bytes(url.rstrip('/').encode())[:16]}.json"
        if path.is_file() and json.loads(path.read_bytes())["key"] != key:
            raise VerificationFailed(
                "key_changed",
                f"The gateway at {url} shows another receipt key than before.",
                f"Ask the data controller whether that is right; if it is, remove {path}.",
            )
        path.write_text(json.dumps({"url": url.rstrip("/"), "key": key}))
