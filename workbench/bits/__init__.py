"""Parts of the bandwidth verb: known values, codes as edits, the sweep."""
