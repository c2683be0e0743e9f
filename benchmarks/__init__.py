"""What the goals are measured with; each module is a command."""
