"""Cut a text into character spans, by sentences or by tokens."""
