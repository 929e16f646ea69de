"""The clients of forges: how each is connected, and its errors as ours. What is asked of them stands elsewhere."""
