"""Read item metadata of every generation into one table: title, category path, brand, price.

Every module but ``job`` imports quickly and without Spark: worker processes load them.
"""
