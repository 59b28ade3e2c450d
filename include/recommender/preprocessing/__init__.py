"""DataFrame -> DataFrame: from parsed interactions to encoded windows, and their profile."""
