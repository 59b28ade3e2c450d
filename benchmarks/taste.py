"""Generate interactions with latent taste and skewed popularity, in memory.

Every item has a topic and a popularity that falls with its rank to the power .8; a user takes from
four topics (a half, a quarter, .15 and .1 of the rows), one row in five from anywhere. Rows a user are
log-normal. So there is something for factors to find, and popularity alone finds little of it.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

_TOPICS, _SHARES, _ANYWHERE, _DRAWN = 200, np.array([0.5, 0.25, 0.15, 0.1]), 0.2, 1.35


def generate(users: int, items: int, rows: int, seed: int = 7) -> csr_matrix:
    """Return (users, items) CSR float32 of ones with about ``rows`` of them."""
    generator = np.random.default_rng(seed)
    popularity = generator.permutation(1 / (np.arange(items) + 20.0) ** 0.8)
    topic = generator.integers(0, _TOPICS, items)
    order = np.argsort(topic, kind="stable")
    starts = np.searchsorted(topic[order], np.arange(_TOPICS + 1))
    mass = np.concatenate([[0.0], np.cumsum(popularity[order])])
    own = np.clip(generator.lognormal(np.log(rows / users) - 0.5, 1.0, users), 5, 2000)
    user = np.repeat(np.arange(users), (own * _DRAWN).astype(int))  # repeats fall together
    slot = np.searchsorted(np.cumsum(_SHARES), generator.random(len(user)))
    taken = generator.integers(0, _TOPICS, (users, len(_SHARES)))[
        user, np.minimum(slot, len(_SHARES) - 1)
    ]
    anywhere = generator.random(len(user)) < _ANYWHERE
    low = np.where(anywhere, 0.0, mass[starts[taken]])
    high = np.where(anywhere, mass[-1], mass[starts[taken + 1]])
    place = np.searchsorted(mass, low + (high - low) * generator.random(len(user)), "right") - 1
    item = order[np.clip(place, 0, items - 1)]
    pairs = csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=(users, items))
    pairs.sum_duplicates()
    pairs.data[:] = 1
    return pairs


def split(pairs: csr_matrix, share: float = 0.2, seed: int = 1) -> tuple[csr_matrix, csr_matrix]:
    """Hold out a random share of the pairs: (fit, held out)."""
    generator = np.random.default_rng(seed)
    every = pairs.tocoo()
    held = generator.random(every.nnz) < share
    parts = [
        csr_matrix((every.data[keep], (every.row[keep], every.col[keep])), shape=pairs.shape)
        for keep in (~held, held)
    ]
    return parts[0], parts[1]
