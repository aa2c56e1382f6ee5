"""What happens to a task, step by step."""
