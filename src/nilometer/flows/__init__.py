"""One module a flow: parse, load, decide, commit; each answers with outcomes. No environment, no logging."""
