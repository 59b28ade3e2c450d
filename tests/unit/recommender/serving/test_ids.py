"""Ids are found in tables in and out of order, with any characters."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recommender.serving.ids import Ids


@given(st.lists(st.text(), unique=True, max_size=30), st.text())
def test_every_id_is_found_at_its_place_and_no_other(ids: list[str], other: str) -> None:
    table = Ids(pa.array(ids, pa.string()))
    assert table.indices(ids).tolist() == list(range(len(ids)))
    assert table.index(other) == (ids.index(other) if other in ids else -1)
    assert table.names(table.indices(ids)) == ids


@given(st.lists(st.text(), unique=True, min_size=3, max_size=30).map(sorted))
def test_a_slice_of_a_table_is_a_table(ids: list[str]) -> None:
    table = Ids(pa.array(ids, pa.string())[1:])
    assert table.indices(ids).tolist() == list(range(-1, len(ids) - 1))
