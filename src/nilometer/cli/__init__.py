"""What an operator or analyst types."""
