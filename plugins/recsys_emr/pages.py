"""Show a run's page inside Airflow's UI, behind Airflow's own login and permissions.

The page is an object in S3 that only roles may read; a presigned link would be a key that anybody may
pass on. So the API server fetches it, for a user who may read the DAG's runs.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import TYPE_CHECKING, Any

from recommender import environment, storage
from recommender.errors import NotFoundError
from recommender.reporting.page import POLICY

if TYPE_CHECKING:
    from fastapi import FastAPI

PREFIX = "/recsys"
_DAG_ID = re.compile(r"retrain_([a-z][a-z0-9_]{0,62})")
_RUN_KEY = re.compile(r"[A-Za-z0-9_-]{1,120}")


def url(dag_id: str, snapshot: str, run_key: str) -> str:
    """Return the address of a run's page in Airflow's UI."""
    from airflow.sdk.configuration import conf

    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    return f"{base}{PREFIX}/report/{dag_id}/{snapshot}/{run_key}"


async def application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
    """Serve the pages; built at the first request, so that other components load nothing of it."""
    await _build()(scope, receive, send)


@functools.cache
def _build() -> FastAPI:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI
    from fastapi.responses import HTMLResponse

    app = FastAPI(title="Run reports", docs_url=None, redoc_url=None, openapi_url=None)
    may_read = Depends(requires_access_dag("GET", DagAccessEntity.RUN))

    # Not async: reading S3 blocks, and FastAPI gives such a function a thread.
    @app.get("/report/{dag_id}/{snapshot}/{run_key}", dependencies=[may_read])
    def report(dag_id: str, snapshot: str, run_key: str) -> HTMLResponse:
        """Return the page of one run."""
        status, text = fetch(dag_id, snapshot, run_key)
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(text, status, headers)

    return app


def fetch(dag_id: str, snapshot: str, run_key: str) -> tuple[int, str]:
    """Return the HTTP status and the page, or a sentence that says why there is none."""
    found = _DAG_ID.fullmatch(dag_id)
    try:
        date = dt.date.fromisoformat(snapshot)
    except ValueError:
        date = None
    if not (found and date and _RUN_KEY.fullmatch(run_key)):
        return 404, "There is no such run of a recommender."
    run = environment.load().locations.run(found.group(1), date, run_key)
    try:
        return 200, storage.read(run.page).data.decode()
    except NotFoundError:
        return 404, "This run has no page: it was not decided on, or its files have been deleted."
