"""Dead letters, replay, rebuild, verify, history and trace."""
