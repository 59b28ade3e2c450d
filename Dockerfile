# One image for Airflow and for the embedded AWS: both run the project's own code, and the steps of
# the embedded EMR need what a node of EMR brings (Java, Python, the job libraries).
FROM python:3.11-slim-bookworm

# Java for Spark, OpenMP for implicit. The slim image has no man pages, which the JRE's set-up links.
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*

# Before the code, so that a change of code does not install the libraries again.
COPY requirements.txt /opt/recsys/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes \
    --requirement /opt/recsys/requirements.txt

# Volumes take the owner of the directory they cover, so these must be the user's in the image.
RUN useradd --uid 50000 --create-home recsys \
    && install --directory --owner=recsys --group=recsys \
        /data /opt/airflow /opt/airflow/auth /opt/airflow/logs

# Read-only for the user that runs it.
COPY dags /opt/recsys/dags
COPY plugins /opt/recsys/plugins
COPY include /opt/recsys/include
COPY docker /opt/recsys/docker
COPY bin /opt/recsys/bin

ENV PATH=/opt/recsys/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/recsys/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/recsys/plugins \
    PYTHONPATH=/opt/recsys/include:/opt/recsys/plugins \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

USER recsys
WORKDIR /opt/recsys
