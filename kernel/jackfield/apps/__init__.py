"""Apps: functions whose call is a task."""
