"""Generated datasets in the formats of the real ones, and pointing configs at data."""
