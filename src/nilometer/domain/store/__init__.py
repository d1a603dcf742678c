"""Keys, writes and times: the words in which every other subject is stored."""
