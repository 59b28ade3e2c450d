"""Turn what a run left in S3 into one page that a person reads: ``<run>/report.html``.

The page decides nothing. Whatever is absent or malformed is said in its place, and the rest is shown.
"""

from recommender.reporting.gathering import gather
from recommender.reporting.material import Item, Material
from recommender.reporting.page import render

__all__ = ["Item", "Material", "gather", "render"]
