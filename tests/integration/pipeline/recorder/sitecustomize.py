"""Let an embedded AWS write down every request it gets, into the file that RECSYS_RECORD names.

Python imports a module of this name at its start when its folder is on PYTHONPATH. Recording at the
server sees every client: Airflow's boto3, the triggerer's aiobotocore, the jobs in their steps. Who
called is told by the access key.
"""

from __future__ import annotations

import io
import json
import os
import re
import threading
from typing import Any

_CREDENTIAL = re.compile(r"Credential=([^/]+)/")
_LOCK = threading.Lock()


def describe(environ: dict[str, Any]) -> dict[str, Any]:
    """Return what of a request the policies are about; a body that is read is put back."""
    found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    target, query = environ.get("HTTP_X_AMZ_TARGET", ""), environ.get("QUERY_STRING", "")
    body = ""
    if target or (environ["REQUEST_METHOD"] == "POST" and query.startswith("delete")):
        data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(data)
        body = data.decode()
    return {
        "key": found.group(1) if found else "",
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query": query,
        "copy_source": environ.get("HTTP_X_AMZ_COPY_SOURCE", ""),
        "target": target,
        "body": body,
    }


def install(file: str) -> None:
    """Wrap the application that ``python -m localaws`` is about to serve."""
    from localaws.server import Application

    inner = Application.__call__

    def recording(self: Application, environ: dict[str, Any], start_response: Any) -> Any:
        if not environ["PATH_INFO"].startswith("/_localaws/"):
            line = json.dumps(describe(environ))
            with _LOCK, open(file, "a") as record:  # noqa: PTH123 - one append a request
                record.write(line + "\n")
        return inner(self, environ, start_response)

    Application.__call__ = recording  # type: ignore[method-assign]  # what this module is for


if "RECSYS_RECORD" in os.environ:
    install(os.environ["RECSYS_RECORD"])
