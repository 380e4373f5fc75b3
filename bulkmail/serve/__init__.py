"""The listeners that bounces, complaints and unsubscribes come home to: SMTP and HTTP."""
