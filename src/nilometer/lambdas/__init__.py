"""What Lambda calls: builds from settings once, calls the flow, logs one line a record."""
