"""Serve S3, EMR and STS on one local port, with EMR steps that really run.

A development and test double: anything that speaks boto3 uses it through ``AWS_ENDPOINT_URL``.
It holds no secret, checks no signature and is never the way to production.
"""

__version__ = "0.1.0"

# The one account there is: credentials are not told apart.
ACCOUNT_ID = "123456789012"
