"""What `manage.py doctor` looks at: one subject a file. A check asks and answers findings; it changes nothing."""
