"""Commands about the lake and datasets."""
