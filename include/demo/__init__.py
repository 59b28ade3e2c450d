"""Run the whole pipeline on one machine: the embedded AWS, Airflow, and real data to look at.

A convenience for people; the pipeline itself knows nothing of it.
"""
