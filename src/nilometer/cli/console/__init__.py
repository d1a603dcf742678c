"""The console in the browser, and its live lines in a terminal."""
