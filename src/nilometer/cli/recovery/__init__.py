"""Commands for operators: dead letters, replay, history, trace, verify."""
