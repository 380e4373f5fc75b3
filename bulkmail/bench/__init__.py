"""What this machine can do: each measurement takes the time it is given, and mails nobody."""
