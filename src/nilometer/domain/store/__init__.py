"""Keys, writes and times: how every other subject is stored."""
