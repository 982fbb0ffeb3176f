"""What to do about a mail. Pure: values in, decisions out; time is an argument."""
