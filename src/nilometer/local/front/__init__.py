"""HTTP/1.1 as the local stack speaks it: what a request costs before anybody looks at it."""
