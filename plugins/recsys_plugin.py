"""Register with Airflow what is more than tasks: the pages of runs."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from recsys_emr import pages


class RecsysPlugin(AirflowPlugin):
    """Mount the pages of runs below ``/recsys`` of Airflow's UI."""

    name = "recsys"
    fastapi_apps = [{"app": pages.application, "url_prefix": pages.PREFIX, "name": "run reports"}]  # noqa: RUF012 - the plugin manager's own protocol
