"""The RO-Crate validator on a crate's folder: which requirements it checked, and which the crate fails.

The document's context is given as a file where there is no network: everything else that is asked for is refused.
"""

import io
import json
import sys
import urllib.request
import urllib.response
from email.message import Message
from importlib.metadata import version  # noqa: TID251  # reads a number, imports nothing
from pathlib import Path

CONTEXT = "https://w3id.org/ro/crate/1.2/context"


def keep(content):
    """Whoever asks for the context, by urllib or requests, gets `content`; whoever asks for anything else is refused."""
    import requests

    class Kept(urllib.request.BaseHandler):
        handler_order = 0

        def https_open(self, request):
            if request.full_url != CONTEXT:
                raise urllib.request.URLError("no network")
            headers = Message()
            headers["content-type"] = "application/ld+json"
            return urllib.response.addinfourl(io.BytesIO(content), headers, request.full_url, 200)

        http_open = https_open

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request, **_):
            if request.url != CONTEXT:
                raise requests.ConnectionError("no network")
            answer = requests.Response()
            answer.status_code, answer.url, answer.request = 200, request.url, request
            answer.headers["content-type"] = "application/ld+json"
            answer.raw = io.BytesIO(content)
            answer._content = content
            return answer

        def close(self):
            pass

    urllib.request.install_opener(urllib.request.build_opener(Kept))
    requests.Session.get_adapter = lambda *_, **__: Adapter()


def main():
    task = json.loads(Path(sys.argv[1]).read_text())
    if task["context"]:
        keep(Path(task["context"]).read_bytes())
    from rocrate_validator import models, services

    found = {}
    for profile in task["profiles"]:
        settings = services.ValidationSettings(
            rocrate_uri=task["crate"], profile_identifier=profile, disable_remote_crate_download=True,
            requirement_severity=models.Severity[task["severity"]], no_cache=True,
        )  # fmt: skip
        result = services.validate(settings)
        issues = [
            {
                "severity": i.severity.name, "check": i.check.identifier, "message": i.message,
                "entity": str(i.violatingEntity or ""),
            }
            for i in result.get_issues()
        ]  # fmt: skip
        found[profile] = {"checks": len(result.executed_checks), "issues": issues}
    json.dump({"validator": version("roc-validator"), "profiles": found}, sys.stdout)


if __name__ == "__main__":
    main()
