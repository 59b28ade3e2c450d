"""Retrain implicit-feedback recommenders: from raw reviews to a gated, published model.

Never imports airflow. Data flows one way: snapshot -> dataset -> candidate -> report ->
decision -> version.
"""

__version__ = "0.1.0"
