"""What comes in over HTTP and goes on to the bus: usage events and rows of datasets."""
