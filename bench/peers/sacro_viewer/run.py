"""SACRO-Viewer's own loading code on a package's folder: what it found there, whether checksums hold, which cells it marks."""

import json
import sys
import types
from pathlib import Path


def main():
    task = json.loads(Path(sys.argv[1]).read_text())
    sys.path.insert(0, task["viewer"])
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    # Of the viewer's site only the address of a file's contents is asked for by its loading code.
    urls = types.ModuleType("urls")
    urls.urlpatterns = [path("contents/", lambda _: HttpResponse(), name="contents")]
    sys.modules["urls"] = urls
    supported = next(
        line.split('"')[1]
        for line in (Path(task["viewer"]) / "sacro" / "settings.py").read_text().splitlines()
        if line.startswith("ACRO_SUPPORTED_VERSION")
    )
    settings.configure(ROOT_URLCONF="urls", ACRO_SUPPORTED_VERSION=supported)
    import django

    django.setup()
    from sacro import models

    found = models.find_acro_metadata(Path(task["folder"]))
    outputs = models.load_from_path(found)
    files = [f for o in outputs.values() for f in o["files"]]
    json.dump(
        {
            "opened": found.name,
            "version": outputs.version,
            "supported": supported,
            "outputs": list(outputs),
            "checksums": [f["checksum_valid"] for f in files],
            "marked": {f["name"]: dict(f.get("cell_index", {})) for f in files},
            "config": outputs.config,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
